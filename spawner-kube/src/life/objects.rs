//! The objects of a server in the cluster, made with stock's rules about what is there already.

use std::sync::Arc;

use hub_core::spawner::Phase;
use hub_core::{ServerKey, SpawnError, StopMode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tracing::info;

use super::ending::failed;
use super::start::Launch;
use super::steps::Steps;
use crate::blueprint::failure;
use crate::causes::{Passing, Trouble};
use crate::cluster::{ApiError, Kind, Object};
use crate::pause::Pause;
use crate::server::Server;
use crate::spawner::KubeSpawner;
use crate::status::end_of;
use crate::view::{Follow, pod};

/// Pauses between two tries to take a name that is in use.
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
const LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_secs(2);

impl KubeSpawner {
    /// The namespace of a server, where each has its own.
    pub(super) async fn ensure_namespace(&self, server: &Server) -> Result<(), SpawnError> {
        let traits = &server.traits;
        if !traits.enable_user_namespaces || !traits.create_namespaces {
            return Ok(());
        }
        let manifest = server.namespace_manifest().map_err(failure)?;
        let name = server.names.namespace.as_str();
        match self.cluster.create(Kind::Namespace, "", &manifest).await {
            Ok(_) => info!(namespace = name, "namespace made"),
            Err(error) if error.status() == Some(409) => {}
            Err(error) => {
                let object = Object { kind: Kind::Namespace, namespace: "", name };
                let mut error = failed(error, object);
                if error.cause == "forbidden" {
                    error.operator.push_str(
                        "; when namespaces are made by somebody else, set `create_namespaces = false`",
                    );
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// The claim of a server: the one that it had before, under whichever scheme, else a new one.
    pub(super) async fn ensure_claim(&self, server: &mut Server) -> Result<(), SpawnError> {
        if !server.traits.storage_pvc_ensure {
            return Ok(());
        }
        let namespace = server.names.namespace.clone();
        if let Some(legacy) = server.legacy_pvc().map_err(failure)? {
            let name = server.names.pvc.clone();
            let (new, old) = (claim(&namespace, &name), claim(&namespace, &legacy));
            let is_new = self.cluster.get(new).await.map_err(|error| failed(error, new))?.is_some();
            let is_old =
                !is_new && self.cluster.get(old).await.map_err(|error| failed(error, old))?.is_some();
            if is_old {
                info!(claim = legacy, namespace, "a claim of the old naming scheme is kept in use");
                server.names.pvc.clone_from(&legacy);
            }
        }
        let manifest = server.pvc_manifest().map_err(failure)?;
        let object = claim(&namespace, &server.names.pvc);
        match self.cluster.create(Kind::Claim, &namespace, &manifest).await {
            Ok(_) => info!(claim = %object, "volume claim made"),
            Err(error) if error.status() == Some(409) => {}
            // A quota may be full although, or because, the claim is there.
            Err(error) if error.status() == Some(403) => {
                let there = self.cluster.get(object).await.map_err(|error| failed(error, object))?;
                if there.is_none() {
                    return Err(failed(error, object));
                }
            }
            Err(error) => return Err(failed(error, object)),
        }
        server.pvc_known = true;
        Ok(())
    }

    /// The pod of this launch: made, or found when an earlier try has made it already. A pod of an earlier run of the
    /// same server makes way; a foreign one is left alone.
    pub(super) async fn ensure_pod(
        self: &Arc<Self>,
        key: &ServerKey,
        launch: &Launch,
        manifest: Value,
        follow: &mut Follow,
        steps: &mut Steps<'_>,
    ) -> Result<Value, SpawnError> {
        let namespace = launch.namespace.as_str();
        let object = Object { kind: Kind::Pod, namespace, name: &launch.pod };
        let manifest = Arc::new(manifest);
        let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let error = match self.create_pod(namespace, &launch.pod, &manifest).await {
                Ok(made) => return Ok(made),
                Err(error) if error.status() == Some(409) => error,
                Err(error) => return Err(failed(error, object)),
            };
            match self.cluster.get(object).await.map_err(|error| failed(error, object))? {
                Some(found) if launch.made(&found) && is_alive(&found) => return Ok(found),
                Some(found) if !self.owns_launch(&found, key, Some(&launch.id)) => {
                    return Err(foreign(object));
                }
                Some(found) => {
                    steps.detail(Phase::Preparing, "Waiting for an older server of yours to end.");
                    let ending = self.ending(StopMode::Graceful);
                    let ended = self.end(object, &found, ending, follow).await;
                    ended.map_err(|error| failed(error, object))?;
                }
                // 409 is also said when a quota was counted by two at once.
                None => steps.trouble(Some(&error.into_trouble(&object.to_string()))),
            }
            sleep(pause.next()).await;
        }
    }

    /// Creates a pod in a task of its own: a start that is cancelled meanwhile does not leave it open whether there
    /// will be a pod, and the stop that follows waits for the answer.
    async fn create_pod(
        self: &Arc<Self>,
        namespace: &str,
        name: &str,
        manifest: &Arc<Value>,
    ) -> Result<Value, ApiError> {
        let held = self.locks.hold(&Object { kind: Kind::Pod, namespace, name }.to_string()).await;
        let (spawner, manifest, namespace) = (Arc::clone(self), Arc::clone(manifest), namespace.to_owned());
        let creating = tokio::spawn(async move {
            let made = spawner.cluster.create(Kind::Pod, &namespace, &manifest).await;
            drop(held);
            made
        });
        creating.await.unwrap_or_else(|lost| Err(ApiError::Unreachable(lost.to_string())))
    }

    /// The service of a server, where servers are reached by one.
    pub(super) async fn ensure_service(
        &self,
        server: &Server,
        key: &ServerKey,
        made: &Value,
        until: Instant,
    ) -> Result<(), SpawnError> {
        if !(server.traits.services_enabled || server.facts.tls) {
            return Ok(());
        }
        let manifest = server.service_manifest(made, pod::uid(made)).map_err(failure)?;
        let namespace = server.names.namespace.as_str();
        let object = Object { kind: Kind::Service, namespace, name: pod::name(made) };
        self.ensure_owned(object, &manifest, key, made, until).await
    }

    /// An object that belongs to the pod and goes with it. One of an earlier pod makes way.
    pub(super) async fn ensure_owned(
        &self,
        object: Object<'_>,
        manifest: &Value,
        key: &ServerKey,
        made: &Value,
        until: Instant,
    ) -> Result<(), SpawnError> {
        let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let error = match self.cluster.create(object.kind, object.namespace, manifest).await {
                Ok(_) => return Ok(()),
                Err(error) if error.status() == Some(409) => error,
                Err(error) => return Err(failed(error, object)),
            };
            // That of an earlier pod, which the cluster has not cleared away yet.
            let found = self.cluster.get(object).await.map_err(|error| failed(error, object))?;
            if let Some(found) = found {
                if owned_by(&found, pod::uid(made)) {
                    return Ok(());
                }
                if !pod::belongs_to(&found, key) {
                    return Err(foreign(object));
                }
                let deleted = self.cluster.delete(object, None, Some(pod::uid(&found))).await;
                deleted.map_err(|error| failed(error, object))?;
            }
            if Instant::now() >= until {
                return Err(failed(error, object));
            }
            sleep(pause.next()).await;
        }
    }
}

fn claim<'a>(namespace: &'a str, name: &'a str) -> Object<'a> {
    Object { kind: Kind::Claim, namespace, name }
}

/// Whether an object goes with a pod.
fn owned_by(object: &Value, uid: &str) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.is_some_and(|owners| owners.iter().any(|owner| pod::text(owner, "/uid") == uid))
}

fn foreign(object: Object<'_>) -> SpawnError {
    let user = "Something else in the cluster has the name that your server should have.";
    let operator = format!(
        "{object} is there and is not of this server and this hub, by its annotations; it is left alone. Remove it, \
         or change `pod_name_template`"
    );
    Trouble::new("conflict", Passing::Never, user, operator).into_error()
}

/// Marks a pod as made by one start of one hub.
pub(super) fn mark(manifest: &mut Value, launch: &Launch, hub: Option<&str>) {
    let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(pod::LAUNCH.to_owned(), launch.id.clone().into());
        if let Some(hub) = hub {
            annotations.insert(pod::HUB.to_owned(), hub.into());
        }
    }
}

/// Whether a pod can still become, or is, a running server.
pub(super) fn is_alive(found: &Value) -> bool {
    !pod::is_ending(found) && end_of(found).is_none()
}
