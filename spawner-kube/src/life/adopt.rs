//! Looking at a server, and finding it again after the hub was away.

use std::sync::Arc;
use std::time::Duration;

use hub_core::{Adoption, PollStatus, ServerRef, SpawnError, Started};
use serde_json::Value;

use super::ending::failed;
use super::ready::{exit_of, exit_without};
use crate::blueprint::failure;
use crate::cluster::{Kind, Object};
use crate::server::Server;
use crate::spawner::KubeSpawner;
use crate::state::{LAUNCH, SavedState};
use crate::status::is_running;
use crate::view::pod;

/// How long a look waits for the first list of a namespace.
const PATIENCE: Duration = Duration::from_secs(20);

/// What there is of a server.
struct Finding {
    known: Server,
    /// Its pod.
    pod: Option<Arc<Value>>,
    /// What was last known of its pod when that is gone.
    last: Option<Arc<Value>>,
}

impl KubeSpawner {
    /// The pod of a server; an error when it is not known what there is.
    async fn find(&self, server: &ServerRef) -> Result<Finding, SpawnError> {
        let known = self.blueprint.existing(server)?;
        let object = Object { kind: Kind::Pod, namespace: &known.names.namespace, name: &known.names.pod };
        let space = self.view.space(object.namespace);
        space.ready(PATIENCE).await.map_err(|error| failed(error, object))?;
        let found = space.pod(object.name).map_err(|error| failed(error, object))?;
        let pod = found.filter(|found| self.owns(found, server));
        let last = space.last_of(object.name).filter(|last| pod::belongs_to(last, &server.key));
        Ok(Finding { known, pod, last })
    }

    pub(crate) async fn poll_server(&self, server: &ServerRef) -> Result<PollStatus, SpawnError> {
        let Finding { known, pod, last } = self.find(server).await?;
        let exit = match &pod {
            Some(found) => exit_of(found, &known.traits),
            None => Some(exit_without(last.as_deref())),
        };
        Ok(exit.map_or(PollStatus::Running, PollStatus::Exited))
    }

    pub(crate) async fn adopt_server(&self, server: &ServerRef) -> Result<Adoption, SpawnError> {
        let Finding { known, pod, last } = self.find(server).await?;
        let saved = SavedState::read(&server.state);
        // Stock stores no address either while it starts a server, but its starts cannot be gone on with.
        let starting = server.address.is_none() && saved.other.contains_key(LAUNCH);
        let Some(found) = pod else {
            let exit = exit_without(last.as_deref());
            return Ok(if starting { Adoption::Starting } else { Adoption::Gone(exit) });
        };
        if let Some(exit) = exit_of(&found, &known.traits) {
            return Ok(Adoption::Gone(exit));
        }
        // It is on its way out: a hub was killed while it stopped the server, or somebody deleted the pod.
        if pod::is_ending(&found) {
            return Ok(Adoption::Gone(exit_without(Some(&found))));
        }
        if is_running(&found, known.traits.ready_when) || !starting {
            let running = pod::text(&found, "/status/podIP");
            if running.is_empty() && server.address.is_none() {
                return Ok(Adoption::Gone(exit_without(None)));
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
}
