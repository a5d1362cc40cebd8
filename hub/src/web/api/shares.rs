//! Servers shared with users and groups. Answers to the handlers of shares in `apihandlers.shares`.

use std::collections::HashMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::scopes::{Resource, default_share_scope, pin_share_scopes};
use hub_db::entities::users;
use hub_db::repo;
use hub_db::repo::shares::{Receiver, ShareDetails, ShareFilter, Shared};
use jupyterhub_api_compat::models::{Named, Share, ShareKind, ShareServer};
use jupyterhub_api_compat::requests::{ShareRequest, ShareWith, quoted};
use serde_json::json;
use tracing::info;

use super::call::{Call, range};
use super::users::short;
use super::{answer, groups, lists};
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;

fn model(details: &ShareDetails, servers: &HashMap<i32, ShareServer>) -> Option<Share> {
    let kind = if details.share.group_id.is_some() { ShareKind::Group } else { ShareKind::User };
    Some(Share {
        server: servers.get(&details.server.spawner_id)?.clone(),
        scopes: details.share.scopes.0.clone(),
        user: details.user.as_deref().map(Named::from),
        group: details.group.as_deref().map(Named::from),
        kind,
        created_at: Some(details.share.created_at.utc().into()),
    })
}

async fn one(call: &Call, details: &ShareDetails) -> ApiResult<HttpResponse> {
    let servers = models::shared_servers(&call.hub, std::iter::once(&details.server)).await?;
    answer::ok(&model(details, &servers).ok_or_else(ApiError::not_found)?)
}

async fn list(call: &Call, which: ShareFilter) -> ApiResult<HttpResponse> {
    let page = call.page()?;
    let found = repo::shares::list(call.db(), which, range(&page), call.hub.clock.now()).await?;
    let servers = models::shared_servers(&call.hub, found.items.iter().map(|share| &share.server)).await?;
    let items: Vec<Share> = found.items.iter().filter_map(|share| model(share, &servers)).collect();
    lists::enveloped(call, &page, items, found.total)
}

/// A server that can be shared, by names.
pub(super) async fn server_of(call: &Call, owner: &str, name: &str) -> ApiResult<Option<Shared>> {
    let Some(owner) = repo::users::by_name(call.db(), owner).await? else { return Ok(None) };
    let row = repo::spawners::by_name(call.db(), owner.id, name).await?;
    Ok(row.map(|row| Shared {
        spawner_id: row.row.id,
        server_name: row.row.name,
        owner_id: owner.id,
        owner_name: owner.name,
    }))
}

/// The server of the path.
pub(super) async fn server(call: &Call) -> ApiResult<Shared> {
    let (owner, name) = (call.user_name(), call.argument("server"));
    server_of(call, owner, name).await?.ok_or_else(|| {
        let text = format!("No such server: {}/{}", short(owner), short(name));
        ApiError::new(StatusCode::NOT_FOUND, text)
    })
}

/// `GET /shares/{user}`.
pub(super) async fn list_of_owner(call: Call) -> ApiResult<HttpResponse> {
    let owner = call.user_or_404().await?;
    list(&call, ShareFilter::OfOwner(owner.id)).await
}

/// `GET /shares/{user}/{server}`.
pub(super) async fn list_of_server(call: Call) -> ApiResult<HttpResponse> {
    let server = server(&call).await?;
    list(&call, ShareFilter::OfServer(server.spawner_id)).await
}

/// `GET /users/{user}/shared`: what the user's groups have got, too.
pub(super) async fn list_with_user(call: Call) -> ApiResult<HttpResponse> {
    let user = call.named_user().await?;
    list(&call, ShareFilter::ToUserOrItsGroups(user.id)).await
}

/// `GET /groups/{group}/shared`.
pub(super) async fn list_with_group(call: Call) -> ApiResult<HttpResponse> {
    let group = groups::find(&call).await?;
    list(&call, ShareFilter::ToGroup(group.id)).await
}

