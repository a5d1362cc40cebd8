//! Groups. Answers to `apihandlers.groups`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::scopes::Access;
use hub_db::entities::groups;
use hub_db::{Tx, repo};
use jupyterhub_api_compat::models::Group;
use jupyterhub_api_compat::requests::{CreateGroup, CreateGroups, GroupMembers, GroupProperties};
use serde_json::Value;
use tracing::info;

use super::call::{Call, range};
use super::users::short;
use super::{answer, lists};
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;

/// Most characters of a name: what the database holds.
const LONGEST_NAME: usize = 255;

/// The `{group}` of the path.
pub(super) async fn find(call: &Call) -> ApiResult<groups::Model> {
    let name = call.argument("group");
    let none = || ApiError::new(StatusCode::NOT_FOUND, format!("No such group: {}", short(name)));
    repo::groups::by_name(call.db(), name).await?.ok_or_else(none)
}

/// The ids of users by names as a client sends them.
async fn ids_of(call: &Call, names: &[String]) -> ApiResult<Vec<i32>> {
    let names: Vec<String> = names.iter().map(|name| call.hub.auth.names.normalize(name)).collect();
    let found = repo::users::by_names(call.db(), &names).await?;
    match names.iter().find(|name| !found.iter().any(|user| user.name == **name)) {
        Some(missing) => Err(ApiError::bad_request(format!("No such user: {}", short(missing)))),
        None => Ok(found.into_iter().map(|user| user.id).collect()),
    }
}

async fn shown(call: &Call, rows: &[groups::Model]) -> ApiResult<Vec<Option<Group>>> {
    Ok(models::groups(call.db(), rows, &call.caller.scopes).await?)
}

async fn one(call: &Call, row: groups::Model) -> ApiResult<Value> {
    Ok(answer::or_empty(shown(call, &[row]).await?.pop().flatten()))
}

/// `GET /groups`. The total counts the groups that the caller may list; stock's counts all of them.
pub(super) async fn list(call: Call) -> ApiResult<HttpResponse> {
    let only: Option<Vec<String>> = match call.caller.scopes.filter_for("list:groups") {
        Access::All => None,
        // A filter on anything but groups is no filter on groups, and must not be taken for none.
        Access::Filtered(filters)
            if filters.users.is_empty() && filters.servers.is_empty() && filters.services.is_empty() =>
        {
            Some(filters.groups.iter().cloned().collect())
        }
        Access::Filtered(_) | Access::None => return Err(ApiError::bare(StatusCode::FORBIDDEN)),
    };
    let page = call.page()?;
    let found = repo::groups::list(call.db(), only.as_deref(), range(&page)).await?;
    let items: Vec<Value> = shown(&call, &found.items).await?.into_iter().map(answer::or_empty).collect();
    lists::page(&call, &page, items, found.total)
}

async fn make(tx: &Tx, name: &str, users: &[i32]) -> ApiResult<groups::Model> {
    let exists = || ApiError::conflict(format!("Group {name} already exists"));
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        let text = format!("Invalid group name: {} (1 to {LONGEST_NAME} characters)", short(name));
        return Err(ApiError::bad_request(text));
    }
    if repo::groups::by_name(tx, name).await?.is_some() {
        return Err(exists());
    }
    let made = repo::groups::create(tx, name).await;
    let group = made.map_err(|error| if error.is_conflict() { exists() } else { error.into() })?;
    repo::groups::add_users(tx, group.id, users).await?;
    Ok(group)
}

/// `POST /groups`: all or none.
pub(super) async fn create_many(call: Call) -> ApiResult<HttpResponse> {
    let wanted = CreateGroups::read(&call.body)?;
    let users = ids_of(&call, &wanted.users).await?;
    let tx = call.hub.db.begin().await?;
    let mut made = Vec::with_capacity(wanted.groups.len());
    for name in &wanted.groups {
        made.push(make(&tx, name, &users).await?);
    }
    tx.commit().await?;
    info!(by = call.who()?.name(), count = made.len(), members = users.len(), "groups created");
    let models: Vec<Value> = shown(&call, &made).await?.into_iter().map(answer::or_empty).collect();
    answer::created(&models)
}

/// `GET /groups/{group}`.
pub(super) async fn get(call: Call) -> ApiResult<HttpResponse> {
    let group = find(&call).await?;
    answer::ok(&one(&call, group).await?)
}

/// `POST /groups/{group}`.
pub(super) async fn create(call: Call) -> ApiResult<HttpResponse> {
    let wanted = CreateGroup::read(&call.body)?;
    let name = call.argument("group");
    if repo::groups::by_name(call.db(), name).await?.is_some() {
        return Err(ApiError::conflict(format!("Group {name} already exists")));
    }
    let users = ids_of(&call, &wanted.users).await?;
    let tx = call.hub.db.begin().await?;
    let group = make(&tx, name, &users).await?;
    tx.commit().await?;
    info!(by = call.who()?.name(), group = name, members = users.len(), "group created");
    answer::created(&one(&call, group).await?)
}

/// `DELETE /groups/{group}`.
pub(super) async fn delete(call: Call) -> ApiResult<HttpResponse> {
    let group = find(&call).await?;
    let tx = call.hub.db.begin().await?;
    repo::groups::delete(&tx, group.id).await?;
    tx.commit().await?;
    info!(by = call.who()?.name(), group = %group.name, "group deleted");
    Ok(answer::no_content())
}

/// `POST /groups/{group}/users`.
pub(super) async fn add_users(call: Call) -> ApiResult<HttpResponse> {
    let group = find(&call).await?;
    let users = ids_of(&call, &GroupMembers::read_to_add(&call.body)?.users).await?;
    repo::groups::add_users(call.db(), group.id, &users).await?;
    info!(by = call.who()?.name(), group = %group.name, count = users.len(), "members added");
    answer::ok(&one(&call, group).await?)
}

/// `DELETE /groups/{group}/users`.
pub(super) async fn remove_users(call: Call) -> ApiResult<HttpResponse> {
    let group = find(&call).await?;
    let users = ids_of(&call, &GroupMembers::read_to_delete(&call.body)?.users).await?;
    repo::groups::remove_users(call.db(), group.id, &users).await?;
    info!(by = call.who()?.name(), group = %group.name, count = users.len(), "members removed");
    answer::ok(&one(&call, group).await?)
}

/// `PUT /groups/{group}/properties`.
pub(super) async fn set_properties(call: Call) -> ApiResult<HttpResponse> {
    let mut group = find(&call).await?;
    let properties = Value::Object(GroupProperties::read(&call.body)?.0);
    repo::groups::set_properties(call.db(), group.id, properties.clone()).await?;
    info!(by = call.who()?.name(), group = %group.name, "properties replaced");
    group.properties = Some(hub_db::JsonDict(properties));
    answer::ok(&one(&call, group).await?)
}
