//! Who asks: the token or the cookie of a request, the scopes that go with it, and the XSRF check.
//!
//! [`Api`] and [`Page`] are the two extractors of handlers. Both read who asks, then check the XSRF token, in stock's
//! order; a handler then asks [`Caller::require`].

use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, ORIGIN};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use hub_core::scopes::{Decision, Resource, ScopeSet};
use hub_core::{ServerName, UserName};
use hub_db::entities::{api_tokens, services, users};
use hub_db::repo;

use super::error::{ApiError, ApiResult};
use super::facts::Facts;
use super::log;
use super::middleware::Outgoing;
use crate::app::Hub;
use crate::auth::refresh::still_valid;
use crate::rbac::{Held, Holder};
use crate::sessions::Sessions;
use crate::sessions::cookies::SetCookie;
use crate::sessions::xsrf::XsrfId;

/// A user or a service.
#[derive(Debug, Clone)]
pub enum Who {
    /// A user.
    User(Box<users::Model>),
    /// A service.
    Service(Box<services::Model>),
}

impl Who {
    /// As the holder of roles.
    pub fn holder(&self) -> Holder {
        match self {
            Self::User(user) => Holder::User { id: user.id, name: user.name.clone() },
            Self::Service(service) => Holder::Service { id: service.id, name: service.name.clone() },
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.name,
            Self::Service(service) => &service.name,
        }
    }

    /// Whether the admin flag is set.
    pub fn is_admin(&self) -> bool {
        match self {
            Self::User(user) => user.is_admin(),
            Self::Service(service) => service.admin.unwrap_or(false),
        }
    }
}

/// How somebody proved who they are.
#[derive(Debug, Clone)]
pub enum Via {
    /// An API token.
    Token(Box<api_tokens::Model>),
    /// The login cookie.
    Cookie,
    /// Not at all.
    Nobody,
}

/// Who asks, and what they may do.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user or service; none for a stranger.
    pub who: Option<Who>,
    /// The proof.
    pub via: Via,
    /// The browser session's id: of the cookie, or of the token that was made in it.
    pub session_id: Option<String>,
    /// Effective scopes.
    pub scopes: ScopeSet,
    /// Raw scopes of the user's roles and shares; empty for tokens.
    pub raw: Held,
    /// To whom XSRF tokens of this request belong.
    pub xsrf: XsrfId,
}

impl Caller {
    /// The user; none for services and strangers.
    pub fn user(&self) -> Option<&users::Model> {
        match &self.who {
            Some(Who::User(user)) => Some(user),
            _ => None,
        }
    }

    /// The token by which somebody asks.
    pub fn token(&self) -> Option<&api_tokens::Model> {
        match &self.via {
            Via::Token(token) => Some(token),
            _ => None,
        }
    }

    /// Whoever asks, or 403.
    pub fn known(&self) -> ApiResult<&Who> {
        self.who.as_ref().ok_or_else(ApiError::anonymous)
    }

    /// Nothing, when any of the scopes allows it on the resource; else 403 or 404 as stock tells them apart.
    pub fn require(&self, names: &[&str], on: &Resource<'_>) -> ApiResult<()> {
        self.known()?;
        match self.scopes.decide(names, on) {
            Decision::Granted => Ok(()),
            Decision::Hidden => Err(ApiError::no_access()),
            Decision::Lacking => Err(lacking(names)),
        }
    }

    /// Nothing, when any of the scopes is held for anything at all, for handlers that then apply the filters.
    pub fn require_some(&self, names: &[&str]) -> ApiResult<()> {
        self.known()?;
        if names.iter().any(|name| self.scopes.has_any(name)) { Ok(()) } else { Err(lacking(names)) }
    }

    /// The same for a user, whose groups are looked up.
    pub async fn require_user(&self, hub: &Hub, names: &[&str], user: &str) -> ApiResult<()> {
        self.known()?;
        let groups = self.groups_of(hub, names, user).await?;
        self.require(names, &Resource::User { name: user, groups: &groups })
    }

    /// The same for a server.
    pub async fn require_server(&self, hub: &Hub, names: &[&str], user: &str, server: &str) -> ApiResult<()> {
        self.known()?;
        let user_groups = self.groups_of(hub, names, user).await?;
        self.require(names, &Resource::Server { user, server, user_groups: &user_groups })
    }

    /// Whether any of the scopes allows it on a server.
    pub async fn may_on_server(
        &self,
        hub: &Hub,
        names: &[&str],
        user: &UserName,
        server: &ServerName,
    ) -> ApiResult<bool> {
        let user_groups = self.groups_of(hub, names, user.as_str()).await?;
        let on = Resource::Server { user: user.as_str(), server: server.as_str(), user_groups: &user_groups };
        Ok(matches!(self.scopes.decide(names, &on), Decision::Granted))
    }

