//! Servers as records: get, create without a start, edit. Answers to the quiet half of `UserServerAPIHandler`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use hub_core::{ServerKey, ServerName, UserName};
use hub_db::entities::users;
use hub_db::repo;
use jupyterhub_api_compat::models::Server;
use jupyterhub_api_compat::requests::{EditServer, ServerOptions, normalise_display_name, quoted};
use serde_json::{Value, json};
use tracing::info;

use super::call::Call;
use super::{answer, wait};
use crate::servers::store::may_have_display_name;
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;
use crate::web::pages::context::{ServerState, server_of};

/// The server of the path. Everybody has a default server: a record that is missing is made.
pub(super) async fn find(call: &Call, user: &users::Model) -> ApiResult<Option<ServerState>> {
    let name = call.argument("server");
    let found = server_of(&call.hub, user, name).await?;
    if found.is_some() || !name.is_empty() {
        return Ok(found);
    }
    Ok(Some(make(call, user, "", None).await?))
}

/// A new record, unless one of this name was made in the meantime.
pub(super) async fn make(
    call: &Call,
    user: &users::Model,
    name: &str,
    display_name: Option<&str>,
) -> ApiResult<ServerState> {
    let store = &call.hub.servers.store;
    let id = store.find_or_make(user.id, name, display_name.unwrap_or_default()).await?;
    let id = id.ok_or_else(ApiError::not_found)?;
    let row = repo::spawners::by_id(call.db(), id).await?.ok_or_else(ApiError::not_found)?;
    Ok(ServerState::of(&call.hub, row, &user.name))
}

/// The model as the caller's scopes show it.
async fn model(call: &Call, user: &users::Model, state: &ServerState) -> ApiResult<Server> {
    let groups =
        repo::groups::names_of_users(call.db(), &[user.id]).await?.remove(&user.id).unwrap_or_default();
    Ok(models::server(&call.hub, state).restrict_state(&call.caller.scopes, &user.name, &groups))
}

/// `GET` on a server.
pub(super) async fn get(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let mut state = find(&call, &user).await?.ok_or_else(ApiError::not_found)?;
    let mut status = StatusCode::OK;
    if let Some(limit) = wait::asked(&call)? {
        state = wait::until_settled(&call, &user, state, limit).await?;
        if state.pending().is_some() {
            status = StatusCode::ACCEPTED;
        }
    }
    answer::json(status, &model(&call, &user, &state).await?)
}

/// `PUT` on a named server: a record, nothing starts.
pub(super) async fn create(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let name = call.argument("server");
    if name.is_empty() {
        return Err(ApiError::conflict(format!("User {} already has a default server", user.name)));
    }
    if server_of(&call.hub, &user, name).await?.is_some() {
        return Err(ApiError::conflict(format!("User {} already has server {name}", user.name)));
    }
    let options = ServerOptions::read(&call.body)?;
    call.hub.check_named_server(&user, &ServerName::stored(name), false).await?;
    let display_name = normalise_display_name(options.display_name_or(name))?;
    let mut state = make(&call, &user, name, Some(&display_name)).await?;
    if let Some(options) = options.user_options.filter(|options| !options.is_empty()) {
        repo::spawners::set_user_options(call.db(), state.record.id, Some(Value::Object(options))).await?;
        state = find(&call, &user).await?.ok_or_else(ApiError::not_found)?;
    }
    info!(by = call.who()?.name(), user = %user.name, server = name, "server created");
    let mut model = model(&call, &user, &state).await?;
    // Stock answers with what a start would use rather than with what is saved.
    model.user_options.get_or_insert_with(|| json!({}));
    if let jupyterhub_api_compat::Gate::Shown(state) = &mut model.state {
        state.get_or_insert_with(|| json!({}));
    }
    answer::created(&model)
}

/// What a `PATCH` asks for was checked.
struct Change {
    name: Option<ServerName>,
    display_name: Option<String>,
    options: Option<Value>,
}

