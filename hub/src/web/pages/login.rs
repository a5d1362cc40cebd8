//! Login and logout. Answers to `LoginHandler` and `LogoutHandler`.

use std::collections::BTreeMap;
use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use hub_core::{AuthError, Identity, LoginForm, LoginMethod, LoginRequest, LoginStep, StepCookie};
use hub_db::entities::users;
use hub_db::repo;
use hub_db::repo::browser_sessions::BrowserSession;
use tracing::{info, warn};

use super::context::{carry, default_target, html, login_url, next_of, redirect, with_query};
use crate::app::Hub;
use crate::audit::{Actor, Changed, Subject};
use crate::auth::browsers::{self, Origin};
use crate::auth::login::admit;
use crate::auth::revoke::revoke;
use crate::auth::sessions;
use crate::render::{AuthenticatorView, LoginPage, LogoutPage};
use crate::web::caller::{Caller, Page, Via, Who, logged_in};
use crate::web::error::{ApiError, ApiResult};
use crate::web::middleware::Outgoing;

/// The request as authenticators see it.
pub fn login_request(page: &Page, rq: &HttpRequest, form: &[(String, String)]) -> LoginRequest {
    let mut fields: BTreeMap<String, String> = form.iter().cloned().collect();
    let next = next_of(page, fields.get("next").map(String::as_str));
    fields.remove("_xsrf");
    if let Some(name) = fields.get_mut("username") {
        *name = name.trim().to_owned();
    }
    LoginRequest { form: fields, next, ..page.facts.login_request(rq, &page.hub.sessions) }
}

/// Where somebody goes who is logged in now.
async fn onward(page: &Page, caller: &Caller, next: Option<String>) -> ApiResult<String> {
    if let Some(next) = next {
        return Ok(next);
    }
    // The first administrator's link carries a secret that must not travel on.
    Ok(carry(page, &default_target(&page.hub, caller).await?, &["token"]))
}

/// `GET /hub/login`.
pub async fn show(page: Page, rq: HttpRequest) -> ApiResult<HttpResponse> {
    if page.caller.user().is_some() {
        let target = onward(&page, &page.caller, next_of(&page, None)).await?;
        page.renew_xsrf_cookie();
        return Ok(redirect(&target));
    }
    let request = login_request(&page, &rq, &[]);
    let step = page.hub.auth.authenticator.begin(&request).await;
    follow(&page, &rq, step, &request).await
}

/// `POST /hub/login`.
pub async fn submit(
    page: Page,
    rq: HttpRequest,
    form: web::Form<Vec<(String, String)>>,
) -> ApiResult<HttpResponse> {
    let request = login_request(&page, &rq, &form);
    let token = form.iter().rev().find(|(key, _)| key == "_xsrf").map(|(_, value)| value.as_str());
    if page.check_form(&rq, token).is_err() {
        warn!("a login form came without a valid XSRF token");
        let text = "Login form invalid or expired. Try again.";
        return form_page(&page, &LoginForm::default(), &request, StatusCode::FORBIDDEN, text).await;
    }
    let step = by_form(&page.hub, &request).await;
    follow(&page, &rq, step, &request).await
}

/// What the authenticator says of a name and password, unless too many were wrong of late.
pub async fn by_form(hub: &Hub, request: &LoginRequest) -> Result<LoginStep, AuthError> {
    let given = request.form.get("username").map(String::as_str).unwrap_or_default();
    let name = hub.auth.names.normalize(given.trim());
    let attempt =
        hub.auth.throttle.admit(&name, request.remote, hub.clock.now()).map_err(AuthError::Throttled)?;
    let step = hub.auth.authenticator.finish(request).await;
    match &step {
        Ok(_) => attempt.succeeded(),
        Err(AuthError::Unavailable(_)) => attempt.undecided(),
        // Dropped, it counts as a failure.
        Err(_) => drop(attempt),
    }
    step
}

