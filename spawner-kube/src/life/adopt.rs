//! Looking at a server, and finding it again after the hub was away.

use std::sync::Arc;
use std::time::Duration;

use hub_core::{Adoption, PollStatus, ServerRef, SpawnError, Started};
use serde_json::Value;
use tracing::{info, warn};

use super::ending::{failed, is_ours};
use super::ready::exit_of;
use crate::blueprint::failure;
use crate::cluster::{Kind, Object};
use crate::server::Server;
use crate::spawner::KubeSpawner;
use crate::state::{LAUNCH, SavedState};
use crate::status::is_running;
use crate::view::pod;

/// How long a look waits for the first list of a namespace.
const PATIENCE: Duration = Duration::from_secs(20);

impl KubeSpawner {
    /// The pod of a server; an error when it is not known what there is.
    async fn find(&self, server: &ServerRef) -> Result<(Server, Option<Arc<Value>>), SpawnError> {
        let known = self.blueprint.existing(server)?;
        let object = Object { kind: Kind::Pod, namespace: &known.names.namespace, name: &known.names.pod };
        let space = self.view.space(object.namespace);
        space.ready(PATIENCE).await.map_err(|error| failed(error, object))?;
        let found = space.pod(object.name).map_err(|error| failed(error, object))?;
        let found = found.filter(|found| is_ours(found, &server.key));
        Ok((known, found))
    }

    pub(crate) async fn poll_server(&self, server: &ServerRef) -> Result<PollStatus, SpawnError> {
        let (known, found) = self.find(server).await?;
        Ok(exit_of(found.as_deref(), &known.traits).map_or(PollStatus::Running, PollStatus::Exited))
    }

    pub(crate) async fn adopt_server(&self, server: &ServerRef) -> Result<Adoption, SpawnError> {
        let (known, found) = self.find(server).await?;
        let saved = SavedState::read(&server.state);
        // Stock stores no address either while it starts a server, but its starts cannot be gone on with.
        let starting = server.address.is_none() && saved.other.contains_key(LAUNCH);
        let Some(found) = found else {
            let exit = exit_of(None, &known.traits).unwrap_or_default();
            return Ok(if starting { Adoption::Starting } else { Adoption::Gone(exit) });
        };
        if let Some(exit) = exit_of(Some(&found), &known.traits) {
            return Ok(Adoption::Gone(exit));
        }
        // It is on its way out: a hub was killed while it stopped the server, or somebody deleted the pod.
        if pod::is_ending(&found) {
            return Ok(Adoption::Gone(exit_of(None, &known.traits).unwrap_or_default()));
        }
        if is_running(&found, known.traits.ready_when) || !starting {
            let running = pod::text(&found, "/status/podIP");
            if running.is_empty() && server.address.is_none() {
                return Ok(Adoption::Gone(exit_of(None, &known.traits).unwrap_or_default()));
            }
            let address = match &server.address {
                // The pod's own address may be missing while its container is started again.
                Some(address) if running.is_empty() => address.clone(),
                _ => known.address(&found).map_err(failure)?,
            };
            let mut state = known.state();
            state.other = saved.other;
            return Ok(Adoption::Running(Started { address, state: state.to_json(), api_token: None }));
        }
        Ok(Adoption::Starting)
    }

    /// Deletes the claim of a server that is deleted for ever, when it is the server's own.
    pub(crate) async fn delete_claim(&self, server: &ServerRef) -> Result<(), SpawnError> {
        let known = self.blueprint.existing(server)?;
        if !known.traits.storage_pvc_ensure || !known.deletes_pvc() {
            return Ok(());
        }
        let object = Object { kind: Kind::Claim, namespace: &known.names.namespace, name: &known.names.pvc };
        let error = |error| failed(error, object);
        let Some(claim) = self.cluster.get(object).await.map_err(error)? else { return Ok(()) };
        let owner = pod::annotation(&claim, pod::USER);
        if owner != server.key.user.as_str() {
            warn!(server = %server.key, claim = %object, "the claim does not say that it is of this user; keeping it");
            return Ok(());
        }
        if self.cluster.delete(object, None, Some(pod::uid(&claim))).await.map_err(error)? {
            info!(server = %server.key, claim = %object, "volume claim deleted");
        }
        Ok(())
    }
}
