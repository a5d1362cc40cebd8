//! From the headers of a request to whoever sent it. Answers to `BaseHandler.get_current_user`.

use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderName};
use actix_web::{HttpMessage as _, HttpRequest, web};
use hub_db::entities::{api_tokens, users};
use hub_db::repo;
use hub_db::repo::browser_sessions::BrowserSession;

use super::{Caller, Via, Who};
use crate::app::Hub;
use crate::audit::Actor;
use crate::auth::credentials;
use crate::auth::refresh::still_valid;
use crate::known::{Credential, TokenKey};
use crate::rbac::{Held, Holder};
use crate::sessions::{LoginCookie, Sessions};
use crate::web::error::{ApiError, ApiResult};
use crate::web::facts::Facts;
use crate::web::log;
use crate::web::middleware::Outgoing;

/// The token of an `Authorization` header: `token X` or `Bearer X`, with any white space between and after.
fn bearer(rq: &HttpRequest) -> Option<&str> {
    let text = rq.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.trim().split_once(char::is_whitespace)?;
    let token = token.trim_start();
    let fits = scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer");
    (fits && !token.is_empty() && !token.contains(char::is_whitespace)).then_some(token)
}

/// Finds out who asks. Tokens count only where `tokens` says so.
pub(super) async fn identify(
    hub: &web::Data<Hub>,
    rq: &HttpRequest,
    facts: &Facts,
    tokens: bool,
) -> ApiResult<Caller> {
    if tokens
        && let Some(token) = bearer(rq)
        && let Some(caller) = by_token(hub, rq, facts, token).await?
    {
        return Ok(caller);
    }
    let outgoing = Outgoing::of(rq);
    let (cookie, bad) = hub.sessions.login_of(facts);
    let mut session_id = Sessions::session_id(facts);
    let (user, login) = match &cookie {
        Some(cookie) => logged_in(hub, cookie).await?,
        None => (None, None),
    };
    // As in stock, a login that must only be repeated keeps its cookie: its logout ends what hangs on it.
    let is_nobodys = cookie.is_some() && user.is_none();
    let is_known = |user: &users::Model| hub.auth.looks.known(user, hub.clock.now()).is_some();
    let looks = login.is_some() && user.as_ref().is_some_and(|user| !is_known(user));
    let user = match user {
        Some(user) => still_valid(hub, user, || facts.login_request(rq, &hub.sessions)).await?,
        None => None,
    };
    // The look may have taken a while, in which the login was ended.
    let user = user.filter(|user| cookie.as_ref().is_some_and(|cookie| cookie.cookie_id == user.cookie_id));
    let user = match (user, &cookie) {
        (Some(user), Some(cookie)) if looks => logged_in(hub, cookie).await?.0.map(|_| user),
        (user, _) => user,
    };
    if bad || is_nobodys {
        outgoing.set(hub.sessions.clear_login());
    }
    let header = |name: &str| rq.headers().get(name).map(actix_web::http::header::HeaderValue::as_bytes);
    let Some(user) = user else {
        let xsrf = hub.sessions.xsrf_id(facts, session_id.as_deref(), None, header);
        return Ok(Caller::stranger(session_id, xsrf));
    };
    if let Some(login) = &login {
        hub.activity.browser(hub, login).await?;
        // What servers get in this browser ends with this login, whatever session the browser tells.
        if !Sessions::has_session(facts, &login.session_id) {
            outgoing.set(hub.sessions.session_cookie(&login.session_id, facts));
        }
        session_id = Some(login.session_id.clone());
    }
    if session_id.is_none() {
        let (id, cookie) = hub.sessions.new_session(facts);
        outgoing.set(cookie);
        session_id = Some(id);
    }
    let xsrf = hub.sessions.xsrf_id(facts, session_id.as_deref(), Some(&user.cookie_id), header);
    let holder = Holder::User { id: user.id, name: user.name.clone() };
    let raw = hub.known.held(&hub.db, &hub.rbac, &holder, true).await?;
    hub.activity.user(hub, &user).await?;
    credentials::seen(hub, &user, || facts.login_request(rq, &hub.sessions));
    Ok(Caller {
        who: Some(Who::User(Box::new(user))),
        via: Via::Cookie,
        session_id,
        login,
        scopes: raw.scopes.clone(),
        raw,
        xsrf,
    })
}

/// Whose login cookie it is and which of their logins; nobody's, when that login was ended.
pub(in crate::web) async fn logged_in(
    hub: &Hub,
    cookie: &LoginCookie,
) -> ApiResult<(Option<users::Model>, Option<Arc<BrowserSession>>)> {
    let Some(user) = repo::users::by_cookie_id(hub.db.conn(), &cookie.cookie_id).await? else {
        return Ok((None, None));
    };
    let Some(number) = cookie.number else { return Ok((Some(user), None)) };
    let login = hub.known.browser_session(&hub.db, user.id, number).await?;
    let login = login.filter(|login| !login.has_ended(hub.clock.now()));
    Ok((login.is_some().then_some(user), login))
}