/// A path that the authenticator answers itself.
pub async fn route(
    page: Page,
    rq: HttpRequest,
    body: web::Bytes,
    path: web::ReqData<AuthPath>,
) -> ApiResult<HttpResponse> {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    if path.xsrf && page.facts.method == "POST" {
        let token = form.iter().rev().find(|(key, _)| key == "_xsrf").map(|(_, value)| value.as_str());
        page.check_form(&rq, token)?;
    }
    let request = login_request(&page, &rq, &form);
    let step = page.hub.auth.authenticator.handle(&path.path, &request).await;
    if step.is_err() && page.caller.user().is_none() {
        // A login that is refused was tried.
        Changed::note(&rq);
    }
    follow(&page, &rq, step, &request).await
}

/// Which of the authenticator's own paths a request is for.
#[derive(Debug, Clone)]
pub struct AuthPath {
    /// Path below `/hub/`.
    pub path: String,
    /// Whether a form needs the XSRF token.
    pub xsrf: bool,
}

async fn follow(
    page: &Page,
    rq: &HttpRequest,
    step: Result<LoginStep, AuthError>,
    request: &LoginRequest,
) -> ApiResult<HttpResponse> {
    match step {
        Ok(LoginStep::Form(form)) => form_page(page, &form, request, StatusCode::OK, "").await,
        Ok(LoginStep::Redirect { location, cookies }) => {
            keep(page, rq, &cookies);
            Ok(redirect(&location))
        }
        Ok(LoginStep::Identity(identity)) => log_in(page, rq, *identity, request).await,
        Ok(LoginStep::Returned { identity, next, cookies }) => {
            keep(page, rq, &cookies);
            log_in(page, rq, *identity, &LoginRequest { next, ..request.clone() }).await
        }
        Ok(LoginStep::Revoke(revocation)) => {
            Changed::note(rq);
            revoke(&page.hub, &revocation).await?;
            Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).finish())
        }
        // Whoever is in already loses nothing when an old tab comes back.
        Err(AuthError::Again(_)) if page.caller.user().is_some() && page.facts.method == "GET" => {
            Ok(redirect(&onward(page, &page.caller, None).await?))
        }
        Err(error) => refused(page, rq, error.into(), request).await,
    }
}

/// Sets what an authenticator leaves for its next step.
fn keep(page: &Page, rq: &HttpRequest, cookies: &[StepCookie]) {
    for cookie in cookies {
        Outgoing::of(rq).set(page.hub.sessions.step(cookie, &page.facts));
    }
}

/// Notes who was to be logged in, where there is somebody of that name.
async fn note_subject(page: &Page, rq: &HttpRequest, given: &str) -> ApiResult<()> {
    if let Ok(name) = page.hub.auth.names.accept(given)
        && let Some(user) = repo::users::by_name(page.hub.db.conn(), name.as_str()).await?
    {
        rq.extensions_mut().insert(Subject(user.name));
    }
    Ok(())
}

/// Shows the form again with the reason, or an error page where there is no form.
async fn refused(
    page: &Page,
    rq: &HttpRequest,
    error: ApiError,
    request: &LoginRequest,
) -> ApiResult<HttpResponse> {
    if let Some(given) = request.form.get("username")
        && !error.status.is_server_error()
    {
        note_subject(page, rq, given).await?;
    }
    warn!(%error, "Failed login for {}", request.form.get("username").map(String::as_str).unwrap_or_default().chars().take(64).collect::<String>());
    if page.hub.auth.authenticator.login() != LoginMethod::Form || error.status.is_server_error() {
        return Err(error);
    }
    let text = error.page_message();
    let mut response = form_page(page, &LoginForm::default(), request, error.status, &text).await?;
    error.put_headers(&mut response);
    Ok(response)
}

