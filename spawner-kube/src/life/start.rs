//! One start. Answers to `KubeSpawner._start`, with two differences: the state is stored before anything is made, and
//! every pod carries the id of its start, so that a hub which was killed at any step is followed by one that goes on.

use std::sync::Arc;
use std::time::Duration;

use hub_core::secret::ExposeSecret as _;
use hub_core::spawner::Phase;
use hub_core::{SpawnError, StartJob, StartSink, Started};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tracing::info;

use super::ending::failed;
use super::objects::{is_alive, mark};
use super::ready::Wait;
use super::steps::Steps;
use super::token;
use crate::blueprint::failure;
use crate::causes::Trouble;
use crate::cluster::{ApiError, Kind, Object};
use crate::server::Server;
use crate::spawner::KubeSpawner;
use crate::state::{LAUNCH, OPTIONS, SavedState, TLS};
use crate::status::is_running;
use crate::view::{Follow, Space, pod};

/// How long before the hub's own limit a start gives up, so that the reason is told rather than only the time.
const MARGIN: Duration = Duration::from_secs(1);
/// After so long people are told that the cluster does not answer.
const SILENCE: Duration = Duration::from_secs(3);

/// What tells one start from another.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) id: String,
    /// Digest of the options: a start with other options does not go on with what this one began.
    options: String,
    pub(super) namespace: String,
    pub(super) pod: String,
}

impl Launch {
    /// Whether a pod was made by this start.
    pub(super) fn made(&self, found: &Value) -> bool {
        pod::annotation(found, pod::LAUNCH) == self.id
    }

    /// The state that lets another hub go on.
    fn state(&self, server: &Server) -> Value {
        let mut state = server.state();
        state.other.insert(LAUNCH.to_owned(), self.id.clone().into());
        state.other.insert(OPTIONS.to_owned(), self.options.clone().into());
        if server.facts.tls {
            state.other.insert(TLS.to_owned(), true.into());
        }
        state.to_json()
    }
}

impl KubeSpawner {
    pub(crate) async fn start_server(
        self: &Arc<Self>,
        job: &StartJob,
        sink: &dyn StartSink,
    ) -> Result<Started, SpawnError> {
        let limit = job.timeout.saturating_sub(MARGIN).max(job.timeout / 2);
        let until = Instant::now() + limit;
        let mut planned = self.blueprint.plan(job)?;
        let launch = take_names(&mut planned.server, job);
        let mut steps = Steps::new(sink, &planned.server.traits);
        sink.save_state(launch.state(&planned.server)).await?;

        steps.detail(Phase::Preparing, "Asking the cluster.");
        self.ensure_namespace(&planned.server).await?;
        let space = self.view.space(&launch.namespace);
        let object = Object { kind: Kind::Pod, namespace: &launch.namespace, name: &launch.pod };
        ready(&space, until, &mut steps, object).await?;
        let mut follow = self.view.follow(&space, &launch.pod).await;

        let made = if let Some(found) = self.left_running(job, &launch, &follow).await? {
            info!(server = %job.key, pod = launch.pod, "a server of this name runs already; taking it over");
            found
        } else {
            self.leave_archived(&planned.server, until, &mut steps).await?;
            self.ensure_claim(&mut planned.server).await?;
            if planned.server.pvc_known {
                sink.save_state(launch.state(&planned.server)).await?;
            }
            let mut manifest = planned.pod()?;
            if planned.server.traits.token_secret {
                token::hide(&mut manifest, &launch.pod);
            }
            mark(&mut manifest, &launch, self.hub.as_deref());
            if planned.server.traits.check_images {
                steps.detail(Phase::Preparing, "Asking for the image of the server.");
                let asked = self.registries.trouble(&self.cluster, &launch.namespace, &manifest).await;
                if let Some(trouble) = asked {
                    return Err(trouble.into_error());
                }
            }
            steps.detail(Phase::Preparing, "Making the pod of the server.");
            self.ensure_pod(&job.key, &launch, manifest, &mut follow, &mut steps).await?
        };
        self.keep_mounted(&launch.namespace, &made).await?;
        let server = &planned.server;
        if server.traits.token_secret {
            self.ensure_token(server, job, &made, until).await?;
        }
        // In stock's order: the secret, then the service.
        self.ensure_certificates(server, job, &made, until).await?;
        self.ensure_service(server, &job.key, &made, until).await?;
        let wait = Wait {
            cluster: &self.cluster,
            traits: &server.traits,
            namespace: &launch.namespace,
            name: &launch.pod,
            uid: pod::uid(&made),
            until,
            limit,
        };
        let up = wait.ready(&mut follow, &mut steps).await?;
        let address = server.address(&up).map_err(failure)?;
        let token = self.token_of(&made).await.map_err(|error| failed(error, object))?;
        let api_token = token.filter(|token| token.expose_secret() != job.api_token.expose_secret());
        Ok(Started { address, state: launch.state(server), api_token })
    }