/// The share of the path: of `{owner}/{shared_server}`, with `receiver`.
async fn find(call: &Call, receiver: Option<Receiver>, who: &str) -> ApiResult<ShareDetails> {
    let (owner, name) = (call.argument("owner"), call.argument("shared_server"));
    let none = || {
        let text = format!("No such share for {who} on {}/{}", short(owner), short(name));
        ApiError::new(StatusCode::NOT_FOUND, text)
    };
    let receiver = receiver.ok_or_else(none)?;
    let server = server_of(call, owner, name).await?.ok_or_else(none)?;
    let now = call.hub.clock.now();
    repo::shares::find(call.db(), server.spawner_id, receiver, now).await?.ok_or_else(none)
}

async fn find_with_user(call: &Call) -> ApiResult<ShareDetails> {
    let receiver = call.user().await?.map(|user| Receiver::User(user.id));
    find(call, receiver, &format!("user {}", short(call.user_name()))).await
}

async fn find_with_group(call: &Call) -> ApiResult<ShareDetails> {
    let group = groups::find(call).await?;
    find(call, Some(Receiver::Group(group.id)), &format!("group {}", group.name)).await
}

async fn leave(call: &Call, details: &ShareDetails) -> ApiResult<HttpResponse> {
    repo::shares::delete(call.db(), details.share.id).await?;
    let server = &details.server;
    info!(by = call.who()?.name(), owner = %server.owner_name, server = %server.server_name, "a share was given up");
    Ok(answer::no_content())
}

/// `GET /users/{user}/shared/{owner}/{server}`.
pub(super) async fn get_with_user(call: Call) -> ApiResult<HttpResponse> {
    one(&call, &find_with_user(&call).await?).await
}

/// `DELETE` on the same.
pub(super) async fn leave_as_user(call: Call) -> ApiResult<HttpResponse> {
    leave(&call, &find_with_user(&call).await?).await
}

/// `GET /groups/{group}/shared/{owner}/{server}`.
pub(super) async fn get_with_group(call: Call) -> ApiResult<HttpResponse> {
    one(&call, &find_with_group(&call).await?).await
}

/// `DELETE` on the same.
pub(super) async fn leave_as_group(call: Call) -> ApiResult<HttpResponse> {
    leave(&call, &find_with_group(&call).await?).await
}

/// That there are such scopes.
fn check_exist(call: &Call, scopes: &[String]) -> ApiResult<()> {
    let table = call.hub.rbac.table();
    for scope in scopes {
        table.parse(scope).map_err(|error| ApiError::bad_request(quoted(&error.message_for("share"))))?;
    }
    Ok(())
}

/// The scopes that a share or share code shall give, pinned to the server of the path: they exist and fit it.
pub(super) fn requested_scopes(call: &Call, wanted: Option<Vec<String>>) -> ApiResult<Vec<String>> {
    let (owner, name) = (call.user_name(), call.argument("server"));
    let wanted = wanted.unwrap_or_else(|| vec![default_share_scope(owner, name)]);
    check_exist(call, &wanted)?;
    let pinned =
        pin_share_scopes(&wanted, owner, name).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(pinned.into_iter().collect())
}

/// That the caller holds all that is to be given.
pub(super) async fn check_held(call: &Call, scopes: &[String]) -> ApiResult<()> {
    let owner = call.user_name();
    let mut groups = call.hub.rbac.groups_of(call.db(), &[owner.to_owned()]).await?;
    let groups = groups.0.remove(owner).unwrap_or_default();
    for text in scopes {
        let held =
            call.hub.rbac.table().parse(text).is_ok_and(|scope| call.caller.scopes.holds(&scope, &groups));
        if !held {
            return Err(ApiError::forbidden(format!(
                "Do not have permission to grant share with scope {text}"
            )));
        }
    }
    Ok(())
}

