//! What becomes of the claim of a server that is deleted for ever: it is kept, deleted, or deleted once its content is
//! kept as a snapshot.

use std::time::Duration;

use hub_core::{ServerRef, SpawnError};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::ending::failed;
use crate::blueprint::failure;
use crate::cluster::{Kind, Object};
use crate::spawner::KubeSpawner;
use crate::traits::Traits;
use crate::view::pod;

/// How long a snapshot may take until it can be relied on.
const ARCHIVED_WITHIN: Duration = Duration::from_mins(5);
/// Pause between two looks at it.
const LOOK: Duration = Duration::from_secs(1);
/// Digits of a claim's id in the name of its snapshot: a later claim of the same name has a snapshot of its own.
const DIGITS: usize = 8;

impl KubeSpawner {
    /// Deletes the claim of a server that is deleted for ever, when it is the server's own: the one that is remembered,
    /// else the one that has its name, else the one that has the name of the old scheme.
    pub(crate) async fn delete_claim(&self, server: &ServerRef) -> Result<(), SpawnError> {
        let known = self.blueprint.existing(server)?;
        // A group or profile may have asked for a claim that the options of all do not ask for.
        if !(known.traits.storage_pvc_ensure || known.pvc_known) || !known.deletes_pvc() {
            return Ok(());
        }
        let legacy = known.legacy_pvc().map_err(failure)?;
        for name in std::iter::once(&known.names.pvc).chain(&legacy) {
            let object = Object { kind: Kind::Claim, namespace: &known.names.namespace, name };
            let claim = self.cluster.get(object).await.map_err(|error| failed(error, object))?;
            if let Some(claim) = claim {
                return self.delete_own_claim(server, object, &claim).await;
            }
        }
        Ok(())
    }

    async fn delete_own_claim(
        &self,
        server: &ServerRef,
        object: Object<'_>,
        claim: &Value,
    ) -> Result<(), SpawnError> {
        let owner = pod::annotation(claim, pod::USER);
        if owner != server.key.user.as_str() {
            warn!(server = %server.key, claim = %object, "the claim does not say that it is of this user; keeping it");
            return Ok(());
        }
        self.archive(object, claim).await?;
        let deleted = self.cluster.delete(object, None, Some(pod::uid(claim))).await;
        if deleted.map_err(|error| failed(error, object))? {
            info!(server = %server.key, claim = %object, "volume claim deleted");
        }
        Ok(())
    }

    /// Keeps the content of a claim as a snapshot, where that is wanted, and waits until it can be relied on.
    async fn archive(&self, claim: Object<'_>, found: &Value) -> Result<(), SpawnError> {
        let traits = self.blueprint.traits();
        if !traits.archive_pvc {
            return Ok(());
        }
        let manifest = snapshot(traits, found);
        let object = Object { kind: Kind::Snapshot, name: pod::name(&manifest), ..claim };
        match self.cluster.create(object.kind, object.namespace, &manifest).await {
            Ok(_) => info!(snapshot = %object, %claim, "keeping the content of a claim"),
            // An earlier try has made it.
            Err(error) if error.status() == Some(409) => {}
            Err(error) => {
                let mut error = failed(error, object);
                error
                    .operator
                    .push_str("; `archive_pvc` needs the snapshot API of the cluster and rights on it");
                return Err(error);
            }
        }
        let until = Instant::now() + ARCHIVED_WITHIN;
        loop {
            let made = self.cluster.get(object).await.map_err(|error| failed(error, object))?;
            let of = |pointer: &str| made.as_ref().and_then(|made| made.pointer(pointer));
            if of("/status/readyToUse").and_then(Value::as_bool) == Some(true) {
                return Ok(());
            }
            if Instant::now() >= until {
                let reason =
                    of("/status/error/message").and_then(Value::as_str).unwrap_or("no reason is told");
                let operator = format!("{object} is not ready: {reason}; {claim} is kept");
                let user = "The files of the server could not be archived, so they are kept as they are.";
                return Err(SpawnError::broken("not-archived", user, operator).retryable());
            }
            sleep(LOOK).await;
        }
    }
}

/// The snapshot of a claim. It says whose it is, as the claim does.
fn snapshot(traits: &Traits, claim: &Value) -> Value {
    let id: String = pod::uid(claim).chars().filter(char::is_ascii_alphanumeric).take(DIGITS).collect();
    let mut spec = json!({ "source": { "persistentVolumeClaimName": pod::name(claim) } });
    if let Some(class) = &traits.archive_snapshot_class {
        spec["volumeSnapshotClassName"] = class.as_str().into();
    }
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {
            "name": format!("{}-{id}", pod::name(claim)),
            "labels": traits.common_labels,
            "annotations": {
                (pod::USER): pod::annotation(claim, pod::USER),
                (pod::SERVER): pod::annotation(claim, pod::SERVER),
            },
        },
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_of_one_claim_and_says_whose_it_is() {
        let claim = json!({ "metadata": { "name": "claim-ann", "uid": "0123-4567-89ab",
            "annotations": { "hub.jupyter.org/username": "ann", "hub.jupyter.org/servername": "" } } });
        let made = snapshot(&Traits::default(), &claim);
        assert_eq!(pod::name(&made), "claim-ann-01234567");
        assert_eq!(pod::annotation(&made, pod::USER), "ann");
        assert_eq!(made["spec"], json!({ "source": { "persistentVolumeClaimName": "claim-ann" } }));
        let class = Some("slow".to_owned());
        let made = snapshot(&Traits { archive_snapshot_class: class, ..Traits::default() }, &claim);
        assert_eq!(made["spec"]["volumeSnapshotClassName"], "slow");
    }
}
