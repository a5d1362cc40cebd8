//! One user: get, create, edit, delete. Answers to `UserAPIHandler` and `UserAdminAccessAPIHandler`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::{NameError, UserName};
use hub_db::entities::users;
use hub_db::repo;
use jupyterhub_api_compat::Gate;
use jupyterhub_api_compat::models::User;
use jupyterhub_api_compat::requests::{CreateUser, EditUser, quoted};
use serde_json::Value;
use tracing::{info, warn};

use super::answer;
use super::call::Call;
use crate::auth::lease::without_mark;
use crate::auth::login::ensure_user;
use crate::auth::names::UserNameError;
use crate::auth::removal;
use crate::rbac::roles;
use crate::web::caller::About;
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;
use crate::web::pages::context::{ServerState, servers_of};

/// Most characters of a name that a message repeats.
const SHOWN: usize = 255;

/// A text of a client for a message, not too long.
pub(super) fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// A name that cannot be, for a message. Stock does not look at the length, so only there the reason is told.
pub(super) fn rejected(name: &str, why: &UserNameError) -> String {
    match why {
        UserNameError::Shape(NameError::TooLong) => format!("{} ({why})", short(name)),
        UserNameError::Shape(_) | UserNameError::Pattern => short(name),
    }
}

/// 403 for those who would make others what they are not.
pub(super) fn only_admins_grant(call: &Call, admin: bool) -> ApiResult<()> {
    if admin && !call.who()?.is_admin() {
        return Err(ApiError::forbidden("Only admins can grant admin permissions"));
    }
    Ok(())
}

/// The model as the caller's scopes show it.
async fn model(call: &Call, user: users::Model) -> ApiResult<Option<User>> {
    let details = repo::users::with_details(call.db(), vec![user]).await?;
    let Some(details) = details.first() else { return Ok(None) };
    let model = models::user(&call.hub, details, call.include_stopped_servers());
    Ok(model.restrict(&call.caller.scopes, &details.groups))
}

/// The login state, decrypted; null when there is none or no key fits.
fn auth_state(call: &Call, user: &users::Model) -> Option<Value> {
    let stored = user.encrypted_auth_state.as_deref()?;
    let state = call.hub.auth.crypt.decrypt(stored);
    if state.is_none() {
        warn!(user = %user.name, "the stored auth_state cannot be decrypted with the configured keys");
    }
    state.map(|decrypted| without_mark(decrypted.state))
}

/// `GET /users/{user}`.
pub(super) async fn get(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let state = auth_state(&call, &user);
    let mut model = model(&call, user).await?;
    if let Some(User { auth_state: shown @ Gate::Shown(_), .. }) = &mut model {
        *shown = state.into();
    }
    answer::ok(&answer::or_empty(model))
}

/// `POST /users/{user}`: the name counts as it is, in upper and lower case.
pub(super) async fn create(call: Call) -> ApiResult<HttpResponse> {
    let wanted = CreateUser::read(&call.body)?;
    let name = call.user_name();
    let exists = || ApiError::conflict(format!("User {name} already exists"));
    if call.user().await?.is_some() {
        return Err(exists());
    }
    only_admins_grant(&call, wanted.admin)?;
    if let Err(error) = call.hub.auth.names.validate(name) {
        return Err(ApiError::bad_request(format!("Failed to create user: {}", rejected(name, &error))));
    }
    let tx = call.hub.db.begin().await?;
    if repo::users::by_name(&tx, name).await?.is_some() {
        return Err(exists());
    }
    let mut user = ensure_user(&call.hub, &tx, name).await?;
    if wanted.admin {
        roles::set_admin(&tx, user.id, true).await?;
        user.admin = Some(true);
    }
    tx.commit().await?;
    info!(by = call.who()?.name(), user = name, admin = wanted.admin, "user created");
    answer::created(&answer::or_empty(model(&call, user).await?))
}

