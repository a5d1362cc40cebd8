//! Starts by another hub on the same database: followed, and not begun a second time.

use std::sync::Arc;
use std::time::Duration;

use hub_core::spawner::Phase;
use hub_core::{Progress, SpawnError};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Servers;
use super::store::Record;
use super::supervisor::Entry;

/// Pause between two looks at what the other hub has come to.
const LOOK: Duration = Duration::from_millis(300);

/// The start was followed to an end that is none.
pub(super) fn not_up() -> SpawnError {
    let text = "Your server did not start. Please try again.";
    SpawnError::broken("elsewhere", text, "another hub began to start the server, but it is not up")
        .retryable()
}

impl Servers {
    /// Whether another hub is at work on a start.
    pub(super) fn is_started_elsewhere(&self, record: &Record) -> bool {
        record.is_active() && self.store.is_elsewhere(record)
    }

    /// Waits for the end of a start by another hub and opens the route here as well. `false`: the other hub has died
    /// over it, or it does not end in time.
    pub(super) async fn follow(&self, entry: &Arc<Entry>) -> Result<bool, SpawnError> {
        let key = &entry.live.key;
        info!(user = %key.user, server = %key.server, "another hub is starting the server; following it");
        entry.live.progress(Progress::new(50, Phase::Launching, "Spawning server..."));
        let until = Instant::now() + self.longest_start();
        while Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            let record = match self.store.load(entry.id).await {
                Ok(record) => record.ok_or_else(not_up)?,
                Err(error) => {
                    warn!(user = %key.user, server = %key.server, %error, "cannot see how far another hub is");
                    continue;
                }
            };
            if self.store.is_elsewhere(&record) {
                continue;
            }
            if let Some(address) = &record.address {
                let spawner = Arc::clone(self.spawners.of_state(&record.state));
                self.answers(entry, &spawner, address, record.state.clone()).await?;
                self.open_route(key, address).await.map_err(|error| {
                    let text = "The proxy did not take the route to your server.";
                    SpawnError::broken("route", text, error.to_string()).retryable()
                })?;
                return Ok(true);
            }
            if !record.is_active() {
                return Err(record.failure.as_deref().cloned().unwrap_or_else(not_up));
            }
            break;
        }
        Ok(false)
    }
}