/// With whom a server shall be shared; the caller must be able to see them.
async fn receiver(call: &Call, with: &ShareWith) -> ApiResult<Receiver> {
    match with {
        ShareWith::User(name) => {
            let user: Option<users::Model> = repo::users::by_name(call.db(), name).await?;
            let groups = match &user {
                Some(user) => repo::groups::of_user(call.db(), user.id).await?,
                None => Vec::new(),
            };
            let groups: Vec<String> = groups.into_iter().map(|group| group.name).collect();
            if !call.caller.scopes.allows("read:users:name", &Resource::User { name, groups: &groups }) {
                let text = "Need scope 'read:users:name' to share with users by name";
                return Err(ApiError::forbidden(text));
            }
            let none = || ApiError::bad_request(format!("No such user: {}", short(name)));
            user.map(|user| Receiver::User(user.id)).ok_or_else(none)
        }
        ShareWith::Group(name) => {
            if !call.caller.scopes.allows("read:groups:name", &Resource::Group(name)) {
                let text = "Need scope 'read:groups:name' to share with groups by name";
                return Err(ApiError::forbidden(text));
            }
            let none = || ApiError::bad_request(format!("No such group: {}", short(name)));
            let group = repo::groups::by_name(call.db(), name).await?;
            group.map(|group| Receiver::Group(group.id)).ok_or_else(none)
        }
    }
}

/// `POST /shares/{user}/{server}`: shares, or adds to a share.
pub(super) async fn grant(call: Call) -> ApiResult<HttpResponse> {
    let wanted = ShareRequest::read(&call.body)?;
    let scopes = requested_scopes(&call, wanted.scopes)?;
    let server = server(&call).await?;
    check_held(&call, &scopes).await?;
    let receiver = receiver(&call, &wanted.with).await?;
    let now = call.hub.clock.now();
    let tx = call.hub.db.begin().await?;
    repo::shares::grant(&tx, &server, receiver, &scopes, now).await?;
    tx.commit().await?;
    info!(by = call.who()?.name(), owner = %server.owner_name, server = %server.server_name, "server shared");
    let share = repo::shares::find(call.db(), server.spawner_id, receiver, now).await?;
    one(&call, &share.ok_or_else(ApiError::not_found)?).await
}

/// `PATCH /shares/{user}/{server}`: ends a share, or takes some scopes away. A receiver that does not exist has none.
pub(super) async fn revoke(call: Call) -> ApiResult<HttpResponse> {
    let wanted = ShareRequest::read(&call.body)?;
    // Who mistypes a scope would take it for withdrawn.
    check_exist(&call, wanted.scopes.as_deref().unwrap_or_default())?;
    let server = server(&call).await?;
    let receiver = match &wanted.with {
        ShareWith::User(name) => {
            repo::users::by_name(call.db(), name).await?.map(|user| Receiver::User(user.id))
        }
        ShareWith::Group(name) => {
            repo::groups::by_name(call.db(), name).await?.map(|group| Receiver::Group(group.id))
        }
    };
    let Some(receiver) = receiver else { return answer::ok(&json!({})) };
    let tx = call.hub.db.begin().await?;
    repo::shares::revoke(&tx, &server, receiver, wanted.scopes.as_deref()).await?;
    tx.commit().await?;
    info!(by = call.who()?.name(), owner = %server.owner_name, server = %server.server_name, "share revoked");
    match repo::shares::find(call.db(), server.spawner_id, receiver, call.hub.clock.now()).await? {
        Some(share) => one(&call, &share).await,
        None => answer::ok(&json!({})),
    }
}

/// `DELETE /shares/{user}/{server}`: ends all shares of a server.
pub(super) async fn delete(call: Call) -> ApiResult<HttpResponse> {
    let server = server(&call).await?;
    let count = repo::shares::delete_of_server(call.db(), server.spawner_id).await?;
    info!(by = call.who()?.name(), owner = %server.owner_name, server = %server.server_name, count, "shares deleted");
    Ok(answer::no_content())
}