async fn log_in(
    page: &Page,
    rq: &HttpRequest,
    identity: Identity,
    request: &LoginRequest,
) -> ApiResult<HttpResponse> {
    Changed::note(rq);
    let claimed = identity.name.clone();
    let account = page.hub.auth.authenticator.account(&identity);
    let user = match admit(&page.hub, identity).await {
        Ok(user) => user,
        Err(error) => {
            if !error.status.is_server_error() {
                note_subject(page, rq, &claimed).await?;
            }
            return refused(page, rq, error, request).await;
        }
    };
    let outgoing = Outgoing::of(rq);
    let sessions = &page.hub.sessions;
    let session_id = match &page.caller.session_id {
        Some(id) => id.clone(),
        None => {
            let (id, cookie) = sessions.new_session(&page.facts);
            outgoing.set(cookie);
            id
        }
    };
    let origin = Origin::of(rq, page.facts.remote, account.as_ref());
    let before = page.caller.login.as_ref();
    let is_same = page.caller.user().is_some_and(|known| known.id == user.id);
    // Who logs in again keeps the cookie, unless another session at the identity service is behind it now.
    if !is_same || before.is_none_or(|before| before.mark != origin.mark) {
        if let Some(before) = before.filter(|_| !is_same)
            && let Some(known) = page.caller.user()
        {
            // Of somebody else, whose cookie is overwritten.
            browsers::end(&page.hub, known, before).await?;
        }
        if let Some(before) = before.filter(|_| is_same) {
            repo::browser_sessions::delete(page.hub.db.conn(), before).await?;
        }
        let number = browsers::begin(&page.hub, &user, &session_id, origin).await?;
        outgoing.set(sessions.login(&user.cookie_id, number, &page.facts));
    }
    let header = |_: &str| None;
    let id = sessions.xsrf_id(&page.facts, Some(&session_id), Some(&user.cookie_id), header);
    let (_, cookie) = sessions.new_xsrf(&page.facts, &id, false);
    outgoing.set(cookie);
    let caller =
        Caller { who: Some(Who::User(Box::new(user))), via: Via::Cookie, ..Caller::clone(&page.caller) };
    if let Some(actor) = Actor::of(&caller) {
        rq.extensions_mut().insert(Subject(actor.name.clone()));
        rq.extensions_mut().insert(actor);
    }
    let target = onward(page, &caller, request.next.clone()).await?;
    Ok(redirect(&target))
}

async fn form_page(
    page: &Page,
    form: &LoginForm,
    request: &LoginRequest,
    status: StatusCode,
    login_error: &str,
) -> ApiResult<HttpResponse> {
    let hub = &page.hub;
    if page.facts.method == "GET" {
        page.renew_xsrf_cookie();
    }
    let method = hub.auth.authenticator.login();
    let (login_service, path) = match &method {
        LoginMethod::Redirect { label, path } => (label.clone(), path.as_str()),
        LoginMethod::Form | LoginMethod::Automatic => (String::new(), "login"),
    };
    let next = request.next.clone().unwrap_or_default();
    // An empty `next` stays: scripts and templates of sites look for the argument.
    let target = with_query(&hub.urls.hub_path(path), [("next", next.as_str())]);
    let otp = form.otp_prompt.clone().or_else(|| {
        hub.config.authenticator.request_otp.then(|| hub.config.authenticator.otp_prompt.clone())
    });
    let content = LoginPage {
        custom_html: form.custom_html.clone().unwrap_or_default(),
        login_service,
        authenticator: AuthenticatorView { request_otp: otp.is_some(), otp_prompt: otp.unwrap_or_default() },
        authenticator_login_url: target,
        next,
        username: request
            .form
            .get("username")
            .or_else(|| request.query.get("username"))
            .cloned()
            .unwrap_or_default(),
        login_error: login_error.to_owned(),
    };
    html(page, status, &content).await
}