/// `PATCH /users/{user}`.
pub(super) async fn edit(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let change = EditUser::read(&call.body)?;
    let name = new_name(&call, &user, change.name.as_deref()).await?;
    if user.is_admin() && !call.who()?.is_admin() {
        return Err(ApiError::forbidden("Only admins can modify other admins"));
    }
    only_admins_grant(&call, change.admin == Some(true))?;
    let state = change.auth_state.map(Value::Object).map(|state| {
        let none = || ApiError::bad_request("auth_state cannot be kept: the hub has no crypt_keys");
        call.hub.auth.crypt.encrypt(&state).ok_or_else(none)
    });
    let state = state.transpose()?;
    let tx = call.hub.db.begin().await?;
    if let Some(name) = &name {
        repo::users::lock(&tx, user.id).await?.ok_or_else(ApiError::not_found)?;
        if removal::has_active(&tx, user.id).await? {
            return Err(must_be_stopped(&user));
        }
        repo::users::rename(&tx, user.id, name.as_str())
            .await
            .map_err(|error| if error.is_conflict() { taken(name.as_str()) } else { error.into() })?;
        repo::shares::repin(&tx, user.id).await?;
    }
    if let Some(admin) = change.admin {
        roles::set_admin(&tx, user.id, admin).await?;
    }
    if let Some(state) = state {
        repo::users::set_auth_state(&tx, user.id, Some(state)).await?;
    }
    let user = repo::users::by_id(&tx, user.id).await?.ok_or_else(ApiError::not_found)?;
    tx.commit().await?;
    let by = call.who()?.name();
    info!(by, user = %user.name, from = call.user_name(), admin = change.admin, "user changed");
    let state = auth_state(&call, &user);
    let mut model = model(&call, user).await?;
    if let Some(model) = &mut model {
        model.auth_state = state.into();
    }
    answer::ok(&answer::or_empty(model))
}

fn taken(name: &str) -> ApiError {
    ApiError::bad_request(format!("User {name} already exists, username must be unique"))
}

/// The name that a user shall get, if it is another one. Addresses and tokens of running servers hold the name, so
/// nobody is renamed whose servers run; stock does it and leaves such servers behind.
async fn new_name(call: &Call, user: &users::Model, wanted: Option<&str>) -> ApiResult<Option<UserName>> {
    let Some(wanted) = wanted.filter(|wanted| *wanted != user.name) else { return Ok(None) };
    let wanted = call.hub.auth.names.normalize(wanted);
    let invalid =
        |why| ApiError::bad_request(format!("Invalid username: {}", quoted(&rejected(&wanted, &why))));
    let name = call.hub.auth.names.validate(&wanted).map_err(invalid)?;
    if repo::users::by_name(call.db(), name.as_str()).await?.is_some() {
        return Err(taken(name.as_str()));
    }
    if servers_of(&call.hub, user).await?.iter().any(ServerState::is_active) {
        return Err(must_be_stopped(user));
    }
    Ok(Some(name))
}

fn must_be_stopped(user: &users::Model) -> ApiError {
    let text = format!("{} has active servers. Please stop them before renaming the user.", user.name);
    ApiError::bad_request(text)
}

/// `DELETE /users/{user}`: all servers are stopped first.
pub(super) async fn delete(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    if call.who()?.name() == user.name {
        return Err(ApiError::bad_request("Cannot delete yourself!"));
    }
    let user = call.owner_before(About::Stop, user).await?;
    if !removal::remove(&call.hub, &user, removal::Belongings::Deleted).await? {
        let text = format!("{}'s server is in the process of stopping, please wait.", user.name);
        return Err(ApiError::bad_request(text));
    }
    info!(by = call.who()?.name(), user = %user.name, "user deleted");
    Ok(answer::no_content())
}

/// `POST /users/{user}/admin-access`: deprecated, does nothing but check.
pub(super) async fn admin_access(call: Call) -> ApiResult<HttpResponse> {
    warn!(by = call.who()?.name(), user = call.user_name(), "the deprecated admin-access was asked for");
    if !call.hub.config.hub.admin_access {
        return Err(ApiError::forbidden("admin access to user servers disabled"));
    }
    call.user_or_404().await?;
    Ok(answer::empty_json(StatusCode::OK))
}
