//! Requests for servers that are not routed: `/hub/user/{name}/...` and `/hub/user-redirect/...`. Answers to
//! `UserUrlHandler` and `UserRedirectHandler`.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, LOCATION};
use actix_web::{HttpRequest, HttpResponse};
use hub_core::ServerKey;
use hub_db::entities::users;
use hub_db::repo;
use serde_json::json;

use super::context::{ServerState, html, key, logged_in, redirect, server_of, user_view, with_query};
use super::spawn::{failed_page, path_argument};
use crate::render::NotRunningPage;
use crate::servers::live::Failure;
use crate::web::caller::{Page, UserPath};
use crate::web::error::{ApiError, ApiResult};

/// Argument that counts how often a browser was sent back to its server.
const REDIRECTS: &str = "redirects";
/// The longest pause before another try.
const LONGEST_PAUSE: u64 = 10;

/// Which server a path means, and the rest of the path.
struct Aim {
    owner: Option<users::Model>,
    key: ServerKey,
    state: Option<ServerState>,
}

async fn aim(page: &Page, name: &str, rest: &str) -> ApiResult<Aim> {
    let hub = &page.hub;
    let owner = repo::users::by_name(hub.db.conn(), name).await?;
    let first = rest.split('/').next().unwrap_or_default();
    let first = percent_encoding::percent_decode_str(first).decode_utf8_lossy().into_owned();
    if let Some(owner) = &owner {
        if !first.is_empty()
            && hub.config.hub.allow_named_servers
            && let Some(state) = server_of(hub, owner, &first).await?
        {
            return Ok(Aim { key: key(name, &first), owner: Some(owner.clone()), state: Some(state) });
        }
        let state = server_of(hub, owner, "").await?;
        return Ok(Aim { key: key(name, ""), owner: Some(owner.clone()), state });
    }
    Ok(Aim { key: key(name, ""), owner, state: None })
}

fn stopped_status(page: &Page) -> StatusCode {
    if page.hub.config.hub.use_legacy_stopped_server_status_code {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::FAILED_DEPENDENCY
    }
}

/// What API clients are told: the server is not there, and where to start it.
fn stopped_json(page: &Page, key: &ServerKey) -> HttpResponse {
    let hub = &page.hub;
    // The path that was asked for, below the base URL and without the hub's prefix.
    let path = page.facts.path.as_str();
    let server = path.strip_prefix(hub.urls.hub().trim_end_matches('/')).unwrap_or(path);
    let spawn = hub.urls.for_browser(&hub.urls.server_page("spawn", key));
    let spawn = if spawn.starts_with('/') {
        format!("{}://{}{spawn}", page.facts.browser_scheme, page.facts.host)
    } else {
        spawn
    };
    let message = format!("JupyterHub server no longer running at {server}. Restart the server at {spawn}");
    HttpResponse::build(stopped_status(page)).json(json!({ "message": message }))
}

/// `POST`, `PATCH`, `DELETE /hub/user/{name}/...`.
pub async fn write(page: UserPath, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let page = page.0;
    if page.caller.token().is_none() {
        page.check_form(&rq, None)?;
    }
    let name = path_argument(&rq, "user");
    // Stock does not look which server the path is for.
    Ok(stopped_json(&page, &key(&name, "")))
}

/// Whether an API client asks rather than a person.
fn is_api_request(rq: &HttpRequest, rest: &str) -> bool {
    let accept = rq.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let place = |media: &str| {
        accept.split(',').position(|part| part.split(';').next().unwrap_or_default().trim() == media)
    };
    let json_first = match (place("application/json"), place("text/html")) {
        (Some(json), Some(html)) => json < html,
        (Some(_), None) => true,
        _ => false,
    };
    json_first || rest.split('/').any(|segment| segment == "api")
}

