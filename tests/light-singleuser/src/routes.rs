//! What the server answers, below its prefix:
//!
//! | Path | Who | Answer |
//! | --- | --- | --- |
//! | `api` | everybody | version; the hub looks here whether the server is up |
//! | `api/status` | the owner | when it started and was last used |
//! | `echo` | the owner | who asks, and the environment without secrets |
//! | `oauth_callback`, `logout` | everybody | the two ends of a session |
//! | anything else | the owner | a page with the person's name |

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::activity::Activity;
use crate::cookies;
use crate::hub::{Hub, HubError, Person};
use crate::login::Logins;
use crate::settings::Settings;

/// The server.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) hub: Hub,
    pub(crate) logins: Logins,
    pub(crate) activity: Arc<Activity>,
    /// The hub's version, which is given out as the server's own.
    pub(crate) version: Option<String>,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) target: String,
    query: Vec<(String, String)>,
    pub(crate) cookies: Vec<(String, String)>,
    /// Whether the browser came by https.
    pub(crate) https: bool,
    /// The token in the header, or in the query where that is allowed.
    token: Option<String>,
}

impl Asked {
    /// One argument of the query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }
}

/// An answer with its cookies.
#[derive(Debug)]
pub(crate) struct Reply {
    response: Response<Full<Bytes>>,
}

impl Reply {
    /// With a cookie more.
    pub(crate) fn cookie(mut self, cookie: String) -> Self {
        if let Ok(value) = HeaderValue::try_from(cookie) {
            self.response.headers_mut().append(header::SET_COOKIE, value);
        }
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }
}

/// Whether somebody is let in.
enum Entry {
    Person(Box<Person>),
    /// Nobody, or a session that has ended.
    Stranger,
    /// Somebody without the right to be here.
    Forbidden(String),
    /// The hub cannot tell.
    Unknown(StatusCode),
}

impl App {
    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let asked = self.read(request);
        let path = request.uri().path();
        let reply = match path.strip_prefix(&self.settings.prefix) {
            None => text(StatusCode::NOT_FOUND, "not below this server's prefix\n"),
            Some("api") => json_reply(StatusCode::OK, &json!({ "version": env!("CARGO_PKG_VERSION") })),
            Some("oauth_callback") => self.back_from_hub(&asked).await,
            Some("logout") => self.log_out(&asked),
            Some(rest) => self.guarded(rest, request.method(), &asked).await,
        };
        let mut reply = reply.header("content-security-policy", "frame-ancestors 'none'");
        if let Some(version) = &self.version {
            reply = reply.header("x-jupyterhub-version", version);
        }
        reply.response
    }

    async fn guarded(&self, rest: &str, method: &Method, asked: &Asked) -> Reply {
        let is_api = rest.starts_with("api/");
        match self.entry(asked).await {
            Entry::Person(person) => {
                self.activity.touch();
                self.page(rest, &person)
            }
            Entry::Stranger
                if is_api || asked.token.is_some() || !matches!(*method, Method::GET | Method::HEAD) =>
            {
                json_reply(StatusCode::FORBIDDEN, &json!({ "status": 403, "message": "Forbidden" }))
            }
            Entry::Stranger => self.send_to_hub(asked),
            Entry::Forbidden(name) => {
                text(StatusCode::FORBIDDEN, &format!("{name} may not use this server.\n"))
            }
            Entry::Unknown(status) => text(status, "The hub cannot tell who you are.\n"),
        }
    }

    fn page(&self, rest: &str, person: &Person) -> Reply {
        match rest {
            "api/status" => {
                let last = self.activity.last();
                json_reply(StatusCode::OK, &json!({ "connections": 0, "kernels": 0, "last_activity": last }))
            }
            "echo" => {
                json_reply(StatusCode::OK, &json!({ "user": person.model, "env": self.settings.shown }))
            }
            _ if rest.starts_with("api/") => {
                json_reply(StatusCode::NOT_FOUND, &json!({ "status": 404, "message": "Not Found" }))
            }
            _ => text(StatusCode::OK, &format!("This is the server of {}.\n", person.name)),
        }
    }

    async fn entry(&self, asked: &Asked) -> Entry {
        let session = cookies::get(&asked.cookies, &cookies::login_name(&self.settings));
        let token = asked.token.clone().or_else(|| self.logins.token(session?));
        let Some(token) = token else { return Entry::Stranger };
        let hub_session = cookies::get(&asked.cookies, "jupyterhub-session-id").unwrap_or_default();
        let person = match self.logins.known(&token, hub_session) {
            Some(person) => person,
            None => match self.hub.person_of(&token).await {
                Ok(Some(person)) => {
                    self.logins.learn(&token, hub_session, person.clone());
                    person
                }
                Ok(None) => return Entry::Stranger,
                Err(HubError::Status(status)) if status.is_client_error() => {
                    return Entry::Unknown(StatusCode::INTERNAL_SERVER_ERROR);
                }
                Err(error) => {
                    eprintln!("{error}");
                    return Entry::Unknown(StatusCode::BAD_GATEWAY);
                }
            },
        };
        if self.hub.admits(&person) { Entry::Person(Box::new(person)) } else { Entry::Forbidden(person.name) }
    }

    fn read<B>(&self, request: &Request<B>) -> Asked {
        let headers = request.headers();
        let uri = request.uri();
        let query: Vec<(String, String)> =
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let in_url = || query.iter().find(|(name, _)| name == "token").map(|(_, value)| value.clone());
        Asked {
            target: uri.path_and_query().map_or_else(|| self.settings.prefix.clone(), ToString::to_string),
            cookies: cookies::of(headers),
            https: self.settings.public_https.unwrap_or_else(|| forwarded_https(headers)),
            token: bearer(headers).or_else(|| in_url().filter(|_| self.settings.token_in_url)),
            query,
        }
    }
}

/// The token of an `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    ["token", "bearer"].contains(&scheme.to_lowercase().as_str()).then(|| token.trim().to_owned())
}

fn forwarded_https(headers: &HeaderMap) -> bool {
    let scheme = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()).unwrap_or_default();
    scheme.split(',').next().is_some_and(|first| first.trim() == "https")
}

/// A page of plain text.
pub(crate) fn text(status: StatusCode, body: &str) -> Reply {
    reply(status, "text/plain; charset=utf-8", body.to_owned())
}

/// On to another place.
pub(crate) fn redirect(location: &str) -> Reply {
    text(StatusCode::FOUND, "").header("location", location)
}

fn json_reply(status: StatusCode, value: &Value) -> Reply {
    reply(status, "application/json", value.to_string())
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Reply {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    Reply { response }.header("content-type", kind)
}
