//! Asking the application: what its answers and silences mean.

use hub_core::PluginError;
use hub_outbound::{Lost, Outbound, Reach};
use reqwest::header::{CONTENT_LENGTH, COOKIE, HeaderName, REFERER};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::options::OpenHexaOptions;
use crate::session::Session;

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

impl Fault {
    /// A stable code for the log.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoSession(_) => "app_no_session",
            Self::Refused(_) => "app_refused",
            Self::Unreachable(_) => "app_away",
            Self::Nonsense(_) => "app_nonsense",
        }
    }
}

impl From<Lost> for Fault {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NoAnswer(why) => Self::Unreachable(format!("the application did not answer: {why}")),
            Lost::TooLong => Self::Nonsense(lost.to_string()),
        }
    }
}

/// The application.
#[derive(Debug, Clone)]
pub(crate) struct App {
    client: Outbound,
}

impl App {
    pub(crate) fn new(options: &OpenHexaOptions, table: &str) -> Result<Self, PluginError> {
        let reach = Reach::new(options.http_timeout, options.ca_file.as_deref());
        Ok(Self { client: Outbound::new(reach, table)? })
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
            .request(Method::POST, url)
            .header(COOKIE, &session.cookies)
            .header(CSRF_HEADER, &session.csrf)
            .header(REFERER, &session.referer)
    }

    /// Sends, and reads the answer unless its status says that the application cannot answer now.
    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Fault> {
        let answer = self.client.send(request).await?;
        let status = answer.status();
        if answer.is_later() {
            return Err(Fault::Unreachable(format!("the application answered {status}")));
        }
        // What is no JSON is a page for people; nobody reads it.
        let body = if answer.kind() == "application/json" { answer.body().await? } else { Vec::new() };
        Ok((status, body))
    }
}
