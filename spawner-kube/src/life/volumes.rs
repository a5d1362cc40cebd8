//! The claims of a user, those of deleted servers included.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use hub_core::spawner::{Volume, Volumes};
use hub_core::{ServerKey, ServerName, ServerRef, UserName};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::cluster::{ApiError, Kind, Query};
use crate::slug;
use crate::spawner::KubeSpawner;
use crate::view::pod;

/// Claims of one page.
const PAGE: u32 = 250;
/// Most claims that are told of one user and namespace.
const MOST: usize = 1_000;
/// Namespaces that are asked at once.
const AT_ONCE: usize = 8;

/// How long all namespaces together have to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The servers that have a claim, by its namespace and name.
type Users = BTreeMap<(String, String), Vec<ServerName>>;

impl KubeSpawner {
    /// The claims, in the namespaces of the user's servers, that say that they are of this user.
    pub(crate) async fn list_volumes(&self, user: &UserName, servers: &[ServerRef]) -> Volumes {
        let (mut all, mut namespaces, mut users) = (Volumes::default(), BTreeSet::new(), Users::new());
        let default = self.has_one_namespace_for_all_servers().then(|| ServerRef {
            key: ServerKey::new(user.clone(), ServerName::default()),
            state: Value::Null,
            address: None,
        });
        for server in servers.iter().chain(&default) {
            match self.blueprint.existing(server) {
                Ok(known) => {
                    let legacy = known.legacy_pvc().ok().flatten();
                    for claim in std::iter::once(known.names.pvc).chain(legacy) {
                        let servers = users.entry((known.names.namespace.clone(), claim)).or_default();
                        if !servers.contains(&server.key.server) {
                            servers.push(server.key.server.clone());
                        }
                    }
                    namespaces.insert(known.names.namespace);
                }
                Err(error) => {
                    warn!(server = %server.key, error = %error.operator, "it is not known where the volumes of a server are");
                    all.unknown.push(server.key.to_string());
                }
            }
        }
        let until = Instant::now() + PATIENCE;
        let asked = stream::iter(namespaces)
            .map(|namespace| async move {
                let claims = timeout_at(until, self.claims_of(user, &namespace)).await;
                let late = |_| ApiError::Unreachable("no answer in time".to_owned());
                (claims.map_err(late).flatten(), namespace)
            })
            .buffered(AT_ONCE)
            .collect::<Vec<_>>();
        for (claims, namespace) in asked.await {
            match claims {
                Ok(claims) => all.found.extend(claims),
                Err(error) => {
                    warn!(%user, namespace, %error, "the volume claims cannot be listed");
                    all.unknown.push(namespace);
                }
            }
        }
        for volume in &mut all.found {
            let key = (volume.place.clone(), volume.name.clone());
            volume.used_by = users.remove(&key).unwrap_or_default();
        }
        all
    }

    /// Whether the namespace of a server does not depend on which one it is.
    fn has_one_namespace_for_all_servers(&self) -> bool {
        let traits = self.blueprint.traits();
        let template = &traits.user_namespace_template;
        !traits.enable_user_namespaces
            || !["server", "workspace", "userid"].iter().any(|field| template.contains(field))
    }

    async fn claims_of(&self, user: &UserName, namespace: &str) -> Result<Vec<Volume>, ApiError> {
        let query = Query {
            kind: Kind::Claim,
            namespace: namespace.to_owned(),
            labels: selector(user.as_str()),
            fields: String::new(),
        };
        let (mut found, mut more) = (Vec::new(), String::new());
        loop {
            let page = self.cluster.page(&query, PAGE, &more).await?;
            let own = page.items.iter().filter(|claim| pod::annotation(claim, pod::USER) == user.as_str());
            found.extend(own.map(|claim| volume(namespace, claim)));
            more = page.more;
            if more.is_empty() || found.len() >= MOST {
                return Ok(found);
            }
        }
    }
}

/// Claims of either scheme of names: labels cut names down, annotations tell them whole.
fn selector(user: &str) -> String {
    let mut labels = BTreeSet::from([slug::label(user)]);
    // What cannot be a label was none in the old scheme either.
    let escaped = slug::escaped(user);
    labels.extend((slug::label(&escaped) == escaped).then_some(escaped));
    let labels: Vec<String> = labels.into_iter().collect();
    format!("component=singleuser-storage,{} in ({})", pod::USER, labels.join(","))
}

fn volume(namespace: &str, claim: &Value) -> Volume {
    let some = |path: &str| claim.pointer(path).and_then(Value::as_str).map(str::to_owned);
    Volume {
        place: namespace.to_owned(),
        name: pod::name(claim).to_owned(),
        server: ServerName::stored(pod::annotation(claim, pod::SERVER)),
        used_by: Vec::new(),
        capacity: some("/status/capacity/storage").or_else(|| some("/spec/resources/requests/storage")),
        phase: some("/status/phase"),
        created: some("/metadata/creationTimestamp"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_looked_for_by_the_labels_of_both_schemes() {
        assert_eq!(selector("ann"), "component=singleuser-storage,hub.jupyter.org/username in (ann)");
        assert!(selector("ann.b").ends_with(" in (ann-2eb,ann.b)"), "{}", selector("ann.b"));
        // A name that is no label in the new scheme has a hashed one.
        let hashed = selector("ann@example.org");
        assert!(hashed.contains("(ann-40example-2eorg,ann-example-org---"), "{hashed}");
    }

    #[test]
    fn a_claim_that_is_not_bound_yet_has_the_size_that_was_asked_for() {
        let mut claim = json!({
            "metadata": { "name": "claim-ann", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": { "hub.jupyter.org/servername": "lab" } },
            "spec": { "resources": { "requests": { "storage": "1Gi" } } },
            "status": { "phase": "Pending" },
        });
        let told = volume("ns", &claim);
        assert_eq!((told.capacity.as_deref(), told.phase.as_deref()), (Some("1Gi"), Some("Pending")));
        assert_eq!((told.server.as_str(), told.place.as_str()), ("lab", "ns"));
        claim["status"]["capacity"]["storage"] = "2Gi".into();
        assert_eq!(volume("ns", &claim).capacity.as_deref(), Some("2Gi"));
    }
}