/// The checks that need nothing of the server itself, in stock's order.
async fn check(call: &Call, user: &users::Model, wanted: EditServer) -> ApiResult<Change> {
    let name = wanted.name.map(ServerName::stored);
    let mut display_name = wanted.display_name;
    if name.is_some() || display_name.is_some() {
        call.hub.check_named_servers_enabled()?;
    }
    if let Some(name) = &name {
        let taken = server_of(&call.hub, user, name.as_str()).await?.is_some();
        if !taken {
            // A renamed default server is replaced, so that there is one server more.
            if call.argument("server").is_empty() {
                call.hub.check_named_server_limit(user).await?;
            }
            call.hub.check_new_server_name(name)?;
        }
    }
    if let Some(text) = &mut display_name {
        *text = normalise_display_name(text)?;
    }
    Ok(Change { name, display_name, options: wanted.user_options.map(Value::Object) })
}

/// `PATCH` on a server that does not run: another name, name to show, options.
pub(super) async fn edit(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let change = check(&call, &user, EditServer::read(&call.body)?).await?;
    let Some(state) = find(&call, &user).await? else {
        let text = format!("User {} has no such server {}", user.name, quoted(call.argument("server")));
        return Err(ApiError::new(StatusCode::NOT_FOUND, text));
    };
    if state.is_active() {
        return Err(is_active(&state));
    }
    let name = change.name.as_ref().unwrap_or(&state.key().server);
    if change.display_name.is_some() && !may_have_display_name(name) {
        let text =
            format!("Server {} needs a valid name before it can have a display_name", quoted(name.as_str()));
        return Err(ApiError::bad_request(text));
    }
    if let Some(name) = &change.name {
        rename(&call, &user, &state, name).await?;
    }
    let id = state.record.id;
    let tx = call.hub.db.begin().await?;
    if let Some(options) = change.options {
        repo::spawners::set_user_options(&tx, id, Some(options)).await?;
    }
    if let Some(display_name) = &change.display_name {
        repo::spawners::set_display_name(&tx, id, Some(display_name)).await?;
    }
    tx.commit().await?;
    let row = repo::spawners::by_id(call.db(), id).await?.ok_or_else(ApiError::not_found)?;
    let state = ServerState::of(&call.hub, row, &user.name);
    info!(by = call.who()?.name(), user = %user.name, server = %state.key().server, "server changed");
    let mut response = answer::ok(&model(&call, &user, &state).await?)?;
    let with_charset = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, with_charset);
    Ok(response)
}

fn is_active(state: &ServerState) -> ApiError {
    ApiError::bad_request(format!("{} is active. Please stop it before modifying it.", state.key()))
}

/// Gives a server another name, in the spawner's world first. The default server is replaced by a new one.
async fn rename(call: &Call, user: &users::Model, state: &ServerState, name: &ServerName) -> ApiResult<()> {
    let taken =
        || ApiError::conflict(format!("User {} already has server {}", user.name, quoted(name.as_str())));
    if server_of(&call.hub, user, name.as_str()).await?.is_some() {
        return Err(taken());
    }
    let server = state.record.server_ref();
    let to = ServerKey::new(UserName::stored(user.name.clone()), name.clone());
    call.hub.servers.spawners.of_state(&server.state).rename(&server, &to).await?;
    let tx = call.hub.db.begin().await?;
    repo::users::lock(&tx, user.id).await?.ok_or_else(ApiError::not_found)?;
    if repo::spawners::by_name(&tx, user.id, name.as_str()).await?.is_some() {
        return Err(taken());
    }
    if repo::spawners::by_id(&tx, state.record.id).await?.is_none_or(|now| now.server.is_some()) {
        return Err(is_active(state));
    }
    repo::spawners::rename(&tx, state.record.id, name.as_str()).await?;
    if state.key().server.is_default() {
        let row = repo::spawners::create(&tx, user.id, "").await?;
        repo::spawners::set_display_name(&tx, row.id, Some("")).await?;
    }
    repo::shares::repin(&tx, user.id).await?;
    tx.commit().await?;
    call.hub.servers.entries.forget(state.record.id);
    Ok(())
}