/// `GET /hub/logout`. Out goes whoever the login cookie names, and whoever an application logs out by this request.
pub async fn logout(page: Page, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let began = Instant::now();
    let hub = &page.hub;
    let outgoing = Outgoing::of(&rq);
    let request = login_request(&page, &rq, &[]);
    let mut onward = None;
    let mut leaving: Vec<users::Model> = page.caller.user().cloned().into_iter().collect();
    if let Some(other) = named_by(hub, &request).await?
        && leaving.iter().all(|user| user.id != other.id)
    {
        leaving.push(other);
    }
    if !leaving.is_empty() {
        Changed::note(&rq);
    }
    for user in &leaving {
        onward = log_out(&page, user, &request).await?.or(onward);
    }
    if page.caller.user().is_none() && end_stale(&page).await? {
        Changed::note(&rq);
    }
    // A stranger without cookies has nothing to lose.
    if !leaving.is_empty() || page.caller.who.is_some() || page.facts.cookies.iter().next().is_some() {
        for cookie in hub.sessions.clear_all() {
            outgoing.set(cookie);
        }
    }
    hub.metrics.logout(began.elapsed());
    if let Some(location) = onward {
        return Ok(redirect(&location));
    }
    if hub.auth.settings.auto_login || hub.auth.authenticator.login() == LoginMethod::Automatic {
        // Sent to the login, the person would be back in at once.
        return html(&page.as_stranger(&rq), StatusCode::OK, &LogoutPage {}).await;
    }
    Ok(redirect(&login_url(hub)))
}

/// Ends the login behind a cookie that counts for nothing any more, because where people log in nothing is known of it:
/// its row, and what servers got in that browser. Whether there was one.
async fn end_stale(page: &Page) -> ApiResult<bool> {
    let (Some(cookie), _) = page.hub.sessions.login_of(&page.facts) else { return Ok(false) };
    let (Some(user), Some(login)) = logged_in(&page.hub, &cookie).await? else { return Ok(false) };
    browsers::end(&page.hub, &user, &login).await?;
    Ok(true)
}

/// The user whom an application logs out by this request, where it may.
async fn named_by(hub: &Hub, request: &LoginRequest) -> ApiResult<Option<users::Model>> {
    let identity = match hub.auth.authenticator.leaving(request).await {
        Ok(Some(identity)) => identity,
        Ok(None) => return Ok(None),
        Err(error) => {
            warn!(%error, "it cannot be told whom a request to log out is about, beside the hub's own cookie");
            return Ok(None);
        }
    };
    Ok(repo::users::by_name(hub.db.conn(), &hub.auth.names.normalize(&identity.name)).await?)
}

/// Logs one user out; where the browser goes next, if the authenticator has a wish.
async fn log_out(page: &Page, user: &users::Model, request: &LoginRequest) -> ApiResult<Option<String>> {
    let hub = &page.hub;
    if hub.auth.settings.shutdown_on_logout {
        sessions::stop_servers(hub, user).await;
    }
    if hub.auth.authenticator.logout_ends_all_sessions() {
        let tx = hub.db.begin().await?;
        let ended = sessions::end(hub, &tx, user, false).await?;
        tx.commit().await?;
        sessions::follow_up(hub, user, ended);
    } else if let Some(session_id) = &page.caller.session_id {
        repo::tokens::delete_by_session(hub.db.conn(), user.id, session_id).await?;
        hub.cut_sessions([session_id.clone()]);
    }
    let auth_state = hub.auth_state(user);
    let identity = Identity { name: user.name.clone(), auth_state, ..Identity::default() };
    let kept = hub.auth.authenticator.account(&identity).as_ref().and_then(browsers::mark_of);
    // Renewed tokens need not tell their session.
    let known = |login: &BrowserSession| login.mark.is_some() && kept.is_some() && login.mark != kept;
    let of_another_session = page.caller.login.as_deref().is_some_and(known);
    let request = &LoginRequest { of_another_session, ..request.clone() };
    let onward = match hub.auth.authenticator.logged_out(&identity, request).await {
        Ok(location) => location,
        Err(error) => {
            warn!(user = %user.name, %error, "the identity service was not told of the logout");
            None
        }
    };
    info!(user = %user.name, "User logged out: {}", user.name);
    Ok(onward)
}
