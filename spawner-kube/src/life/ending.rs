//! Ending a pod: politely, after a while by force, and never for ever.

use std::time::Duration;

use hub_core::{ServerKey, ServerRef, SpawnError, StopMode};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::cluster::{ApiError, Kind, Object};
use crate::spawner::KubeSpawner;
use crate::state::{LAUNCH, SavedState};
use crate::status::end_of;
use crate::view::{Follow, pod};

/// How long the view may take to tell that a pod is gone, beyond the pod's own time.
const SLACK: Duration = Duration::from_secs(5);
/// Pause between two looks when the view cannot be relied on.
const LOOK: Duration = Duration::from_secs(2);

/// How a pod is to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Seconds that it has; none for the pod's own.
    pub(super) grace: Option<i64>,
    /// How long it may go beyond that, before it is deleted by force; none never.
    pub(super) force: Option<Duration>,
}

impl KubeSpawner {
    pub(crate) async fn stop_server(&self, server: &ServerRef, mode: StopMode) -> Result<(), SpawnError> {
        let known = self.blueprint.existing(server)?;
        let (namespace, name) = (&known.names.namespace, &known.names.pod);
        let object = Object { kind: Kind::Pod, namespace, name };
        // A start that was cancelled may still be creating the pod.
        let _held = self.locks.hold(&object.to_string()).await;
        let space = self.view.space(namespace);
        let mut follow = space.follow(name);
        let found = self.cluster.get(object).await.map_err(|error| failed(error, object))?;
        let Some(found) = found.filter(|found| self.owns(found, server)) else { return Ok(()) };
        let traits = self.blueprint.traits();
        if !traits.delete_stopped_pods && end_of(&found).is_some() {
            info!(server = %server.key, pod = name, "the pod has ended and is kept, as delete_stopped_pods says");
            return Ok(());
        }
        let ending = self.ending(mode);
        self.end(object, &found, ending, &mut follow).await.map_err(|error| failed(error, object))
    }

    /// Whether a pod is the server's own. Others are never touched, whatever their name.
    pub(super) fn owns(&self, found: &Value, server: &ServerRef) -> bool {
        let saved = SavedState::read(&server.state);
        self.owns_launch(found, &server.key, saved.other.get(LAUNCH).and_then(Value::as_str))
    }

    /// Whether a pod is of this server by its annotations, and not that of another hub for a person of the same name. A
    /// pod of the start that is remembered is ours, whatever this hub was called then.
    pub(super) fn owns_launch(&self, found: &Value, key: &ServerKey, launch: Option<&str>) -> bool {
        let mark = pod::annotation(found, pod::HUB);
        let elsewhere = self.hub.as_deref().is_some_and(|hub| !mark.is_empty() && mark != hub);
        let remembered = launch.is_some_and(|launch| pod::annotation(found, pod::LAUNCH) == launch);
        let ours = pod::belongs_to(found, key) && (!elsewhere || remembered);
        if !ours {
            let pod = pod::name(found);
            warn!(server = %key, pod, "a pod of this name is not of this server; leaving it alone");
        }
        ours
    }

    /// How pods end.
    pub(super) fn ending(&self, mode: StopMode) -> Ending {
        let traits = self.blueprint.traits();
        let own = traits.extra_pod_config.contains_key("terminationGracePeriodSeconds")
            || traits.extra_pod_config.contains_key("termination_grace_period_seconds");
        let grace = match mode {
            StopMode::Now => Some(0),
            // A pod that was given a time of its own keeps it, unless the option says another one.
            StopMode::Graceful if own && traits.delete_grace_period == DEFAULT_GRACE => None,
            StopMode::Graceful => Some(traits.delete_grace_period),
        };
        let force = u64::try_from(traits.force_delete_after).ok().filter(|seconds| *seconds > 0);
        Ending { grace, force: force.map(Duration::from_secs) }
    }

    /// Deletes exactly one pod and waits until it is gone. A pod that stays although it was deleted by force is left to
    /// the cluster: nobody waits for it any more.
    pub(super) async fn end(
        &self,
        object: Object<'_>,
        found: &Value,
        ending: Ending,
        follow: &mut Follow,
    ) -> Result<(), ApiError> {
        let uid = pod::uid(found);
        if !self.cluster.delete(object, ending.grace, Some(uid)).await? {
            return Ok(());
        }
        let own = || found.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
        let asked = ending.grace.or_else(own).unwrap_or(USUAL_GRACE);
        let grace = Duration::from_secs(u64::try_from(asked).unwrap_or_default());
        let patience = ending.force.unwrap_or(UNFORCED);
        if self.gone(object, uid, grace + patience, follow).await? {
            return Ok(());
        }
        if ending.force.is_some() {
            warn!(pod = %object, "the pod did not end in its time; deleting it by force");
            self.cluster.delete(object, Some(0), Some(uid)).await?;
            if self.gone(object, uid, SLACK, follow).await? {
                return Ok(());
            }
        }
        warn!(pod = %object, "the pod is still there; the cluster was told to end it and is not waited for any longer");
        Ok(())
    }

    /// Whether the pod goes within `limit`.
    async fn gone(
        &self,
        object: Object<'_>,
        uid: &str,
        limit: Duration,
        follow: &mut Follow,
    ) -> Result<bool, ApiError> {
        let until = Instant::now() + limit;
        let mut ask = Instant::now();
        let mut seen = false;
        let there = |found: Option<&Value>| found.is_some_and(|found| pod::uid(found) == uid);
        loop {
            let sure = match follow.pod() {
                Ok(found) if there(found.as_deref()) => {
                    seen = true;
                    true
                }
                Ok(_) if seen => return Ok(true),
                // The view has not heard of the pod yet, or of nothing.
                Ok(_) | Err(_) => false,
            };
            if !sure && Instant::now() >= ask {
                if !there(self.cluster.get(object).await?.as_ref()) {
                    return Ok(true);
                }
                ask = Instant::now() + LOOK;
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            let wake = if sure { until } else { until.min(ask) };
            tokio::select! {
                () = follow.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }
}

/// Stock's default of `delete_grace_period`.
const DEFAULT_GRACE: i64 = 1;
/// Kubernetes' own time for pods that say nothing, in seconds.
const USUAL_GRACE: i64 = 30;
/// How long a pod is waited for that is never deleted by force.
const UNFORCED: Duration = Duration::from_mins(1);

pub(super) fn failed(error: ApiError, object: Object<'_>) -> SpawnError {
    error.into_trouble(&object.to_string()).into_error()
}
