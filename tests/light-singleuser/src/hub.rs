//! What the server asks of its hub.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use thiserror::Error;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::client::{Answer, Call, ClientError, send};
use crate::settings::Settings;

/// How often the hub is looked for at the start.
const START_TRIES: u32 = 5;

/// The hub, for this server.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    pub(crate) settings: Arc<Settings>,
}

/// A person, as the hub describes them.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    /// The whole model.
    pub(crate) model: Value,
}

/// Why the hub did not do what it was asked for.
#[derive(Debug, Error)]
pub(crate) enum HubError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the hub answered {0}")]
    Status(StatusCode),
    #[error("the hub's answer is not understood")]
    Shape,
}

impl Hub {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    /// Waits for the hub as the real server does: some tries, ever further apart. Returns the hub's version.
    pub(crate) async fn wait_until_there(&self) -> anyhow::Result<Option<String>> {
        let api = &self.settings.api;
        let mut pause = Duration::from_millis(200);
        let mut last = String::new();
        for _ in 0..START_TRIES {
            match send(Call { method: Method::GET, url: api, token: None, body: None }).await {
                Ok(answer) if answer.status.is_success() => return Ok(answer.version),
                Ok(answer) => last = format!("it answers {}", answer.status),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        bail!("no hub at {api}: {last}")
    }

    /// Exchanges a code for a token of the person.
    pub(crate) async fn token_for(&self, code: &str, verifier: &str) -> Result<String, HubError> {
        let settings = &self.settings;
        let form = Serializer::new(String::new())
            .append_pair("client_id", &settings.client_id)
            .append_pair("client_secret", &settings.token)
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &settings.callback)
            .append_pair("code_verifier", verifier)
            .finish();
        let url = self.below_api("oauth2/token");
        let body = Some(("application/x-www-form-urlencoded", form));
        let answer =
            send(Call { method: Method::POST, url: &url, token: Some(&settings.token), body }).await?;
        let answer = json_of(&answer)?;
        answer.get("access_token").and_then(Value::as_str).map(str::to_owned).ok_or(HubError::Shape)
    }

    /// Whose token this is; none when it is nobody's any more.
    pub(crate) async fn person_of(&self, token: &str) -> Result<Option<Person>, HubError> {
        let url = self.below_api("user");
        let answer = send(Call { method: Method::GET, url: &url, token: Some(token), body: None }).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        let model = json_of(&answer)?;
        let name = model.get("name").and_then(Value::as_str).ok_or(HubError::Shape)?.to_owned();
        let scopes = model.get("scopes").and_then(Value::as_array).ok_or(HubError::Shape)?;
        let scopes = scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Some(Person { name, scopes, model }))
    }

    /// Whether the person may use this server.
    pub(crate) fn admits(&self, person: &Person) -> bool {
        self.settings.access_scopes.iter().any(|scope| person.scopes.contains(scope))
    }

    /// Tells when the server was last used, as `2026-01-31T12:00:00.000000Z`.
    pub(crate) async fn report_activity(&self, url: &Url, at: &str) -> Result<(), HubError> {
        let servers = json!({ &self.settings.server_name: { "last_activity": at } });
        let body = json!({ "servers": servers, "last_activity": at }).to_string();
        let token = Some(self.settings.token.as_str());
        let answer =
            send(Call { method: Method::POST, url, token, body: Some(("application/json", body)) }).await?;
        if answer.status.is_success() { Ok(()) } else { Err(HubError::Status(answer.status)) }
    }

    fn below_api(&self, path: &str) -> Url {
        let mut url = self.settings.api.clone();
        url.set_path(&format!("{}/{path}", self.settings.api.path().trim_end_matches('/')));
        url
    }
}

fn json_of(answer: &Answer) -> Result<Value, HubError> {
    if !answer.status.is_success() {
        return Err(HubError::Status(answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|_| HubError::Shape)
}
