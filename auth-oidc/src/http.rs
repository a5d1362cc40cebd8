//! Asking a provider: what its answers and silences mean.

use hub_core::PluginError;
use hub_outbound::{Lost, Outbound, Reach};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::options::OidcOptions;

/// A client for one provider.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Outbound,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Media type without parameters, in lower case.
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
}

impl From<Lost> for Fault {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NoAnswer(why) => Self::Unreachable(why),
            Lost::TooLong => Self::Nonsense(lost.to_string()),
        }
    }
}

impl Http {
    /// A client as the options of the table want it.
    pub(crate) fn new(options: &OidcOptions, table: &str) -> Result<Self, PluginError> {
        let reach = Reach {
            any_certificate: !options.validate_server_cert,
            ..Reach::new(options.http_timeout, options.ca_file.as_deref())
        };
        Ok(Self { client: Outbound::new(reach, table)? })
    }

    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends and reads the answer, whatever its status, unless that says that the provider cannot answer now.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Fault> {
        let answer = self.client.send(request).await?;
        let (status, kind) = (answer.status(), answer.kind());
        if answer.is_later() {
            return Err(Fault::Unreachable(format!("the provider answered {status}")));
        }
        Ok(Answer { status, kind, body: answer.body().await? })
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