/// `GET /hub/user/{name}/...`.
pub async fn read(page: UserPath, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let page = page.0;
    let hub = page.hub.clone();
    let name = path_argument(&rq, "user");
    let rest = rq.match_info().get("rest").unwrap_or_default().to_owned();
    if page.caller.who.is_none() {
        return match logged_in(&page) {
            Err(to_login) => Ok(to_login),
            Ok(_) => Err(ApiError::anonymous()),
        };
    }
    let aim = aim(&page, &name, &rest).await?;
    let allowed =
        page.caller.may_on_server(&hub, &["access:servers"], &aim.key.user, &aim.key.server).await?;
    if !allowed {
        return Err(ApiError::no_access());
    }
    let Some(owner) = &aim.owner else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("No such user: {name}")));
    };
    if let Some(state) = &aim.state
        && state.is_ready()
    {
        if let Some(address) = &state.record.address {
            // A proxy beside the hub may have lost it since the last check.
            hub.servers.open_route(&aim.key, address).await.map_err(|error| {
                tracing::error!(user = %aim.key.user, server = %aim.key.server, %error, "cannot open the route to a server");
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The proxy did not take the route to the server.")
            })?;
        }
        return back_to_server(&page, &aim.key).await;
    }
    if is_api_request(&rq, &rest) {
        return Ok(stopped_json(&page, &aim.key));
    }
    let next = public_uri(&page);
    if let Some(state) = &aim.state {
        if state.pending().is_some() {
            let url = with_query(&hub.urls.server_page("spawn-pending", &aim.key), [("next", next.as_str())]);
            return Ok(HttpResponse::SeeOther().insert_header((LOCATION, url)).finish());
        }
        if let Some(Failure::Failed(error)) = &state.live.failure {
            return failed_page(&page, owner, &aim.key, error).await;
        }
    }
    let content = NotRunningPage {
        user: Some(user_view(&hub, owner).await?),
        server_name: aim.key.server.to_string(),
        spawn_url: with_query(&hub.urls.server_page("spawn", &aim.key), [("next", next.as_str())]),
        implicit_spawn_seconds: hub.config.hub.implicit_spawn_seconds.as_secs_f64(),
        auth_state: hub.auth_state(owner),
        ..NotRunningPage::default()
    };
    html(&page, stopped_status(&page), &content).await
}

/// The address that the browser asked for before the proxy sent it here: without the hub's prefix.
fn public_uri(page: &Page) -> String {
    let uri = page.facts.uri();
    let rest = uri.strip_prefix(page.hub.urls.hub()).unwrap_or(&uri);
    format!("{}{}", page.hub.urls.base(), rest.trim_start_matches('/'))
}

/// The server runs, so its route came a moment too late: back to it, but not for ever.
async fn back_to_server(page: &Page, server: &ServerKey) -> ApiResult<HttpResponse> {
    let mut pairs = page.facts.query_pairs();
    let count = pairs.iter().find(|(name, _)| name == REDIRECTS).map(|(_, value)| value.parse::<u32>());
    let count = match count {
        None => 0,
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            tracing::warn!(user = %server.user, "a redirect counter that is no number");
            0
        }
    };
    if count >= page.hub.config.hub.user_redirect_limit {
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Redirect loop detected."));
    }
    if count > 0 {
        let pause = 2_u64.saturating_pow(count).min(LONGEST_PAUSE);
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
    pairs.retain(|(name, _)| name != REDIRECTS);
    pairs.push((REDIRECTS.to_owned(), (count + 1).to_string()));
    let uri = public_uri(page);
    let path = uri.split('?').next().unwrap_or_default();
    Ok(redirect(&page.hub.urls.on_host_of(&server.user, &with_query(path, pairs))))
}

/// `GET /hub/user-redirect/{path}`: to that path on one's own server, started if need be.
pub async fn own(page: Page, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let user = match logged_in(&page) {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    let hub = &page.hub;
    let name = hub.config.hub.default_server_name.clone();
    let server = key(&user.name, &name);
    let rest = rq.match_info().get("rest").unwrap_or_default();
    let prefix = hub.urls.hub_path("user-redirect/");
    let raw = page.facts.path.strip_prefix(&prefix).unwrap_or(rest);
    let mut next = format!("{}{raw}", hub.urls.server(&server));
    if !page.facts.query.is_empty() {
        next = format!("{next}?{}", page.facts.query);
    }
    Ok(redirect(&with_query(&hub.urls.server_page("spawn", &server), [("next", next.as_str())])))
}
