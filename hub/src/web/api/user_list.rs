//! Users by the dozen: list, create. Answers to `UserListAPIHandler`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::scopes::Access;
use hub_db::repo;
use hub_db::repo::user_list::{Only, ServerState, SortBy, UserQuery};
use jupyterhub_api_compat::models::User;
use jupyterhub_api_compat::requests::{CreateUsers, ListUsers, UserSort, UserState};
use tracing::{info, warn};

use super::call::{Call, range};
use super::users::{only_admins_grant, rejected};
use super::{answer, lists};
use crate::auth::login::ensure_user;
use crate::rbac::roles;
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;

/// Most invalid names that a message repeats.
const SHOWN_NAMES: usize = 50;

/// The users that the caller's `list:users` reaches. A filter on anything but users and groups is no filter on users,
/// and must not be taken for none.
fn visible(access: &Access) -> ApiResult<Option<Only>> {
    match access {
        Access::All => Ok(None),
        Access::Filtered(filters) if filters.servers.is_empty() && filters.services.is_empty() => {
            Ok(Some(Only {
                users: filters.users.iter().cloned().collect(),
                groups: filters.groups.iter().cloned().collect(),
            }))
        }
        Access::Filtered(_) | Access::None => Err(ApiError::bare(StatusCode::FORBIDDEN)),
    }
}

/// `GET /users`.
pub(super) async fn list(call: Call) -> ApiResult<HttpResponse> {
    let (state, part, sort) = (call.text_of("state")?, call.text_of("name_filter")?, call.text_of("sort")?);
    let page = call.page()?;
    let wanted = ListUsers::parse(state.as_deref(), part.as_deref(), sort.as_deref())?;
    let query = UserQuery {
        state: wanted.state.map(|state| match state {
            UserState::Active | UserState::Ready => ServerState::Active,
            UserState::Inactive => ServerState::Inactive,
        }),
        name_filter: wanted.name_filter,
        only: visible(call.caller.scopes.filter_for("list:users"))?,
        sort: match wanted.sort {
            UserSort::Id => SortBy::Id,
            UserSort::Name => SortBy::Name,
            UserSort::LastActivity => SortBy::LastActivity,
        },
        descending: wanted.descending,
        range: range(&page),
    };
    let total = call.hub.known.user_count(&call.hub.db, &query).await?;
    let users = repo::user_list::page(call.db(), &query).await?;
    let details = repo::users::with_details(call.db(), users).await?;
    let stopped = call.include_stopped_servers();
    let shown: Vec<User> = details
        .iter()
        .filter(|user| wanted.state != Some(UserState::Ready) || models::has_ready_server(&call.hub, user))
        .filter_map(|user| models::user(&call.hub, user, stopped).restrict(&call.caller.scopes, &user.groups))
        .collect();
    lists::page(&call, &page, shown, total)
}

/// Names for a message; it tells how many more there are.
fn first_of(names: &[String]) -> String {
    let shown = names.get(..names.len().min(SHOWN_NAMES)).unwrap_or_default().join(", ");
    match names.len() - names.len().min(SHOWN_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `POST /users`: makes those that do not exist yet.
pub(super) async fn create(call: Call) -> ApiResult<HttpResponse> {
    let wanted = CreateUsers::read(&call.body)?;
    only_admins_grant(&call, wanted.admin)?;
    let rules = &call.hub.auth.names;
    let mut names: Vec<String> = Vec::new();
    let mut invalid: Vec<String> = Vec::new();
    for name in &wanted.usernames {
        let name = rules.normalize(name);
        if let Err(why) = rules.validate(&name) {
            invalid.push(rejected(&name, &why));
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    match invalid.as_slice() {
        [] => {}
        [name] => return Err(ApiError::bad_request(format!("Invalid username: {name}"))),
        names => return Err(ApiError::bad_request(format!("Invalid usernames: {}", first_of(names)))),
    }
    let tx = call.hub.db.begin().await?;
    for known in repo::users::by_names(&tx, &names).await? {
        warn!(user = %known.name, "the user exists already");
        names.retain(|name| *name != known.name);
    }
    if names.is_empty() {
        return Err(ApiError::conflict(format!("All {} users already exist", wanted.usernames.len())));
    }
    let mut users = Vec::with_capacity(names.len());
    for name in &names {
        let mut user = ensure_user(&call.hub, &tx, name).await?;
        if wanted.admin {
            roles::set_admin(&tx, user.id, true).await?;
            user.admin = Some(true);
        }
        users.push(user);
    }
    tx.commit().await?;
    info!(by = call.who()?.name(), count = users.len(), admin = wanted.admin, "users created");
    let details = repo::users::with_details(call.db(), users).await?;
    let models: Vec<serde_json::Value> = details
        .iter()
        .map(|user| {
            answer::or_empty(models::user(&call.hub, user, false).restrict(&call.caller.scopes, &user.groups))
        })
        .collect();
    answer::created(&models)
}