    /// A server that this hub has started and does not remember, because its database was lost: people go on with it.
    /// What a hub remembers is another matter: there a start begins anew.
    async fn left_running(
        &self,
        job: &StartJob,
        launch: &Launch,
        follow: &Follow,
    ) -> Result<Option<Value>, SpawnError> {
        if SavedState::read(&job.state) != SavedState::default() {
            return Ok(None);
        }
        let ready_when = self.blueprint.traits().ready_when;
        let usable = |found: &Value| {
            !pod::annotation(found, pod::LAUNCH).is_empty()
                && self.hub.as_deref().is_some_and(|hub| pod::annotation(found, pod::HUB) == hub)
                && pod::belongs_to(found, &job.key)
                && is_alive(found)
                && is_running(found, ready_when)
        };
        if !matches!(follow.pod(), Ok(Some(found)) if usable(&found)) {
            return Ok(None);
        }
        let object = Object { kind: Kind::Pod, namespace: &launch.namespace, name: &launch.pod };
        let found = self.cluster.get(object).await.map_err(|error| failed(error, object))?;
        // One that was made before `internal_ssl` was switched cannot talk to this hub.
        let speaks_tls = |found: &Value| pod::has_certificates(found) == self.certificates.is_some();
        let Some(found) = found.filter(|found| usable(found) && speaks_tls(found)) else { return Ok(None) };
        let token = self.token_of(&found).await.map_err(|error| failed(error, object))?;
        // Without its token the server could not be let in.
        Ok(token.is_some().then_some(found))
    }
}

/// Waits for the view of a namespace; people are told when that takes long.
async fn ready(
    space: &Space,
    until: Instant,
    steps: &mut Steps<'_>,
    object: Object<'_>,
) -> Result<(), SpawnError> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let trouble: Trouble = match space.ready(left.min(SILENCE)).await {
            Ok(()) => {
                steps.trouble(None);
                return Ok(());
            }
            Err(error @ (ApiError::Answer { .. } | ApiError::NoCluster(_))) if !error.may_pass() => {
                return Err(failed(error, object));
            }
            Err(error) => error.into_trouble(&object.to_string()),
        };
        if Instant::now() >= until {
            return Err(trouble.into_error());
        }
        steps.trouble(Some(&trouble));
    }
}

/// The launch of a job. A hub that was killed during a start left its launch in the state: with the same options, and
/// with TLS or without it as before, it goes on under the same names.
fn take_names(server: &mut Server, job: &StartJob) -> Launch {
    let saved = SavedState::read(&job.state);
    let options = digest(&job.options);
    let text = |key: &str| saved.other.get(key).and_then(Value::as_str);
    let same = text(OPTIONS) == Some(options.as_str()) && saved.speaks_tls() == server.facts.tls;
    let begun = text(LAUNCH).filter(|_| same);
    if begun.is_some() {
        if let Some(name) = &saved.pod_name {
            server.names.pod.clone_from(name);
        }
        if let Some(name) = &saved.dns_name {
            server.names.dns.clone_from(name);
        }
    }
    Launch {
        id: begun.map_or_else(|| job.launch.clone(), str::to_owned),
        options,
        namespace: server.names.namespace.clone(),
        pod: server.names.pod.clone(),
    }
}

fn digest(options: &Map<String, Value>) -> String {
    let text = serde_json::to_string(options).unwrap_or_default();
    let mut hex = hex::encode(Sha256::digest(text.as_bytes()));
    hex.truncate(16);
    hex
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_options_have_the_same_digest() {
        let options = |value: Value| value.as_object().unwrap().clone();
        assert_eq!(digest(&options(json!({"a": 1}))), digest(&options(json!({"a": 1}))));
        assert_ne!(digest(&options(json!({"a": 1}))), digest(&options(json!({"a": 2}))));
    }
}
