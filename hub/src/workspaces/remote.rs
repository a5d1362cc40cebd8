//! A service that knows who belongs to which workspace.

use std::sync::Arc;

use hub_config::{WorkspaceRole, WorkspaceSource};
use hub_core::secret::{ExposeSecret as _, SecretString};
use hub_core::{PluginError, names};
use hub_outbound::{Outbound, Reach};
use moka::sync::Cache;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{SourceError, Workspace};

/// Most people whose answers are kept.
const MOST_PEOPLE: u64 = 10_000;

/// The service, and what it has answered of late.
#[derive(Debug)]
pub(super) struct Remote {
    client: Outbound,
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
        let client = Outbound::new(Reach::new(source.timeout, source.ca_file.as_deref()), key)?;
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
        let mut request = self.client.request(Method::GET, &url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let answer = self.client.send(request).await.map_err(|lost| lost.to_string())?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            // It does not know the person, who so has none.
            return Ok(Vec::new());
        }
        if !status.is_success() {
            return Err(format!("it answered {status}"));
        }
        let body = answer.body().await.map_err(|lost| format!("its answer cannot be used: {lost}"))?;
        serde_json::from_slice(&body).map_err(|error| format!("its answer is no list of workspaces: {error}"))
    }
}

#[cfg(test)]
mod tests;
