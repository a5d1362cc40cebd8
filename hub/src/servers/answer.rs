//! The first answer of a server that comes up.

use std::sync::Arc;
use std::time::Duration;

use hub_core::spawner::Phase;
use hub_core::{PollStatus, Progress, ServerRef, SpawnError, Spawner};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};
use url::Url;

use super::Servers;
use super::spawners::profile_of;
use super::supervisor::Entry;

/// Pauses between two tries to reach a server that is coming up.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The cause of a failure of servers that run and do not answer.
pub(super) const NO_ANSWER: &str = "no-answer";

impl Servers {
    /// Waits for the first answer.
    pub(super) async fn answers(
        &self,
        entry: &Arc<Entry>,
        spawner: &Arc<dyn Spawner>,
        address: &Url,
        state: Value,
    ) -> Result<(), SpawnError> {
        let live = &entry.live;
        live.progress(Progress::new(80, Phase::Connecting, "Waiting for the server to answer").detail());
        let server = ServerRef { key: live.key.clone(), state, address: Some(address.clone()) };
        self.wait_up(&server, spawner, address).await
    }

    /// Asks the server for its API root until it answers with less than 500, it ends, or time is up.
    async fn wait_up(
        &self,
        server: &ServerRef,
        spawner: &Arc<dyn Spawner>,
        address: &Url,
    ) -> Result<(), SpawnError> {
        let mut url = address.clone();
        url.set_path(&format!("{}api", self.urls.server(&server.key)));
        let patience = self.settings_of(profile_of(&server.state)).http_timeout;
        let until = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let last = match self.http.get(url.clone()).send().await {
                Ok(answer) if answer.status().as_u16() < 500 => {
                    check_version(server, &answer);
                    return Ok(());
                }
                Ok(answer) => format!("status {}", answer.status().as_u16()),
                Err(error) => hub_outbound::with_causes(&error.without_url()),
            };
            if let Ok(PollStatus::Exited(exit)) = spawner.poll(server).await {
                let log = spawner.recent_log(server).await;
                let code = exit.code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
                let user = exit.message.unwrap_or_else(|| {
                    format!("Your server ended while it was starting (exit code {code}).")
                });
                let operator = format!("the process ended before it answered, exit code {code}");
                let cause = exit.cause.unwrap_or("exited");
                return Err(SpawnError::broken(cause, user, operator).with_log(log));
            }
            if Instant::now() + pause > until {
                let seconds = patience.as_secs();
                let text = format!("Your server runs but did not answer within {seconds} seconds.");
                let log = spawner.recent_log(server).await;
                let failure = SpawnError::timed_out(NO_ANSWER, text).with_log(log);
                return Err(SpawnError {
                    operator: format!("no answer from {address} in {seconds} s, last: {last}"),
                    ..failure
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn check_version(server: &ServerRef, answer: &reqwest::Response) {
    let version = answer.headers().get("x-jupyterhub-version").and_then(|v| v.to_str().ok());
    let major = |v: &str| v.split('.').next().map(str::to_owned);
    match version {
        Some(version) if major(version) == major(crate::JUPYTERHUB_VERSION) => {}
        Some(version) => {
            info!(user = %server.key.user, server = %server.key.server, %version, "server speaks another version of JupyterHub");
        }
        None => {
            warn!(user = %server.key.user, server = %server.key.server, "server does not tell its version of JupyterHub");
        }
    }
}