async fn by_token(
    hub: &web::Data<Hub>,
    rq: &HttpRequest,
    facts: &Facts,
    text: &str,
) -> ApiResult<Option<Caller>> {
    let key = TokenKey::of(text);
    let version = hub.known.credentials.version(&hub.db);
    let known = version.and_then(|version| hub.known.credentials.find(version, &key));
    let known = known.filter(|known| !repo::tokens::has_ended(&known.token, hub.clock.now()));
    let (mut token, who, scopes) = match known.map(Arc::unwrap_or_clone) {
        Some(Credential { token, who, scopes }) => (token, who, Some(scopes)),
        None => match read_token(hub, text).await? {
            Some((token, who)) => (token, who, None),
            None => return Ok(None),
        },
    };
    let Some(mut who) = as_of_now(hub, rq, facts, who).await? else { return Ok(None) };
    // Looking at a login may change what its user holds.
    let unchanged = version.filter(|_| hub.known.credentials.version(&hub.db) == version);
    let scopes = scopes.filter(|_| unchanged.is_some());
    let was_known = scopes.is_some();
    let scopes = match scopes {
        Some(scopes) => scopes,
        None => hub.rbac.token_scopes(hub.db.conn(), &token, &who.holder()).await?,
    };
    let noted = hub.activity.token(hub, &mut token, &mut who, rq.uri().path()).await?;
    if let Some(version) = unchanged
        && (noted || !was_known)
    {
        let known = Credential { token: token.clone(), who: who.clone(), scopes: scopes.clone() };
        let credentials = &hub.known.credentials;
        if was_known {
            credentials.replace(version, &key, Arc::new(known));
        } else {
            credentials.keep(version, key, Arc::new(known));
        }
    }
    let session_id = token.session_id.clone().or_else(|| Sessions::session_id(facts));
    let xsrf = hub.sessions.xsrf_id(facts, None, None, |_| None);
    Ok(Some(Caller {
        who: Some(who),
        via: Via::Token(Box::new(token)),
        session_id,
        login: None,
        scopes,
        raw: Held::default(),
        xsrf,
    }))
}

/// A token and its owner from the database.
async fn read_token(hub: &Hub, text: &str) -> ApiResult<Option<(api_tokens::Model, Who)>> {
    let db = hub.db.conn();
    let Some(token) = repo::tokens::find(db, text, hub.clock.now()).await? else { return Ok(None) };
    let who = match (token.user_id, token.service_id) {
        (Some(id), _) => repo::users::by_id(db, id).await?.map(|user| Who::User(Box::new(user))),
        (None, Some(id)) => {
            repo::services::by_id(db, id).await?.map(|service| Who::Service(Box::new(service)))
        }
        (None, None) => None,
    };
    Ok(who.map(|who| (token, who)))
}

/// The owner of a token, whose login may have to be looked at first; none where a stale login ends its tokens.
async fn as_of_now(
    hub: &web::Data<Hub>,
    rq: &HttpRequest,
    facts: &Facts,
    who: Who,
) -> ApiResult<Option<Who>> {
    let Who::User(user) = who else { return Ok(Some(who)) };
    let kept = user.clone();
    Ok(match still_valid(hub, *user, || facts.login_request(rq, &hub.sessions)).await? {
        Some(user) => Some(Who::User(Box::new(user))),
        None if hub.auth.settings.refresh_strict => None,
        // A token outlives the login that it was made in, unless the operator is strict.
        None => Some(Who::User(kept)),
    })
}

/// The argument of a request that carries its XSRF token: query or header. Forms bring their own, see
/// [`super::Page::check_form`].
pub(super) fn xsrf_argument(rq: &HttpRequest, facts: &Facts) -> Option<String> {
    let header = |name: &'static str| {
        rq.headers().get(HeaderName::from_static(name)).and_then(|v| v.to_str().ok()).map(str::to_owned)
    };
    facts.argument("_xsrf").or_else(|| header("x-xsrftoken")).or_else(|| header("x-csrftoken"))
}

pub(super) fn hub_of(rq: &HttpRequest) -> ApiResult<web::Data<Hub>> {
    rq.app_data::<web::Data<Hub>>().cloned().ok_or_else(|| ApiError::internal("the request has no hub"))
}

pub(super) fn note(rq: &HttpRequest, caller: &Caller) {
    if let Some(who) = &caller.who {
        rq.extensions_mut().insert(log::Who(who.name().to_owned()));
    }
    if let Some(actor) = Actor::of(caller) {
        rq.extensions_mut().insert(actor);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_token_is_read_where_stock_reads_one() {
        let read = |value: &str| {
            let rq = TestRequest::get().insert_header((AUTHORIZATION, value)).to_http_request();
            bearer(&rq).map(str::to_owned)
        };
        for good in ["token abc", "Bearer abc", "TOKEN  abc", "bearer\tabc "] {
            assert_eq!(read(good).as_deref(), Some("abc"), "{good:?}");
        }
        for bad in ["abc", "token", "token ", "token a b", "Basic abc", "tokenabc"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
