//! One call: who asks what, with the authorisation that the table demands done.

use std::collections::BTreeMap;
use std::rc::Rc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_LENGTH};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpMessage as _, HttpRequest, Result as ActixResult};
use hub_core::LoginRequest;
use hub_core::scopes::Resource;
use hub_db::Conn;
use hub_db::entities::users;
use hub_db::repo::Range;
use jupyterhub_api_compat::endpoints::{Auth, Endpoint, Segment, Target, Xsrf};
use jupyterhub_api_compat::pagination::{PageLimits, PageRequest};
use percent_encoding::percent_decode_str;

use crate::app::Hub;
use crate::audit::Subject;
use crate::web::caller::{About, Api, Caller, Who};
use crate::web::error::{ApiError, ApiResult};
use crate::web::facts::{Facts, joined_headers};
use crate::web::middleware::Outgoing;

/// Largest body, in bytes.
pub(super) const MAX_BODY: usize = 1 << 20;

/// Arguments of a path by name, percent-decoded.
type Arguments = BTreeMap<&'static str, String>;

/// A call whose caller may make it.
#[derive(Debug)]
pub(super) struct Call {
    /// The hub.
    pub(super) hub: Data<Hub>,
    /// Facts about the request.
    pub(super) facts: Rc<Facts>,
    /// Who asks.
    pub(super) caller: Rc<Caller>,
    /// The body, empty if there is none.
    pub(super) body: Bytes,
    rq: HttpRequest,
    arguments: Arguments,
}

/// What the table demands, for handlers that need nothing of the request.
pub(super) async fn check(endpoint: &Endpoint, rq: &HttpRequest) -> ApiResult<Data<Hub>> {
    let hub =
        rq.app_data::<Data<Hub>>().cloned().ok_or_else(|| ApiError::internal("the request has no hub"))?;
    let open = match endpoint.auth {
        Auth::Nobody => true,
        Auth::Metrics => !hub.config.hub.authenticate_prometheus,
        _ => false,
    };
    if !open {
        authorise(endpoint, rq, &arguments(endpoint, rq.uri().path())?).await?;
    }
    Ok(hub)
}

/// Finds out who asks and asks of them what the table says.
async fn authorise(endpoint: &Endpoint, rq: &HttpRequest, arguments: &Arguments) -> ApiResult<Api> {
    let api = Api::identify(rq).await?;
    let caller = &api.caller;
    let needs_xsrf = match endpoint.xsrf {
        Xsrf::Api => true,
        Xsrf::Page => !rq.method().is_safe(),
        Xsrf::Deferred => caller.who.is_some(),
        Xsrf::Exempt => false,
    };
    if needs_xsrf {
        api.check_xsrf(rq)?;
    }
    let forbidden = || ApiError::bare(StatusCode::FORBIDDEN);
    match endpoint.auth {
        Auth::Nobody | Auth::ScopesOrBody => {}
        Auth::Anybody => drop(caller.who.as_ref().ok_or_else(forbidden)?),
        Auth::Token => drop(caller.token().ok_or_else(forbidden)?),
        Auth::Metrics => {
            if !endpoint.scopes.iter().any(|scope| caller.scopes.has_any(scope)) {
                let scopes = endpoint.scopes.join(", ");
                return Err(ApiError::forbidden(format!("Access to metrics requires scope '{scopes}'")));
            }
        }
        Auth::Scopes => require(endpoint, &api, arguments).await?,
        Auth::Login | Auth::OAuthClient => {
            return Err(ApiError::internal("an endpoint of the OAuth provider was called as an API"));
        }
    }
    Ok(api)
}

async fn require(endpoint: &Endpoint, api: &Api, arguments: &Arguments) -> ApiResult<()> {
    let argument = |name: &str| arguments.get(name).map_or("", String::as_str);
    let (caller, hub, scopes) = (&api.caller, &api.hub, endpoint.scopes);
    match endpoint.on {
        Target::None => caller.require(scopes, &Resource::None),
        Target::List => caller.require_some(scopes),
        Target::User => caller.require_user(hub, scopes, argument("user")).await,
        Target::Server => caller.require_server(hub, scopes, argument("user"), argument("server")).await,
        Target::Group => caller.require(scopes, &Resource::Group(argument("group"))),
        Target::Service => caller.require(scopes, &Resource::Service(argument("service"))),
    }
}

