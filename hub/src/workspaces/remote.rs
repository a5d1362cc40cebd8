//! A service that knows who belongs to which workspace.

use std::sync::Arc;
use std::time::Duration;

use hub_config::{WorkspaceRole, WorkspaceSource};
use hub_core::secret::{ExposeSecret as _, SecretString};
use hub_core::{PluginError, names};
use moka::sync::Cache;
use serde::Deserialize;

use super::{SourceError, Workspace};

/// Largest answer, in bytes, and most people whose answers are kept.
const LARGEST: usize = 1 << 20;
const MOST_PEOPLE: u64 = 10_000;

/// The service, and what it has answered of late.
#[derive(Debug)]
pub(super) struct Remote {
    client: reqwest::Client,
    url: String,
    token: Option<SecretString>,
    answers: Option<Cache<String, Arc<Vec<Workspace>>>>,
}

/// One workspace as the service tells it.
#[derive(Debug, Deserialize)]
struct Told {
    name: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    role: Option<WorkspaceRole>,
}

impl Remote {
    pub(super) fn new(source: &WorkspaceSource, key: &str) -> Result<Self, PluginError> {
        let client = reqwest::Client::builder()
            .timeout(source.timeout)
            .connect_timeout(source.timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| PluginError::one(key, format!("no HTTP client can be made: {error}")))?;
        let answers = (!source.cache_for.is_zero())
            .then(|| Cache::builder().max_capacity(MOST_PEOPLE).time_to_live(source.cache_for).build());
        Ok(Self { client, url: source.url.clone(), token: source.token.clone(), answers })
    }

    /// The workspaces of somebody, as told not too long ago.
    pub(super) async fn list(
        &self,
        user: &str,
        role: WorkspaceRole,
    ) -> Result<Arc<Vec<Workspace>>, SourceError> {
        if let Some(known) = self.answers.as_ref().and_then(|answers| answers.get(user)) {
            return Ok(known);
        }
        let told = self.ask(user).await.map_err(|why| {
            SourceError(format!("the service at {} does not tell the workspaces of {user}: {why}", self.url))
        })?;
        let all = told.into_iter().map(|told| Workspace {
            display_name: told
                .display_name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| told.name.clone()),
            name: told.name,
            role: told.role.unwrap_or(role),
        });
        let all = Arc::new(all.collect::<Vec<_>>());
        if let Some(answers) = &self.answers {
            answers.insert(user.to_owned(), Arc::clone(&all));
        }
        Ok(all)
    }

    async fn ask(&self, user: &str) -> Result<Vec<Told>, String> {
        let url = self.url.replace("{username}", &names::escape_segment(user));
        let mut request = self.client.get(url).header(reqwest::header::ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let lost = |error: reqwest::Error| error.without_url().to_string();
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        if status == reqwest::StatusCode::NOT_FOUND {
            // It does not know the person, who so has none.
            return Ok(Vec::new());
        }
        if !status.is_success() {
            return Err(format!("it answered {status}"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(format!("its answer is longer than {} KiB", LARGEST >> 10));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| format!("its answer is no list of workspaces: {error}"))
    }
}
