//! The page of a person's logins. Not in JupyterHub.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_db::repo;
use hub_db::repo::browser_sessions::BrowserSession;
use jupyterhub_api_compat::models::Session;

use super::context::{html, logged_in};
use crate::auth::agent;
use crate::render::{Date, SessionRow, SessionsPage};
use crate::web::caller::Page;
use crate::web::error::{ApiError, ApiResult};

/// `GET /hub/sessions`; with `user`, of somebody else, for those who may see their tokens.
pub async fn show(page: Page) -> ApiResult<HttpResponse> {
    let viewer = match logged_in(&page) {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    let hub = &page.hub;
    let user = match page.facts.argument("user").filter(|name| *name != viewer.name) {
        None => viewer,
        Some(name) => {
            page.caller.require_user(hub, &["read:tokens"], &name).await?;
            repo::users::by_name(hub.db.conn(), &name).await?.ok_or_else(ApiError::not_found)?
        }
    };
    let own = page.caller.user().is_some_and(|viewer| viewer.id == user.id);
    let current = page.caller.login.as_ref().map(|login| login.id);
    let found = repo::browser_sessions::of_user(hub.db.conn(), user.id, hub.clock.now()).await?;
    let mut sessions: Vec<SessionRow> = found.iter().map(|session| row(session, current)).collect();
    // The browser in front of the person comes first.
    sessions.sort_by_key(|session| !session.current);
    let content = SessionsPage {
        unlisted: own && !sessions.iter().any(|session| session.current),
        owner: user.name.clone(),
        own,
        may_end: page.caller.require_user(hub, &["tokens"], &user.name).await.is_ok(),
        sessions,
    };
    html(&page, StatusCode::OK, &content).await
}

fn row(session: &BrowserSession, current: Option<i32>) -> SessionRow {
    let (browser, system) = session.agent.as_deref().map(agent::name).unwrap_or_default();
    SessionRow {
        id: Session::id_of(session.id.into()),
        browser: browser.unwrap_or_default(),
        system: system.unwrap_or_default().to_owned(),
        address: session.address.clone().unwrap_or_default(),
        agent: session.agent.clone().unwrap_or_default(),
        created: Some(Date(session.created)),
        last_activity: Some(Date(session.last_activity)),
        expires_at: Some(Date(session.expires_at)),
        current: current == Some(session.id),
    }
}