/// The arguments of a path. The endpoint's segments are the last ones of the path as it was sent, so that what was
/// encoded is decoded exactly once.
fn arguments(endpoint: &Endpoint, path: &str) -> ApiResult<Arguments> {
    let wanted: Vec<Segment> = endpoint.segments().collect();
    let sent: Vec<&str> = path.split('/').collect();
    let sent = sent.get(sent.len().saturating_sub(wanted.len())..).unwrap_or_default();
    let mut found = Arguments::new();
    for (segment, text) in wanted.iter().zip(sent) {
        if let Segment::Param { name, .. } = segment {
            let text = percent_decode_str(text).decode_utf8().map_err(|_| {
                ApiError::bad_request("The path holds percent-encoded bytes that are not UTF-8.")
            })?;
            found.insert(name, text.into_owned());
        }
    }
    Ok(found)
}

async fn read(rq: &HttpRequest, body: Payload) -> ApiResult<Bytes> {
    let too_large = || {
        let text = format!("The body of the request is too large: at most {MAX_BODY} bytes are read.");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let declared =
        rq.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let read: ActixResult<Bytes> = body.to_bytes_limited(MAX_BODY).await.map_err(|_| too_large())?;
    read.map_err(|e| ApiError::bad_request(format!("The body of the request cannot be read: {e}")))
}

impl Call {
    /// Authorises a request, then reads it.
    pub(super) async fn open(endpoint: &Endpoint, rq: HttpRequest, body: Payload) -> ApiResult<Self> {
        let arguments = arguments(endpoint, rq.uri().path())?;
        let Api { hub, facts, caller } = authorise(endpoint, &rq, &arguments).await?;
        let body = read(&rq, body).await?;
        // Stock ignores white space around the JSON, and takes nothing else for no body.
        let body = body.slice_ref(body.trim_ascii());
        Ok(Self { hub, facts, caller, body, rq, arguments })
    }

    /// An argument of the path, empty if the endpoint has none of that name.
    pub(super) fn argument(&self, name: &str) -> &str {
        self.arguments.get(name).map_or("", String::as_str)
    }

    /// The `{user}` of the path.
    pub(super) fn user_name(&self) -> &str {
        self.argument("user")
    }

    /// The row of the `{user}` of the path.
    pub(super) async fn user(&self) -> ApiResult<Option<users::Model>> {
        Ok(self.hub.known.user(&self.hub.db, self.user_name()).await?)
    }

    /// The same, 404 without a text if there is none.
    pub(super) async fn user_or_404(&self) -> ApiResult<users::Model> {
        self.user().await?.ok_or_else(ApiError::not_found)
    }

    /// The same, 404 with the name.
    pub(super) async fn named_user(&self) -> ApiResult<users::Model> {
        let none = || ApiError::new(StatusCode::NOT_FOUND, format!("No such user: {}", self.user_name()));
        self.user().await?.ok_or_else(none)
    }

    /// Whoever asks. Only to be called where the table asks for somebody.
    pub(super) fn who(&self) -> ApiResult<&Who> {
        self.caller.known()
    }

    /// Database.
    pub(super) fn db(&self) -> &Conn {
        self.hub.db.conn()
    }

    /// The last value of a query argument.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.facts.argument(name)
    }

    /// The same where the value is a text that the database gets: it must be UTF-8.
    pub(super) fn text_of(&self, name: &str) -> ApiResult<Option<String>> {
        let raw = self.facts.query.split('&').rev().find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        });
        if let Some(raw) = raw {
            let bytes: Vec<u8> = percent_decode_str(raw).collect();
            if std::str::from_utf8(&bytes).is_err() {
                let shown = bytes_literal(bytes.get(..40).unwrap_or(&bytes));
                return Err(ApiError::bad_request(format!("Invalid unicode in {name}: {shown}")));
            }
        }
        Ok(self.query(name))
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.rq.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// A header as it was sent.
    pub(super) fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.rq.headers().get(name).map(actix_web::http::header::HeaderValue::as_bytes)
    }

    /// Whether models of users shall hold stopped servers, too.
    pub(super) fn include_stopped_servers(&self) -> bool {
        let argument = self.query("include_stopped_servers");
        jupyterhub_api_compat::requests::ListUsers::include_stopped_servers(argument.as_deref())
    }

    /// Which page of a list is asked for.
    pub(super) fn page(&self) -> ApiResult<PageRequest> {
        let settings = &self.hub.config.hub;
        let limits = PageLimits {
            default: settings.api_page_default_limit.into(),
            max: settings.api_page_max_limit.into(),
        };
        let (offset, limit) = (self.query("offset"), self.query("limit"));
        let accept = self.header(ACCEPT.as_str());
        Ok(PageRequest::parse(offset.as_deref(), limit.as_deref(), accept, limits)?)
    }

    /// Whom the call is about, for the audit log, where the path does not tell.
    pub(super) fn concerns(&self, user: &str) {
        self.rq.extensions_mut().insert(Subject(user.to_owned()));
    }

    /// Gives the browser that asks new cookies for its login, whose user has another cookie id now.
    pub(super) fn stay_in(&self, cookie_id: &str, number: u64) {
        let (sessions, outgoing) = (&self.hub.sessions, Outgoing::of(&self.rq));
        outgoing.set(sessions.login(cookie_id, number, &self.facts));
        let session_id = self.caller.session_id.as_deref();
        let id = sessions.xsrf_id(&self.facts, session_id, Some(cookie_id), |_| None);
        outgoing.set(sessions.new_xsrf(&self.facts, &id, false).1);
    }

    /// The full URL of the request as the client sent it, for links to further pages.
    pub(super) fn url(&self) -> String {
        format!("{}://{}{}", self.facts.scheme, self.facts.host, self.facts.uri())
    }

    /// The owner of a server that starts or stops now, whose login may have to be looked at first.
    pub(super) async fn owner_before(&self, about: About, owner: users::Model) -> ApiResult<users::Model> {
        let request = || self.as_login_request(BTreeMap::new());
        self.caller.owner_before(&self.hub, about, owner, &self.facts, request).await
    }

    /// The request as authenticators and hooks see it, with these fields in place of a form.
    pub(super) fn as_login_request(&self, form: BTreeMap<String, String>) -> LoginRequest {
        LoginRequest {
            method: self.facts.method.clone(),
            url: format!("{}://{}{}", self.facts.browser_scheme, self.facts.host, self.facts.uri()),
            query: self.facts.query_pairs().into_iter().collect(),
            form,
            headers: joined_headers(&self.rq),
            cookies: self
                .facts
                .cookies
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            kept: BTreeMap::new(),
            remote: self.facts.remote,
            peer: self.facts.peer,
            next: None,
            of_another_session: false,
        }
    }
}

