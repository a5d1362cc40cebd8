//! What becomes of the claim of a server that is deleted for ever: it is kept, deleted, or deleted once its content is
//! kept as a snapshot.

use hub_core::{ServerRef, SpawnError};
use serde_json::Value;
use tracing::{info, warn};

use super::archive::has_content;
use super::ending::failed;
use crate::blueprint::failure;
use crate::cluster::{Kind, Object};
use crate::spawner::KubeSpawner;
use crate::view::pod;

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
        if self.archives_claims() && has_content(claim) && !pod::is_ending(claim) {
            return self.archive(server, object, claim).await;
        }
        let deleted = self.cluster.delete(object, None, Some(pod::uid(claim))).await;
        if deleted.map_err(|error| failed(error, object))? {
            info!(server = %server.key, claim = %object, "volume claim deleted");
        }
        Ok(())
    }
}
