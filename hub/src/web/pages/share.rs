//! Taking up an invitation to somebody's server. Answers to `AcceptShareHandler`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use hub_core::ServerKey;
use hub_core::scopes::describe_scopes;
use hub_db::repo;
use hub_db::repo::share_codes::ShareCodeDetails;
use hub_db::repo::shares::Receiver;
use tracing::info;

use super::context::{empty_view, html, key, logged_in, next_of, redirect};
use crate::render::{AcceptSharePage, OwnerView, ScopeDescription};
use crate::web::caller::Page;
use crate::web::error::{ApiError, ApiResult};
use crate::web::pages::context::{ServerState, server_of};

const OWN: &str = "You can't share with yourself!";

fn missing() -> ApiError {
    ApiError::bad_request("Missing argument code")
}

async fn find(page: &Page, code: &str) -> ApiResult<Option<ShareCodeDetails>> {
    Ok(repo::share_codes::find(page.hub.db.conn(), code, page.hub.clock.now()).await?)
}

/// To `next`, or to the server, running or not.
fn onward(page: &Page, server: &ServerKey) -> String {
    next_of(page, None).unwrap_or_else(|| page.hub.urls.server_url(server))
}

fn key_of(code: &ShareCodeDetails) -> ServerKey {
    key(&code.server.owner_name, &code.server.server_name)
}

/// `GET /hub/accept-share`: what is offered.
pub async fn show(page: Page) -> ApiResult<HttpResponse> {
    let user = match logged_in(&page) {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    let hub = &page.hub;
    let code = page.facts.argument("code").ok_or_else(missing)?;
    let none = || ApiError::new(StatusCode::NOT_FOUND, "Share not found or expired");
    let found = find(&page, &code).await?.ok_or_else(none)?;
    if found.server.owner_id == user.id {
        return Err(ApiError::forbidden(OWN));
    }
    let owner = repo::users::by_id(hub.db.conn(), found.server.owner_id).await?.ok_or_else(none)?;
    let state = server_of(hub, &owner, &found.server.server_name).await?;
    let server = key_of(&found);
    let scopes = found.code.scopes.0.iter().map(String::as_str);
    let content = AcceptSharePage {
        code,
        owner: OwnerView { name: owner.name },
        spawner_ready: state.as_ref().is_some_and(ServerState::is_ready),
        spawner: state.map_or_else(|| empty_view(hub, &server), |state| state.view(hub)),
        spawner_url: hub.urls.server_for_browser(&server),
        scope_descriptions: describe_scopes(hub.rbac.table(), scopes, &user.name)
            .into_iter()
            .map(|line| ScopeDescription {
                scope: line.scope.unwrap_or_default(),
                description: line.description,
                filter: line.filter,
            })
            .collect(),
        next_url: onward(&page, &server),
    };
    html(&page, StatusCode::OK, &content).await
}

/// `POST /hub/accept-share`: taken up.
pub async fn accept(
    page: Page,
    rq: HttpRequest,
    form: web::Form<Vec<(String, String)>>,
) -> ApiResult<HttpResponse> {
    let field = |name: &str| form.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    page.check_form(&rq, field("_xsrf"))?;
    let user = page.caller.user().ok_or_else(ApiError::anonymous)?;
    let hub = &page.hub;
    let code =
        field("code").map(str::to_owned).or_else(|| page.facts.argument("code")).ok_or_else(missing)?;
    // The code is not repeated: pages and logs are read by others.
    let found = find(&page, &code).await?.ok_or_else(|| ApiError::bad_request("Invalid share code"))?;
    if found.server.owner_id == user.id {
        return Err(ApiError::bad_request(OWN));
    }
    let tx = hub.db.begin().await?;
    repo::share_codes::exchange(&tx, &found, Receiver::User(user.id), hub.clock.now()).await?;
    tx.commit().await?;
    info!(user = %user.name, owner = %found.server.owner_name, server = %found.server.server_name, "share accepted");
    Ok(redirect(&onward(&page, &key_of(&found))))
}