    /// Groups are read only when a filter of one of the scopes names groups.
    async fn groups_of(&self, hub: &Hub, names: &[&str], user: &str) -> ApiResult<Vec<String>> {
        let needed = names
            .iter()
            .any(|name| self.scopes.filter_for(name).filters().is_some_and(|f| !f.groups.is_empty()));
        if !needed {
            return Ok(Vec::new());
        }
        let mut groups = hub.rbac.groups_of(hub.db.conn(), &[user.to_owned()]).await?;
        Ok(groups.0.remove(user).unwrap_or_default())
    }
}

fn lacking(names: &[&str]) -> ApiError {
    let names = names.join(", ");
    ApiError::forbidden(format!("Action is not authorized with current scopes; requires any of [{names}]"))
}

/// The token of an `Authorization` header: `token X` or `Bearer X`.
fn bearer(rq: &HttpRequest) -> Option<&str> {
    let text = rq.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let fits = scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer");
    (fits && !token.is_empty() && !token.contains(char::is_whitespace)).then_some(token)
}

/// Finds out who asks. Tokens count only where `tokens` says so.
async fn identify(hub: &web::Data<Hub>, rq: &HttpRequest, facts: &Facts, tokens: bool) -> ApiResult<Caller> {
    if tokens
        && let Some(token) = bearer(rq)
        && let Some(caller) = by_token(hub, rq, facts, token).await?
    {
        return Ok(caller);
    }
    let outgoing = Outgoing::of(rq);
    let (cookie_id, bad) = hub.sessions.login_of(facts);
    let mut session_id = Sessions::session_id(facts);
    let user = match &cookie_id {
        Some(id) => repo::users::by_cookie_id(hub.db.conn(), id).await?,
        None => None,
    };
    let user = match user {
        Some(user) => still_valid(hub, user, || facts.login_request(rq, &hub.sessions)).await?,
        None => None,
    };
    // The look may have taken a while, in which the login was ended.
    let user = user.filter(|user| cookie_id.as_deref() == Some(user.cookie_id.as_str()));
    if bad || (cookie_id.is_some() && user.is_none()) {
        outgoing.set(hub.sessions.clear_login());
    }
    let header = |name: &str| rq.headers().get(name).map(actix_web::http::header::HeaderValue::as_bytes);
    let Some(user) = user else {
        let xsrf = hub.sessions.xsrf_id(facts, session_id.as_deref(), None, header);
        return Ok(Caller {
            who: None,
            via: Via::Nobody,
            session_id,
            scopes: ScopeSet::new(),
            raw: Held::default(),
            xsrf,
        });
    };
    if session_id.is_none() {
        let (id, cookie) = hub.sessions.new_session(facts);
        outgoing.set(cookie);
        session_id = Some(id);
    }
    let xsrf = hub.sessions.xsrf_id(facts, session_id.as_deref(), Some(&user.cookie_id), header);
    let holder = Holder::User { id: user.id, name: user.name.clone() };
    let raw = hub.rbac.session_scopes(hub.db.conn(), &holder).await?;
    hub.activity.user(hub, &user).await?;
    Ok(Caller {
        who: Some(Who::User(Box::new(user))),
        via: Via::Cookie,
        session_id,
        scopes: raw.scopes.clone(),
        raw,
        xsrf,
    })
}

async fn by_token(
    hub: &web::Data<Hub>,
    rq: &HttpRequest,
    facts: &Facts,
    text: &str,
) -> ApiResult<Option<Caller>> {
    let db = hub.db.conn();
    let Some(token) = repo::tokens::find(db, text, hub.clock.now()).await? else { return Ok(None) };
    let who = match (token.user_id, token.service_id) {
        (Some(id), _) => repo::users::by_id(db, id).await?.map(|user| Who::User(Box::new(user))),
        (None, Some(id)) => {
            repo::services::by_id(db, id).await?.map(|service| Who::Service(Box::new(service)))
        }
        (None, None) => None,
    };
    let Some(mut who) = who else { return Ok(None) };
    if let Who::User(user) = who {
        let kept = user.clone();
        who = match still_valid(hub, *user, || facts.login_request(rq, &hub.sessions)).await? {
            Some(user) => Who::User(Box::new(user)),
            None if hub.auth.settings.refresh_strict => return Ok(None),
            // A token outlives the login that it was made in, unless the operator is strict.
            None => Who::User(kept),
        };
    }
    let scopes = hub.rbac.token_scopes(db, &token, &who.holder()).await?;
    hub.activity.token(hub, &token, &who, rq.uri().path()).await?;
    let session_id = token.session_id.clone().or_else(|| Sessions::session_id(facts));
    let xsrf = hub.sessions.xsrf_id(facts, None, None, |_| None);
    Ok(Some(Caller {
        who: Some(who),
        via: Via::Token(Box::new(token)),
        session_id,
        scopes,
        raw: Held::default(),
        xsrf,
    }))
}

