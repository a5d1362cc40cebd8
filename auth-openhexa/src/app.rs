//! Asking the application: with a time limit, a size limit, and no redirects.

use std::time::Duration;

use hub_core::PluginError;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderName, REFERER};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, redirect};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::options::OpenHexaOptions;
use crate::session::Session;

/// Largest answer, in bytes.
const LARGEST: usize = 1 << 20;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrftoken");

/// Why the application did not give what it was asked for. The texts are for the log and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    /// It knows nobody with these cookies.
    #[error("{0}")]
    NoSession(String),
    /// It knows the person and says no.
    #[error("the application answered {0}")]
    Refused(StatusCode),
    /// No answer, or one that says "later".
    #[error("{0}")]
    Unreachable(String),
    /// An answer that makes no sense.
    #[error("the application's answer cannot be used: {0}")]
    Nonsense(String),
}

/// The application.
#[derive(Debug, Clone)]
pub(crate) struct App {
    client: Client,
}

impl App {
    pub(crate) fn new(options: &OpenHexaOptions, table: &str) -> Result<Self, PluginError> {
        let mut builder = Client::builder()
            .timeout(options.http_timeout)
            .connect_timeout(options.http_timeout.min(CONNECT))
            .redirect(redirect::Policy::none())
            .user_agent(concat!("himalia/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &options.ca_file {
            let wrong = |why: String| PluginError::one(format!("{table}.ca_file"), why);
            let pem = std::fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| {
                wrong(format!("{} holds no certificates in PEM form: {error}", path.display()))
            })?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder
            .build()
            .map_err(|error| PluginError::one(table, format!("no HTTPS client can be made: {error}")))?;
        Ok(Self { client })
    }

    /// Whose session it is. Without one, Django sends to a login page rather than to answer 401, so only JSON with a
    /// name counts.
    pub(crate) async fn who(&self, url: &str, session: &Session) -> Result<String, Fault> {
        let (status, body) = self.send(self.post(url, session).header(CONTENT_LENGTH, 0)).await?;
        let name = |body: &[u8]| -> Option<String> {
            let answer: Map<String, Value> = serde_json::from_slice(body).ok()?;
            Some(answer.get("username")?.as_str()?.to_owned()).filter(|name| !name.is_empty())
        };
        match status {
            StatusCode::OK => name(&body)
                .ok_or_else(|| Fault::NoSession("the application answered with no name but a page".to_owned())),
            StatusCode::FORBIDDEN => Err(Fault::NoSession(
                "the application answered 403 (if this happens to everybody: its CSRF check wants the hub's address \
                 among CSRF_TRUSTED_ORIGINS)"
                    .to_owned(),
            )),
            status if status.is_redirection() || status == StatusCode::UNAUTHORIZED => {
                Err(Fault::NoSession(format!("the application answered {status}")))
            }
            status => Err(Fault::Nonsense(format!("status {status}"))),
        }
    }

    /// Credentials: of a workspace by its name, else those of servers without one.
    pub(crate) async fn credentials(
        &self,
        url: &str,
        session: &Session,
        workspace: Option<&str>,
    ) -> Result<Vec<u8>, Fault> {
        let request = self.post(url, session);
        let request = match workspace {
            Some(name) => request.form(&[("workspace", name)]),
            None => request.header(CONTENT_LENGTH, 0),
        };
        let (status, body) = self.send(request).await?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Err(Fault::Refused(status))
            }
            status if status.is_redirection() => {
                Err(Fault::NoSession(format!("the application answered {status}")))
            }
            status => Err(Fault::Nonsense(format!("status {status}"))),
        }
    }

    fn post(&self, url: &str, session: &Session) -> RequestBuilder {
        self.client
            .post(url)
            .header(ACCEPT, "application/json")
            .header(COOKIE, &session.cookies)
            .header(CSRF_HEADER, &session.csrf)
            .header(REFERER, &session.referer)
    }

    /// Sends, and reads the answer unless its status says that the application cannot answer now.
    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Fault> {
        let lost = |error: reqwest::Error| {
            Fault::Unreachable(format!("the application did not answer: {}", cause(&error.without_url())))
        };
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Fault::Unreachable(format!("the application answered {status}")));
        }
        let json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str()
                .is_ok_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json"))
        });
        let mut body = Vec::new();
        // What is no JSON is a page for people; nobody reads it.
        while json && let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(Fault::Nonsense(format!("it is longer than {} KiB", LARGEST >> 10)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}

/// An error with what caused it.
fn cause(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut inner = std::error::Error::source(error);
    while let Some(error) = inner {
        text = format!("{text}: {error}");
        inner = error.source();
    }
    text
}
