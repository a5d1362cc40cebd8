//! Codes that can be exchanged for a share. Answers to `ServerShareCodeAPIHandler`.

use std::collections::HashMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::TimeDelta;
use hub_db::repo;
use hub_db::repo::share_codes::{CodeFilter, ShareCodeDetails};
use jupyterhub_api_compat::Gate;
use jupyterhub_api_compat::models::{ShareCode, ShareServer};
use jupyterhub_api_compat::requests::ShareCodeRequest;
use tracing::info;

use super::call::{Call, range};
use super::shares::{check_held, requested_scopes, server};
use super::users::short;
use super::{answer, lists};
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;

fn model(details: &ShareCodeDetails, servers: &HashMap<i32, ShareServer>) -> Option<ShareCode> {
    let row = &details.code;
    Some(ShareCode {
        server: servers.get(&details.server.spawner_id)?.clone(),
        scopes: row.scopes.0.clone(),
        id: ShareCode::id_of(row.id.into()),
        created_at: Some(row.created_at.utc().into()),
        expires_at: row.expires_at.map(|at| at.utc().into()),
        exchange_count: row.exchange_count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default(),
        last_exchanged_at: row.last_exchanged_at.map(|at| at.utc().into()),
        code: Gate::Hidden,
        accept_url: Gate::Hidden,
        full_accept_url: Gate::Hidden,
    })
}

async fn list(call: &Call, which: CodeFilter) -> ApiResult<HttpResponse> {
    let page = call.page()?;
    let found = repo::share_codes::list(call.db(), which, range(&page), call.hub.clock.now()).await?;
    let servers = models::shared_servers(&call.hub, found.items.iter().map(|code| &code.server)).await?;
    let items: Vec<ShareCode> = found.items.iter().filter_map(|code| model(code, &servers)).collect();
    lists::enveloped(call, &page, items, found.total)
}

/// `GET /share-codes/{user}`.
pub(super) async fn list_of_owner(call: Call) -> ApiResult<HttpResponse> {
    let owner = call.user_or_404().await?;
    list(&call, CodeFilter::OfOwner(owner.id)).await
}

/// `GET /share-codes/{user}/{server}`.
pub(super) async fn list_of_server(call: Call) -> ApiResult<HttpResponse> {
    let server = server(&call).await?;
    list(&call, CodeFilter::OfServer(server.spawner_id)).await
}

/// `POST /share-codes/{user}/{server}`. The code is shown this once.
pub(super) async fn create(call: Call) -> ApiResult<HttpResponse> {
    let wanted = ShareCodeRequest::read(&call.body)?;
    let scopes = requested_scopes(&call, wanted.scopes)?;
    check_held(&call, &scopes).await?;
    let server = server(&call).await?;
    let now = call.hub.clock.now();
    let end = now + TimeDelta::seconds(wanted.expires_in.into());
    let (code, text) = repo::share_codes::create(call.db(), &server, &scopes, end, now).await?;
    info!(by = call.who()?.name(), owner = %server.owner_name, server = %server.server_name, "share code made");
    let servers = models::shared_servers(&call.hub, std::iter::once(&server)).await?;
    let model = model(&ShareCodeDetails { code, server }, &servers).ok_or_else(ApiError::not_found)?;
    let path = call.hub.urls.hub_path(&format!("accept-share?code={text}"));
    let full = call.hub.urls.public().map(|_| call.hub.urls.for_browser(&path));
    answer::ok(&ShareCode {
        code: text.into(),
        accept_url: path.into(),
        full_accept_url: full.into(),
        ..model
    })
}

/// `DELETE /share-codes/{user}/{server}`: one by its code or its id, or all.
pub(super) async fn delete(call: Call) -> ApiResult<HttpResponse> {
    let server = server(&call).await?;
    let given = |name: &str| call.query(name).filter(|text| !text.is_empty());
    let (code, id) = (given("code"), given("id"));
    let now = call.hub.clock.now();
    let (found, missing) = match (&code, &id) {
        (Some(code), _) => {
            (repo::share_codes::find(call.db(), code, now).await?, "No matching code found".to_owned())
        }
        (None, Some(id)) => {
            let number = ShareCode::parse_id(id).and_then(|number| i32::try_from(number).ok());
            let found = match number {
                Some(number) => repo::share_codes::by_id(call.db(), number, now).await?,
                None => None,
            };
            (found, format!("No code found matching id={}", short(id)))
        }
        (None, None) => {
            let count = repo::share_codes::delete_of_server(call.db(), server.spawner_id).await?;
            let (owner, name) = (&server.owner_name, &server.server_name);
            info!(by = call.who()?.name(), %owner, server = %name, count, "share codes deleted");
            return Ok(answer::no_content());
        }
    };
    let found = found.filter(|found| found.server.spawner_id == server.spawner_id);
    let found = found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, missing))?;
    repo::share_codes::delete(call.db(), found.code.id).await?;
    info!(by = call.who()?.name(), owner = %server.owner_name, server = %server.server_name, "share code deleted");
    Ok(answer::no_content())
}