/// The argument of a request that carries its XSRF token: query or header. Forms bring their own, see
/// [`Page::check_form`].
fn xsrf_argument(rq: &HttpRequest, facts: &Facts) -> Option<String> {
    let header = |name: &'static str| {
        rq.headers().get(HeaderName::from_static(name)).and_then(|v| v.to_str().ok()).map(str::to_owned)
    };
    facts.argument("_xsrf").or_else(|| header("x-xsrftoken")).or_else(|| header("x-csrftoken"))
}

fn hub_of(rq: &HttpRequest) -> ApiResult<web::Data<Hub>> {
    rq.app_data::<web::Data<Hub>>().cloned().ok_or_else(|| ApiError::internal("the request has no hub"))
}

fn note(rq: &HttpRequest, caller: &Caller) {
    if let Some(who) = &caller.who {
        rq.extensions_mut().insert(log::Who(who.name().to_owned()));
    }
}

/// A request to the REST API: by token or cookie.
#[derive(Debug, Clone)]
pub struct Api {
    /// The hub.
    pub hub: web::Data<Hub>,
    /// Facts about the request.
    pub facts: Rc<Facts>,
    /// Who asks.
    pub caller: Rc<Caller>,
}

impl FromRequest for Api {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(rq: &HttpRequest, _: &mut Payload) -> Self::Future {
        let rq = rq.clone();
        Box::pin(async move {
            let api = Self::identify(&rq).await?;
            api.check_xsrf(&rq)?;
            Ok(api)
        })
    }
}

impl Api {
    /// Who asks, with nothing checked yet. A cookie does not count on a `POST` that a form elsewhere could have made.
    pub async fn identify(rq: &HttpRequest) -> ApiResult<Self> {
        let hub = hub_of(rq)?;
        let facts = Facts::of(rq, &hub.trusted);
        let mut caller = identify(&hub, rq, &facts, true).await?;
        if matches!(caller.via, Via::Cookie) && is_foreign_post(rq) {
            caller = Caller {
                who: None,
                via: Via::Nobody,
                scopes: ScopeSet::new(),
                raw: Held::default(),
                ..caller
            };
        }
        note(rq, &caller);
        Ok(Self { hub, facts: Rc::new(facts), caller: Rc::new(caller) })
    }

    /// That a call by cookie comes from one of the hub's own pages; see [`Api`].
    pub fn check_xsrf(&self, rq: &HttpRequest) -> ApiResult<()> {
        check_api_xsrf(&self.hub, rq, &self.facts, &self.caller)
    }
}

/// A `POST` by cookie with a body that is no JSON could come from a form on another site.
fn is_foreign_post(rq: &HttpRequest) -> bool {
    rq.method() == actix_web::http::Method::POST
        && rq.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|text| {
            let media = text.split(';').next().unwrap_or_default().trim();
            !media.is_empty() && !media.eq_ignore_ascii_case("application/json")
        })
}

fn check_api_xsrf(hub: &Hub, rq: &HttpRequest, facts: &Facts, caller: &Caller) -> ApiResult<()> {
    let method = facts.method.as_str();
    let by_token = matches!(caller.via, Via::Token(_));
    let harmless_stranger = caller.who.is_none() && !rq.headers().contains_key(ORIGIN);
    let exempt = facts.fetch().is_exempt();
    if by_token || harmless_stranger || exempt || matches!(method, "HEAD" | "OPTIONS") {
        return Ok(());
    }
    hub.sessions
        .check_xsrf(facts, &caller.xsrf, xsrf_argument(rq, facts).as_deref())
        .map_err(|e| ApiError::forbidden(e.message(method)))
}

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

/// A request to `/hub/user/...`: like a page, but API clients of servers that are not running come here with tokens.
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
        let facts = Facts::of(rq, &hub.trusted);
        let caller = identify(&hub, rq, &facts, tokens).await?;
        note(rq, &caller);
        let (xsrf_token, xsrf_cookie) = match hub.sessions.xsrf_cookie(&facts, &caller.xsrf) {
            Some(token) => (token, None),
            None => {
                let (token, cookie) = hub.sessions.new_xsrf(&facts, &caller.xsrf, caller.who.is_none());
                (token, Some(cookie))
            }
        };
        let outgoing = Outgoing::of(rq);
        let (facts, caller) = (Rc::new(facts), Rc::new(caller));
        let page = Self { hub, facts, caller, xsrf_token, xsrf_cookie, outgoing };
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

    /// The same request after a logout, when nobody is known any more.
    #[must_use]
    pub fn as_stranger(&self, rq: &HttpRequest) -> Self {
        let header = |name: &str| rq.headers().get(name).map(actix_web::http::header::HeaderValue::as_bytes);
        let xsrf = self.hub.sessions.xsrf_id(&self.facts, None, None, header);
        let caller = Caller {
            who: None,
            via: Via::Nobody,
            session_id: None,
            scopes: ScopeSet::new(),
            raw: Held::default(),
            xsrf,
        };
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
