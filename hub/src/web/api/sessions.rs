//! The logins of browsers: see them, end one or all. Not in JupyterHub.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_db::entities::users;
use hub_db::repo;
use hub_db::repo::browser_sessions::BrowserSession;
use jupyterhub_api_compat::models::{Session, SessionList};
use tracing::info;

use super::answer;
use super::call::Call;
use super::users::short;
use crate::auth::{agent, browsers};
use crate::web::caller::Who;
use crate::web::error::{ApiError, ApiResult};

const SEE: &[&str] = &["read:tokens"];
const END: &[&str] = &["tokens"];

/// A login as the API shows it. `current` is the one that the call itself was made with.
fn model(session: &BrowserSession, user: &str, current: Option<i32>) -> Session {
    let (browser, system) = session.agent.as_deref().map(agent::name).unwrap_or_default();
    Session {
        id: Session::id_of(session.id.into()),
        user: user.to_owned(),
        created: session.created.into(),
        last_activity: session.last_activity.into(),
        expires_at: session.expires_at.into(),
        address: session.address.clone(),
        browser,
        system: system.map(str::to_owned),
        agent: session.agent.clone(),
        current: current == Some(session.id),
    }
}

fn current(call: &Call) -> Option<i32> {
    call.caller.login.as_ref().map(|login| login.id)
}

/// The user whom a call is about: the one of the query, or else whoever asks.
async fn about(call: &Call, scopes: &[&str]) -> ApiResult<users::Model> {
    let named = call.text_of("user")?;
    let user = match (&named, call.who()?) {
        (None, Who::User(user)) => (**user).clone(),
        (None, Who::Service(_)) => {
            return Err(ApiError::bad_request("a service has no logins; name a user: user=ada"));
        }
        (Some(name), _) => {
            call.caller.require_user(&call.hub, scopes, name).await?;
            let none = || ApiError::new(StatusCode::NOT_FOUND, format!("No such user: {}", short(name)));
            repo::users::by_name(call.db(), name).await?.ok_or_else(none)?
        }
    };
    call.caller.require_user(&call.hub, scopes, &user.name).await?;
    Ok(user)
}

/// `GET /sessions`.
pub(super) async fn list(call: Call) -> ApiResult<HttpResponse> {
    let user = about(&call, SEE).await?;
    let found = repo::browser_sessions::of_user(call.db(), user.id, call.hub.clock.now()).await?;
    let sessions = found.iter().map(|session| model(session, &user.name, current(&call))).collect();
    answer::ok(&SessionList { sessions })
}

/// `DELETE /sessions`. With `others`, the login of the caller's own browser stays.
pub(super) async fn end_all(call: Call) -> ApiResult<HttpResponse> {
    let user = about(&call, END).await?;
    call.concerns(&user.name);
    let others = match call.query("others").as_deref() {
        None => false,
        Some("true" | "1") => true,
        Some(other) => {
            let text = format!("others is true, or not there at all; not {}", short(other));
            return Err(ApiError::bad_request(text));
        }
    };
    let own = call.caller.login.as_deref().filter(|own| others && own.user_id == user.id);
    let cookie_id = browsers::end_all(&call.hub, &user, own).await?;
    if let Some(own) = own {
        call.stay_in(&cookie_id, own.number());
    }
    info!(by = call.who()?.name(), user = %user.name, others, "logins ended");
    Ok(answer::no_content())
}

/// `DELETE /sessions/{session}`.
pub(super) async fn end(call: Call) -> ApiResult<HttpResponse> {
    let id = call.argument("session");
    let none = || ApiError::new(StatusCode::NOT_FOUND, format!("No such session: {}", short(id)));
    let number = Session::parse_id(id).and_then(|number| i32::try_from(number).ok()).ok_or_else(none)?;
    let session = repo::browser_sessions::by_id(call.db(), number, call.hub.clock.now()).await?;
    let session = session.ok_or_else(none)?;
    let user = repo::users::by_id(call.db(), session.user_id).await?.ok_or_else(none)?;
    // Whose login it is is nobody else's business.
    call.caller.require_user(&call.hub, END, &user.name).await.map_err(|_| none())?;
    call.concerns(&user.name);
    browsers::end(&call.hub, &user, &session).await?;
    info!(by = call.who()?.name(), user = %user.name, session = session.id, "login ended");
    Ok(answer::no_content())
}
