//! Starting a server from a browser: options, start, progress. Answers to `SpawnHandler` and `SpawnPendingHandler`.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use hub_core::{ServerKey, SpawnError};
use hub_db::entities::users;
use hub_db::repo;
use jupyterhub_api_compat::requests::normalise_display_name;
use serde_json::{Map, Value};

use super::context::{
    ServerState, carry, empty_view, html, logged_in, login_url, next_of, redirect, server_of, to_login,
    user_view, with_query,
};
use super::form::Form;
use super::login::login_request;
use super::options::{form_html, form_options, query_options};
use crate::audit::Changed;
use crate::render::{NotRunningPage, SpawnPage, SpawnPendingPage, StopPendingPage};
use crate::servers::SpawnerId;
use crate::servers::live::{Failure, Pending, Snapshot};
use crate::servers::supervisor::StartOrder;
use crate::web::caller::{About, Page};
use crate::web::error::{ApiError, ApiResult};

/// Largest form, in bytes; files included.
const MAX_FORM: usize = 16 << 20;
/// Largest form of somebody who has not shown that it comes from a page of the hub, in bytes.
const MAX_UNPROVEN: usize = 64 << 10;
/// How long a start from a page is watched for an immediate error.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// The server that a page is about: owner's row and key.
pub(super) struct Subject {
    pub(super) owner: users::Model,
    pub(super) key: ServerKey,
    pub(super) state: Option<ServerState>,
}

/// Path arguments, percent-decoded.
pub fn path_argument(rq: &HttpRequest, name: &str) -> String {
    let raw = rq.match_info().get(name).unwrap_or_default();
    percent_encoding::percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

async fn subject(page: &Page, rq: &HttpRequest, user: &users::Model) -> ApiResult<Subject> {
    let hub = &page.hub;
    let name = match path_argument(rq, "user") {
        name if name.is_empty() => user.name.clone(),
        name => name,
    };
    let server = path_argument(rq, "server");
    page.caller.require_server(hub, &["servers"], &name, &server).await?;
    let owner = if name == user.name {
        user.clone()
    } else {
        repo::users::by_name(hub.db.conn(), &name)
            .await?
            .ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, format!("No such user: {name}")))?
    };
    let state = server_of(hub, &owner, &server).await?;
    Ok(Subject { key: super::context::key(&owner.name, &server), owner, state })
}

