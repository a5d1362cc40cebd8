//! What a start does about the archives of the claims that its pod mounts: a claim that is to go is not given to the next
//! server of the name, and one that a pod has is not to go.

use futures_util::future::try_join_all;
use hub_core::SpawnError;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::users::claims;
use super::{AT_FIRST, LOOK};
use crate::blueprint::failure;
use crate::causes::{Passing, Trouble};
use crate::cluster::{Kind, Object};
use crate::life::ending::failed;
use crate::life::steps::Steps;
use crate::server::Server;
use crate::spawner::KubeSpawner;

impl KubeSpawner {
    /// Before a server is given a claim: waits a little for the end of an earlier one of its name, which belonged to a
    /// server that is deleted for ever. It holds its place among the starts only for so long.
    pub(in crate::life) async fn leave_archived(
        &self,
        server: &Server,
        until: Instant,
        steps: &mut Steps<'_>,
    ) -> Result<(), SpawnError> {
        if !self.archives_claims() || !server.traits.storage_pvc_ensure {
            return Ok(());
        }
        let until = until.min(Instant::now() + AT_FIRST);
        let legacy = server.legacy_pvc().map_err(failure)?;
        for name in std::iter::once(&server.names.pvc).chain(&legacy) {
            let claim = Object { kind: Kind::Claim, namespace: &server.names.namespace, name };
            let note = self.find_note(claim).await.map_err(|error| failed(error, claim))?;
            let Some(note) = note else { continue };
            loop {
                let (why, has_failed) = match self.go_on(&note).await {
                    Ok(None) => break,
                    Ok(Some(why)) => (why, false),
                    Err(error) => (error.operator, true),
                };
                let operator = format!("{why}. To use the claim again, delete {}", note.object());
                let trouble = Trouble::new("archiving", Passing::Perhaps, ARCHIVING, operator);
                if has_failed || Instant::now() >= until {
                    return Err(refused(trouble));
                }
                steps.trouble(Some(&trouble));
                sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
            }
            steps.trouble(None);
        }
        Ok(())
    }

    /// After a pod is made: the claims that it mounts are in use again, whoever wanted them to go before, and whether or
    /// not anything is archived now.
    pub(in crate::life) async fn keep_mounted(
        &self,
        namespace: &str,
        made: &Value,
    ) -> Result<(), SpawnError> {
        let keep = claims(made).map(|name| self.keep_claim(Object { kind: Kind::Claim, namespace, name }));
        try_join_all(keep).await.map(drop)
    }

    async fn keep_claim(&self, claim: Object<'_>) -> Result<(), SpawnError> {
        let note = match self.find_note(claim).await {
            Ok(Some(note)) => note,
            Ok(None) => return Ok(()),
            // A hub that archives nothing need not have the right.
            Err(error) if error.status() == Some(403) && !self.archives_claims() => {
                debug!(%claim, %error, "it is not known whether the claim was to be archived");
                return Ok(());
            }
            Err(error) => return Err(failed(error, claim)),
        };
        if self.forget(&note).await? {
            warn!(%claim, user = note.user, server = note.server,
                "the claim of a server that was deleted for ever is in use again: it is neither archived nor deleted");
        }
        Ok(())
    }
}

const ARCHIVING: &str =
    "The files of an earlier server of this name are still being archived. Try again in a while.";

/// Nothing is wrong with the hub: such starts do not count among those that failed in a row.
fn refused(trouble: Trouble) -> SpawnError {
    let refused = SpawnError::refused(trouble.cause, trouble.user);
    SpawnError { operator: trouble.operator, ..refused }.retryable()
}

#[cfg(test)]
mod tests {
    use hub_core::SpawnFault;

    use super::*;

    #[test]
    fn a_start_that_waits_for_an_archive_is_no_fault_of_the_hub_and_may_be_tried_again() {
        let error = refused(Trouble::new("archiving", Passing::Perhaps, ARCHIVING, "why".to_owned()));
        assert_eq!((error.fault, error.retry, error.operator.as_str()), (SpawnFault::Refused, true, "why"));
        assert_eq!((error.cause.as_ref(), error.user.as_str()), ("archiving", ARCHIVING));
    }
}
