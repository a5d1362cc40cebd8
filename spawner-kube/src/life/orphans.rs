//! Pods of this hub that no server of it knows any more: a stop that failed while the row was deleted, say.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hub_core::{ServerKey, ServerRef};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::cluster::{Kind, Object};
use crate::spawner::KubeSpawner;
use crate::view::pod;

/// Pods that were unknown to the hub at the last look, by uid, and since when.
#[derive(Debug, Default)]
pub(crate) struct Suspects(HashMap<String, Instant>);

impl KubeSpawner {
    /// Deletes pods that carry this hub's own mark, belong to none of the `known` servers, neither by name nor by
    /// owner, and have done so for the whole of `orphan_grace`. A pod without the mark is never touched.
    pub(crate) async fn collect(&self, known: &[ServerRef]) {
        let Ok(seconds) = u64::try_from(self.blueprint.traits().orphan_grace) else { return };
        let Some(hub) = self.hub.as_deref().filter(|_| seconds > 0) else { return };
        let grace = Duration::from_secs(seconds);
        let mut names: HashSet<(String, String)> = HashSet::with_capacity(known.len());
        let mut keys: HashSet<&ServerKey> = HashSet::with_capacity(known.len());
        for server in known {
            let Ok(server_names) = self.blueprint.existing(server).map(|existing| existing.names) else {
                // Its pod cannot be told from an orphan.
                return;
            };
            names.insert((server_names.namespace, server_names.pod));
            keys.insert(&server.key);
        }
        let mut suspects = self.suspects.lock().await;
        let mut still = HashMap::new();
        for space in self.view.spaces() {
            for found in space.pods().unwrap_or_default() {
                let ours = pod::annotation(&found, pod::HUB) == hub;
                let name = (space.namespace().to_owned(), pod::name(&found).to_owned());
                let owned = pod::key(&found).is_none_or(|key| keys.contains(&key));
                if !ours || owned || names.contains(&name) || pod::is_ending(&found) {
                    continue;
                }
                let uid = pod::uid(&found);
                let since = suspects.0.get(uid).copied();
                still.insert(uid.to_owned(), since.unwrap_or_else(Instant::now));
                if since.is_none_or(|since| since.elapsed() < grace) {
                    continue;
                }
                let object = Object { kind: Kind::Pod, namespace: space.namespace(), name: &name.1 };
                info!(pod = %object, "no server of this hub knows the pod; deleting it");
                if let Err(error) = self.cluster.delete(object, None, Some(uid)).await {
                    warn!(pod = %object, %error, "the pod cannot be deleted; the next look tries again");
                }
            }
        }
        suspects.0 = still;
    }
}