/// `GET /hub/spawn[/{user}[/{server}]]`.
pub async fn show(page: Page, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let user = match logged_in(&page) {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    let hub = &page.hub;
    let mut subject = subject(&page, &rq, &user).await?;
    if !subject.state.as_ref().is_some_and(ServerState::is_active) {
        match owner_before_start(&page, &rq, &subject).await {
            Ok(owner) => subject.owner = owner,
            // Nothing of a form is lost: the browser comes back here.
            Err(error) if subject.owner.id == user.id && error.status == StatusCode::FORBIDDEN => {
                return Ok(to_login(&page, &login_url(hub)));
            }
            Err(error) => return Err(error),
        }
    }
    check_named(&page, &subject).await?;
    if let Some(state) = &subject.state {
        if state.is_ready() && state.pending().is_none() {
            return Ok(redirect(&target(&page, &subject.key)));
        }
        if matches!(state.pending(), Some(Pending::Spawn | Pending::Check)) {
            return Ok(redirect(&pending_url(&page, &subject.key)));
        }
    }
    if let Some(options) = query_options(&page)? {
        return start_with(&page, &rq, &subject, Form { fields: options, ..Form::default() }).await;
    }
    if hub.has_options_form() {
        return form_page(&page, &subject, None).await;
    }
    start(&page, &rq, &subject, None).await
}

/// `POST /hub/spawn[/{user}[/{server}]]`.
pub async fn submit(page: Page, rq: HttpRequest, body: web::Payload) -> ApiResult<HttpResponse> {
    // Whoever has shown nothing yet gets as much memory as the fields of a form take: the hub's own page has the token
    // in the address, and only a form of somebody else's, without files, brings it in the body.
    let mut form;
    let user;
    if page.caller.user().is_some() && page.check_form(&rq, None).is_ok() {
        user = logged_in(&page);
        form = Form::read(&rq, body, MAX_FORM).await?;
        form.fields.remove("_xsrf");
    } else {
        form = Form::read(&rq, body, MAX_UNPROVEN).await?;
        let token = form.fields.remove("_xsrf").and_then(|values| values.into_iter().next_back());
        page.check_form(&rq, token.as_deref())?;
        user = logged_in(&page);
    }
    let user = match user {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    let mut subject = subject(&page, &rq, &user).await?;
    if !subject.state.as_ref().is_some_and(ServerState::is_active) {
        match owner_before_start(&page, &rq, &subject).await {
            Ok(owner) => subject.owner = owner,
            Err(error) if page.hub.has_options_form() => {
                return form_page(&page, &subject, Some(error)).await;
            }
            Err(error) => return Err(error),
        }
    }
    check_named(&page, &subject).await?;
    if subject.state.as_ref().is_some_and(ServerState::is_ready) {
        return Err(ApiError::bad_request(format!("{} is already running", subject.key)));
    }
    form.fields.remove("display_name");
    start_with(&page, &rq, &subject, form).await
}

/// Starts the server with the options of a form, which comes back where what the person asked for cannot be.
async fn start_with(page: &Page, rq: &HttpRequest, subject: &Subject, form: Form) -> ApiResult<HttpResponse> {
    let started = match form_options(page, subject, form).await {
        Ok(options) => start(page, rq, subject, Some(options)).await,
        Err(error) => Err(error),
    };
    match started {
        Err(error) if page.hub.has_options_form() => form_page(page, subject, Some(error)).await,
        other => other,
    }
}

/// The owner, whose login may have to be looked at first.
async fn owner_before_start(page: &Page, rq: &HttpRequest, subject: &Subject) -> ApiResult<users::Model> {
    let request = || login_request(page, rq, &[]);
    let owner = subject.owner.clone();
    page.caller.owner_before(&page.hub, About::Start, owner, &page.facts, request).await
}

/// Named servers must be allowed, and new names must be good.
async fn check_named(page: &Page, subject: &Subject) -> ApiResult<()> {
    if subject.key.server.is_default() {
        return Ok(());
    }
    page.hub.check_named_server(&subject.owner, &subject.key.server, subject.state.is_some()).await
}

/// The form, with the reason why the last attempt failed.
async fn form_page(page: &Page, subject: &Subject, failure: Option<ApiError>) -> ApiResult<HttpResponse> {
    let hub = &page.hub;
    let form = form_html(page, subject).await?;
    let mut arguments = vec![("_xsrf".to_owned(), page.xsrf_token.clone())];
    if let Some(next) = next_of(page, None) {
        arguments.push(("next".to_owned(), next));
    }
    let content = SpawnPage {
        for_user: user_view(hub, &subject.owner).await?,
        spawner_options_form: form,
        error_message: failure.as_ref().map(ApiError::page_message).unwrap_or_default(),
        html_error_message: failure.as_ref().and_then(|error| error.message_html.clone()).unwrap_or_default(),
        url: with_query(&page.facts.path, arguments),
        spawner: subject
            .state
            .as_ref()
            .map_or_else(|| empty_view(hub, &subject.key), |state| state.view(hub)),
        auth_state: hub.auth_state(&subject.owner),
    };
    let status = failure.as_ref().map_or(StatusCode::OK, |error| error.status);
    let mut answer = html(page, status, &content).await?;
    if let Some(error) = &failure {
        error.put_headers(&mut answer);
    }
    Ok(answer)
}

/// A record for a server that has none yet.
async fn make(page: &Page, subject: &Subject) -> ApiResult<SpawnerId> {
    let name = subject.key.server.as_str();
    let display_name = match page.facts.argument("display_name").filter(|text| !text.is_empty()) {
        Some(text) if !subject.key.server.is_default() => normalise_display_name(&text)?,
        _ => name.to_owned(),
    };
    let made = page.hub.servers.store.find_or_make(subject.owner.id, name, &display_name).await?;
    made.ok_or_else(ApiError::not_found)
}

/// Starts the server and sends the browser to the progress page; an error that comes at once is shown here.
async fn start(
    page: &Page,
    rq: &HttpRequest,
    subject: &Subject,
    options: Option<Map<String, Value>>,
) -> ApiResult<HttpResponse> {
    let hub = &page.hub;
    Changed::note(rq);
    let admission = hub.check_may_start(subject.state.as_ref().map(|state| state.record.id)).await?;
    let id = match &subject.state {
        Some(state) => state.record.id,
        None => make(page, subject).await?,
    };
    let order = StartOrder {
        options,
        request: Some(login_request(page, rq, &[])),
        person: page.caller.user().map(|user| user.name.clone()),
        ..StartOrder::default()
    };
    let entry = hub.servers.start(id, &subject.key, order);
    drop(admission);
    let seen = entry.live.wait(FIRST_LOOK, Snapshot::is_settled).await;
    if let (true, Some(Failure::Failed(error))) = (seen.is_settled(), &seen.failure) {
        if hub.has_options_form() {
            return form_page(page, subject, Some(error.as_ref().into())).await;
        }
        return failed_page(page, &subject.owner, &subject.key, error).await;
    }
    Ok(redirect(&pending_url(page, &subject.key)))
}

/// Where a person is sent when the server is ready.
fn target(page: &Page, key: &ServerKey) -> String {
    next_of(page, None).unwrap_or_else(|| carry(page, &page.hub.urls.server_for_browser(key), &[]))
}

fn pending_url(page: &Page, key: &ServerKey) -> String {
    let keep: Vec<_> = page
        .facts
        .query_pairs()
        .into_iter()
        .filter(|(name, _)| name != "display_name" && name != "_xsrf" && !name.starts_with("opt-"))
        .collect();
    with_query(&page.hub.urls.server_page("spawn-pending", key), keep)
}

/// `GET /hub/spawn-pending/{user}[/{server}]`.
pub async fn pending(page: Page, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let user = match logged_in(&page) {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    let hub = &page.hub;
    let subject = subject(&page, &rq, &user).await?;
    let Some(state) = &subject.state else {
        let text = format!("{} has no server {:?}", subject.owner.name, subject.key.server.as_str());
        return Err(ApiError::new(StatusCode::NOT_FOUND, text));
    };
    if state.is_ready() {
        return Ok(redirect(&target(&page, &subject.key)));
    }
    let auth_state = hub.auth_state(&subject.owner);
    let spawn_url = spawn_url(&page, &subject.key);
    match (state.pending(), &state.live.failure) {
        (Some(Pending::Stop), _) => {
            let content = StopPendingPage {
                spawner: state.view(hub),
                restarting: state.is_to_start_again(hub),
                auth_state,
            };
            html(&page, StatusCode::OK, &content).await
        }
        (Some(Pending::Spawn | Pending::Check), _) => {
            let content = SpawnPendingPage {
                spawner: state.view(hub),
                progress_url: hub.urls.progress(&subject.key),
                spawn_url,
                auth_state,
            };
            html(&page, StatusCode::OK, &content).await
        }
        (None, Some(Failure::Failed(error))) => failed_page(&page, &subject.owner, &subject.key, error).await,
        (None, _) => {
            let content = NotRunningPage {
                user: Some(user_view(hub, &subject.owner).await?),
                server_name: subject.key.server.to_string(),
                spawn_url,
                auth_state,
                ..NotRunningPage::default()
            };
            html(&page, StatusCode::OK, &content).await
        }
    }
}

fn spawn_url(page: &Page, key: &ServerKey) -> String {
    let next = next_of(page, None);
    with_query(&page.hub.urls.server_page("spawn", key), next.iter().map(|next| ("next", next.as_str())))
}

/// The page about a start that failed.
pub async fn failed_page(
    page: &Page,
    owner: &users::Model,
    key: &ServerKey,
    error: &SpawnError,
) -> ApiResult<HttpResponse> {
    let content = NotRunningPage {
        user: Some(user_view(&page.hub, owner).await?),
        server_name: key.server.to_string(),
        spawn_url: spawn_url(page, key),
        failed: true,
        failed_message: error.user.clone(),
        failed_html_message: error.user_html.clone().unwrap_or_default(),
        retry: Some(error.retry),
        log_tail: error.log_tail.clone(),
        exception: Some(error.cause.to_string()),
        auth_state: page.hub.auth_state(owner),
        ..NotRunningPage::default()
    };
    html(page, ApiError::from(error).status, &content).await
}
