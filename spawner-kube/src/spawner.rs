//! The spawner object that the hub holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::spawner::{Exit, Volumes, WatchHealth};
use hub_core::{
    Adoption, CertificateIssuer, FormContext, OptionsForm, PluginError, PollStatus, Problem, ServerEvent,
    ServerRef, SpawnError, Spawner, SpawnerContext, StartJob, StartSink, Started, StopMode, UserName,
};
use serde_json::{Map, Value};

use crate::blueprint::{Blueprint, NAME};
use crate::cluster::{Cluster, in_cluster, own_namespace};
use crate::life::{Archives, Locks, Suspects};
use crate::registry::Registries;
use crate::state;
use crate::view::View;

/// Options of stock's spawner that are the hub's business here and have their place in `[spawner]`.
const OF_THE_HUB: [&str; 4] = ["http_timeout", "poll_interval", "poll_jitter", "consecutive_failure_limit"];

/// Starts servers as pods.
#[derive(Debug)]
pub struct KubeSpawner {
    pub(crate) blueprint: Blueprint,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) view: View,
    pub(crate) registries: Registries,
    pub(crate) locks: Locks,
    pub(crate) suspects: tokio::sync::Mutex<Suspects>,
    pub(crate) archives: Archives,
    /// Makes certificates, where servers speak TLS.
    pub(crate) certificates: Option<Arc<dyn CertificateIssuer>>,
    /// The name by which this hub knows its own pods; none when it has none.
    pub(crate) hub: Option<String>,
    /// Where its options stand.
    pub(crate) section: String,
}

impl KubeSpawner {
    /// A spawner with checked options. The cluster is not asked before the first server is.
    ///
    /// # Errors
    /// Everything that is wrong with the options, each with its key.
    pub fn new(options: Value, cx: &SpawnerContext) -> Result<Self, PluginError> {
        let misplaced = OF_THE_HUB.iter().filter(|name| options.get(**name).is_some()).map(|name| {
            let text = format!("belongs one level up: write `{name}` in `[{}]`", cx.section);
            Problem::new(format!("{}.{NAME}.{name}", cx.section), text)
        });
        PluginError::check(misplaced.collect())?;
        let blueprint = Blueprint::new(options, cx, own_namespace())?;
        let cluster = Cluster::new(blueprint.traits());
        Ok(Self::of(blueprint, cluster, cx))
    }

    /// The same over a cluster that is given.
    #[cfg(test)]
    pub(crate) fn over(options: Value, cx: &SpawnerContext, cluster: Cluster) -> Result<Self, PluginError> {
        Ok(Self::of(Blueprint::new(options, cx, own_namespace())?, cluster, cx))
    }

    fn of(blueprint: Blueprint, cluster: Cluster, cx: &SpawnerContext) -> Self {
        let traits = blueprint.traits();
        let cluster = Arc::new(cluster);
        let hub = match traits.hub_id.as_str() {
            "" => in_cluster().then(own_namespace),
            id => Some(id.to_owned()),
        };
        Self {
            view: View::new(Arc::clone(&cluster), &traits.component_label, traits.events_enabled),
            cluster,
            registries: Registries::default(),
            locks: Locks::default(),
            suspects: tokio::sync::Mutex::default(),
            archives: Archives::default(),
            certificates: cx.certificates.clone(),
            hub,
            section: cx.section.clone(),
            blueprint,
        }
    }
}

/// What the hub holds: a start goes on in tasks that share the spawner.
#[derive(Debug)]
pub(crate) struct Shared(pub(crate) Arc<KubeSpawner>);

#[async_trait]
impl Spawner for Shared {
    fn class_name(&self) -> &'static str {
        "hub_spawner_kube::KubeSpawner"
    }

    fn start_timeout(&self, job: &StartJob) -> Option<Duration> {
        // A choice that is not possible is told by the start itself.
        let planned = self.0.blueprint.plan(job).ok()?;
        u64::try_from(planned.server.traits.start_timeout).ok().map(Duration::from_secs)
    }

    async fn start(&self, job: StartJob, sink: &dyn StartSink) -> Result<Started, SpawnError> {
        // boxed: the future is large, and held for the length of a start only
        Box::pin(self.0.start_server(&job, sink)).await
    }

    async fn stop(&self, server: &ServerRef, mode: StopMode) -> Result<(), SpawnError> {
        self.0.stop_server(server, mode).await
    }

    async fn poll(&self, server: &ServerRef) -> Result<PollStatus, SpawnError> {
        self.0.poll_server(server).await
    }

    async fn adopt(&self, server: &ServerRef) -> Result<Adoption, SpawnError> {
        self.0.adopt_server(server).await
    }

    async fn next_event(&self) -> ServerEvent {
        let traits = self.0.blueprint.traits();
        if !traits.enable_user_namespaces {
            // Watched from the hub's begin on, so that the first start finds the view ready.
            self.0.view.space(self.0.blueprint.usual_namespace());
        }
        let key = self.0.view.next_news().await;
        // The hub looks at the server itself; one that is being started or stopped it leaves alone.
        ServerEvent { key, status: PollStatus::Exited(Exit::default()) }
    }

    fn has_options_form(&self) -> bool {
        let traits = self.0.blueprint.traits();
        !traits.options_form.is_empty() || !traits.profile_list.is_empty()
    }

    async fn options_form(&self, cx: &FormContext) -> Result<Option<OptionsForm>, SpawnError> {
        self.0.blueprint.form(cx)
    }

    async fn options_from_form(
        &self,
        cx: &FormContext,
        form: BTreeMap<String, Vec<String>>,
    ) -> Result<Map<String, Value>, SpawnError> {
        Ok(self.0.blueprint.from_form(cx, form))
    }

    fn shown_state(&self, state: Value) -> Value {
        state::shown(state)
    }

    fn state_after_stop(&self, state: Value) -> Value {
        state::shown(state)
    }

    async fn delete_forever(&self, server: &ServerRef) -> Result<(), SpawnError> {
        self.0.delete_claim(server).await
    }

    async fn volumes(&self, user: &UserName, servers: &[ServerRef]) -> Volumes {
        self.0.list_volumes(user, servers).await
    }

    async fn collect_orphans(&self, known: &[ServerRef]) {
        self.0.collect(known).await;
        self.0.go_on_archiving().await;
    }

    fn watches(&self) -> Vec<WatchHealth> {
        let health = self.0.view.health().into_iter();
        health
            .map(|watch| WatchHealth {
                scope: watch.namespace,
                live: watch.live,
                age: watch.age,
                objects: watch.pods,
            })
            .collect()
    }
}
