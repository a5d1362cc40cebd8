//! Requests for pages.

use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use super::identify::{hub_of, identify, note, xsrf_argument};
use super::{Caller, Via};
use crate::app::Hub;
use crate::render::Language;
use crate::sessions::Sessions;
use crate::sessions::cookies::SetCookie;
use crate::web::error::{ApiError, ApiResult};
use crate::web::facts::Facts;
use crate::web::middleware::Outgoing;

/// A request for a page: by cookie only.
#[derive(Debug, Clone)]
pub struct Page {
    /// The hub.
    pub hub: web::Data<Hub>,
    /// Facts about the request.
    pub facts: Rc<Facts>,
    /// Who asks.
    pub caller: Rc<Caller>,
    /// The XSRF token that forms and scripts of the page use.
    pub xsrf_token: String,
    /// The cookie with the token, unless the browser has it. Only a page that is shown sets it, see
    /// [`Page::set_xsrf_cookie`].
    xsrf_cookie: Option<SetCookie>,
    outgoing: Outgoing,
}

impl FromRequest for Page {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(rq: &HttpRequest, _: &mut Payload) -> Self::Future {
        let rq = rq.clone();
        Box::pin(async move { Self::of(&rq, false).await })
    }
}

/// A page that takes tokens, too. `/hub/user/...` is one: API clients of servers that are not running come here.
#[derive(Debug, Clone)]
pub struct UserPath(pub Page);

impl FromRequest for UserPath {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(rq: &HttpRequest, _: &mut Payload) -> Self::Future {
        let rq = rq.clone();
        Box::pin(async move { Page::of(&rq, true).await.map(Self) })
    }
}

impl Page {
    async fn of(rq: &HttpRequest, tokens: bool) -> ApiResult<Self> {
        let hub = hub_of(rq)?;
        let facts = Facts::of(rq, &hub);
        let caller = identify(&hub, rq, &facts, tokens).await?;
        note(rq, &caller);
        // A browser that has lost its session and gets it back gets both cookies anew, as with stock's new session.
        let lost_session = matches!(caller.via, Via::Cookie)
            && caller.session_id.as_deref().is_some_and(|id| !Sessions::has_session(&facts, id));
        let kept = hub.sessions.xsrf_cookie(&facts, &caller.xsrf).filter(|_| !lost_session);
        let (xsrf_token, xsrf_cookie) = match kept {
            Some(token) => (token, None),
            None => {
                let (token, cookie) = hub.sessions.new_xsrf(&facts, &caller.xsrf, caller.who.is_none());
                (token, Some(cookie))
            }
        };
        let outgoing = Outgoing::of(rq);
        let (facts, caller) = (Rc::new(facts), Rc::new(caller));
        let page = Self { hub, facts, caller, xsrf_token, xsrf_cookie, outgoing };
        // For the error page, should there be one: it greets whoever is logged in like any other.
        rq.extensions_mut().insert(page.clone());
        let form = rq.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|text| {
            text.starts_with("application/x-www-form-urlencoded") || text.starts_with("multipart/form-data")
        });
        let by_token = matches!(page.caller.via, Via::Token(_));
        // A form brings its token inside; the handler that reads it calls `check_form`.
        if !page.facts.fetch().is_exempt() && !by_token && !form {
            page.check(xsrf_argument(rq, &page.facts).as_deref())?;
        }
        Ok(page)
    }

    /// The language of the page.
    pub fn language(&self) -> Language {
        self.hub.language(&self.facts.languages)
    }

    /// The same request after a logout, when nobody is known any more.
    #[must_use]
    pub fn as_stranger(&self, rq: &HttpRequest) -> Self {
        let header = |name: &str| rq.headers().get(name).map(actix_web::http::header::HeaderValue::as_bytes);
        let xsrf = self.hub.sessions.xsrf_id(&self.facts, None, None, header);
        let caller = Caller::stranger(None, xsrf);
        let (xsrf_token, cookie) = self.hub.sessions.new_xsrf(&self.facts, &caller.xsrf, true);
        Self { caller: Rc::new(caller), xsrf_token, xsrf_cookie: Some(cookie), ..self.clone() }
    }

    /// Gives the browser the token that the page uses, if it lacks it and would take it.
    pub fn set_xsrf_cookie(&self) {
        if let Some(cookie) = self.xsrf_cookie.clone().filter(|_| self.facts.fetch().may_issue()) {
            self.outgoing.set(cookie);
        }
    }

    /// Gives the browser the token again, whatever it has: it may have lost a cookie that was sent along just now.
    pub fn renew_xsrf_cookie(&self) {
        if !self.facts.fetch().may_issue() {
            return;
        }
        let (_, cookie) =
            self.hub.sessions.new_xsrf(&self.facts, &self.caller.xsrf, self.caller.who.is_none());
        self.outgoing.set(SetCookie { value: self.xsrf_token.clone(), ..cookie });
    }

    fn check(&self, argument: Option<&str>) -> ApiResult<()> {
        self.hub
            .sessions
            .check_xsrf(&self.facts, &self.caller.xsrf, argument)
            .map_err(|e| ApiError::forbidden(e.message(&self.facts.method)))
    }

    /// Checks the token that a form brought, or that of query or header where the form has none.
    pub fn check_form(&self, rq: &HttpRequest, field: Option<&str>) -> ApiResult<()> {
        if self.facts.fetch().is_exempt() {
            return Ok(());
        }
        let other = xsrf_argument(rq, &self.facts);
        self.check(other.as_deref().or(field))
    }
}