/// Bytes as Python writes them.
fn bytes_literal(bytes: &[u8]) -> String {
    let inner: String = bytes
        .iter()
        .map(|byte| match byte {
            b'\\' => "\\\\".to_owned(),
            b'\'' => "\\'".to_owned(),
            0x20..=0x7e => char::from(*byte).to_string(),
            other => format!("\\x{other:02x}"),
        })
        .collect();
    format!("b'{inner}'")
}

/// The rows that a page is made of.
pub(super) fn range(page: &PageRequest) -> Range {
    Range { offset: page.offset, limit: page.limit }
}

#[cfg(test)]
mod tests {
    use jupyterhub_api_compat::endpoints::{EndpointId, of};

    use super::*;

    fn read(id: EndpointId, at: usize, path: &str) -> Result<Vec<String>, StatusCode> {
        let endpoint = of(id).nth(at).unwrap();
        arguments(endpoint, path).map(|found| found.into_values().collect()).map_err(|error| error.status)
    }

    #[test]
    fn arguments_are_decoded_exactly_once() {
        use EndpointId::{GetServer, GetUser, GetVersion};
        assert_eq!(read(GetUser, 0, "/a%20b/hub/api/users/a%40b"), Ok(vec!["a@b".to_owned()]));
        assert_eq!(read(GetUser, 0, "/hub/api/users/%2541%2Fx"), Ok(vec!["%41/x".to_owned()]));
        assert_eq!(read(GetUser, 0, "/hub/api/users/%%34%31"), Ok(vec!["%41".to_owned()]));
        let both = |path| read(GetServer, 1, path);
        assert_eq!(both("/hub/api/users/u/servers/"), Ok(vec![String::new(), "u".to_owned()]));
        assert_eq!(both("/hub/api/users/u/servers/s"), Ok(vec!["s".to_owned(), "u".to_owned()]));
        assert_eq!(read(GetUser, 0, "/hub/api/users/%FF"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(read(GetVersion, 0, "/hub/api"), Ok(vec![]));
    }
}
