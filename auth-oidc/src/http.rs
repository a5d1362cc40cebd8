//! Asking a provider: with a time limit, a size limit and no redirects.

use std::time::Duration;

use hub_core::PluginError;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, Method, RequestBuilder, StatusCode, redirect};
use serde_json::{Map, Value};

use crate::fault::{Fault, short};
use crate::options::OidcOptions;

/// Largest answer, in bytes.
const LARGEST: usize = 1 << 20;

/// A client for one provider.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Media type without parameters, in lower case.
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// A client as the options of the table want it.
    pub(crate) fn new(options: &OidcOptions, table: &str) -> Result<Self, PluginError> {
        let mut builder = Client::builder()
            .timeout(options.http_timeout)
            .connect_timeout(options.http_timeout.min(Duration::from_secs(5)))
            .redirect(redirect::Policy::none())
            .user_agent(concat!("himalia/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(!options.validate_server_cert);
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

    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url).header(reqwest::header::ACCEPT, "application/json")
    }

    /// Sends and reads the answer, whatever its status, unless that says that the provider cannot answer now.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Fault> {
        // The address stays out of texts: it can carry tokens.
        let lost = |error: reqwest::Error| Fault::Unreachable(short(&cause(&error.without_url())));
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(Fault::Nonsense(format!("it is longer than {} KiB", LARGEST >> 10)));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Fault::Unreachable(format!("the provider answered {status}")));
        }
        Ok(Answer { status, kind, body })
    }

    /// `GET` of a JSON document that everybody may read.
    pub(crate) async fn document(&self, url: &str) -> Result<Map<String, Value>, Fault> {
        let answer = self.send(self.request(Method::GET, url)).await?;
        if !answer.status.is_success() {
            return Err(Fault::Unreachable(format!("the provider answered {} to {url}", answer.status)));
        }
        answer.object()
    }
}

impl Answer {
    /// The body as a JSON object.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Fault> {
        serde_json::from_slice(&self.body).map_err(|_| Fault::Nonsense("it is no JSON object".to_owned()))
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
