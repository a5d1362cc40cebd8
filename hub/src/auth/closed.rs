//! Accounts that are closed where people log in: their owners go out within the pause between two looks.

use std::collections::BTreeSet;
use std::time::Duration;

use hub_core::{AuthError, Revocation};
use tracing::{error, info, warn};

use super::revoke::{known_accounts, revoke_all};
use crate::app::Hub;

/// What is remembered of a closed account, so that nobody is logged out twice for one closing.
fn key(closed: &Revocation) -> (String, Option<String>) {
    (closed.issuer.clone(), closed.subject.clone())
}

/// The accounts that are closed, and those that were deleted.
async fn look(hub: &Hub) -> Result<Vec<Revocation>, AuthError> {
    let authenticator = &hub.auth.authenticator;
    let mut found = authenticator.closed_accounts().await?;
    if found.some_may_be_gone {
        let known = known_accounts(hub).await.map_err(|error| AuthError::Unavailable(error.to_string()))?;
        found.closed.extend(authenticator.gone_accounts(&known).await?);
    }
    Ok(found.closed)
}

/// Asks again and again, for as long as the hub runs.
pub async fn watch(hub: &Hub, every: Duration) {
    let mut done = BTreeSet::new();
    let mut is_away = false;
    loop {
        tokio::time::sleep(every).await;
        let closed = match look(hub).await {
            Ok(closed) => closed,
            Err(error) => {
                if !is_away {
                    warn!(%error, "cannot ask which accounts are closed; until it works, their owners stay in");
                }
                is_away = true;
                continue;
            }
        };
        if is_away {
            info!("it is known again which accounts are closed");
        }
        is_away = false;
        let fresh: Vec<Revocation> = closed.iter().filter(|one| !done.contains(&key(one))).cloned().collect();
        if !fresh.is_empty() {
            match revoke_all(hub, &fresh).await {
                Ok(ended) => info!(accounts = fresh.len(), ended, "accounts were closed where people log in"),
                // Asked for again by the next look.
                Err(error) => {
                    error!(%error, "the logins of closed accounts cannot be ended");
                    continue;
                }
            }
        }
        // Accounts that are gone are not told of again, and nobody comes back by one.
        done = closed.iter().map(key).collect();
    }
}
