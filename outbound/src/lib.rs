//! Asking services that somebody else runs: an identity provider, an application, a list of workspaces.
//!
//! All that the hub and its plugins ask goes through one [`Outbound`]: every answer has a time limit and a size limit,
//! redirects are not followed (they could lead secrets elsewhere), and texts of errors name the cause but never the
//! address, which can carry tokens.

use std::path::Path;
use std::time::Duration;

use hub_core::PluginError;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, redirect};
use thiserror::Error;

/// Largest answer, in bytes.
const LARGEST: usize = 1 << 20;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest text of an error, in characters.
const LONGEST_TEXT: usize = 300;

/// How a service is reached.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// How long an answer may take, connection and body included.
    pub timeout: Duration,
    /// Certificates (PEM) that are believed beside those of the system.
    pub ca_file: Option<&'a Path>,
    /// Whether any certificate will do, which leaves everything to whoever is on the way.
    pub any_certificate: bool,
}

impl<'a> Reach<'a> {
    /// A service whose certificate is checked.
    pub fn new(timeout: Duration, ca_file: Option<&'a Path>) -> Self {
        Self { timeout, ca_file, any_certificate: false }
    }
}

/// A client for one service.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: Client,
}

/// Why there is no answer. The texts are for the log and hold neither address nor secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Lost {
    /// No connection, no answer in time, or one that broke off; all causes in one line.
    #[error("{0}")]
    NoAnswer(String),
    /// An answer of more than a mebibyte.
    #[error("it is longer than {} KiB", LARGEST >> 10)]
    TooLong,
}

/// The head of an answer, whose body has not been read.
#[derive(Debug)]
pub struct Answer {
    response: Response,
}

impl Outbound {
    /// A client. `table` is the section of the configuration that the service belongs to, for messages.
    ///
    /// # Errors
    /// A problem of `TABLE.ca_file`, or of the table when no client can be made at all.
    pub fn new(reach: Reach<'_>, table: &str) -> Result<Self, PluginError> {
        let mut builder = Client::builder()
            .timeout(reach.timeout)
            .connect_timeout(reach.timeout.min(CONNECT))
            .redirect(redirect::Policy::none())
            .user_agent(concat!("himalia/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(reach.any_certificate);
        if let Some(path) = reach.ca_file {
            builder = builder.tls_certs_merge(certificates(path, table)?);
        }
        let client = builder
            .build()
            .map_err(|error| PluginError::one(table, format!("no HTTPS client can be made: {error}")))?;
        Ok(Self { client })
    }

    /// A request for JSON.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url).header(ACCEPT, "application/json")
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`Lost::NoAnswer`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Lost> {
        Ok(Answer { response: request.send().await.map_err(lost)? })
    }
}

fn certificates(path: &Path, table: &str) -> Result<Vec<Certificate>, PluginError> {
    let wrong = |why: String| PluginError::one(format!("{table}.ca_file"), why);
    let pem = std::fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    let found = Certificate::from_pem_bundle(&pem)
        .map_err(|error| wrong(format!("{} holds no certificates in PEM form: {error}", path.display())))?;
    if found.is_empty() {
        return Err(wrong(format!("{} holds no certificates in PEM form", path.display())));
    }
    Ok(found)
}

impl Answer {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Whether the service says that it cannot answer now: 5xx, or too many requests.
    pub fn is_later(&self) -> bool {
        self.status().is_server_error() || self.status() == StatusCode::TOO_MANY_REQUESTS
    }

    /// A header of the answer; none also when it is no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Media type without parameters, in lower case; empty when none is told.
    pub fn kind(&self) -> String {
        let kind = self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The body, to its end.
    ///
    /// # Errors
    /// [`Lost::TooLong`] beyond a mebibyte, [`Lost::NoAnswer`] when it breaks off.
    pub async fn body(mut self) -> Result<Vec<u8>, Lost> {
        let mut body = Vec::new();
        while let Some(chunk) = self.response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(Lost::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// An error with all that is behind it: what a library tells first is often no more than that it could not connect.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        text = format!("{text}: {error}");
        behind = error.source();
    }
    text
}

/// An error with all that caused it, in one line.
fn lost(error: reqwest::Error) -> Lost {
    let text = with_causes(&error.without_url());
    Lost::NoAnswer(text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_what_is_behind_it() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot connect")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(
            with_causes(&Outer(std::io::Error::other("unknown authority"))),
            "cannot connect: unknown authority"
        );
    }
}
