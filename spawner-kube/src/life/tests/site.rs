//! A hub reduced to what matters to a spawner: rows, one piece of work at a time for each server, looks, and the chance
//! to be killed. It treats spawners as `hub::servers` does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use hub_core::secret::{SecretString, random_hex32};
use hub_core::spawner::{Overrides, Owner, Resources, Volumes};
use hub_core::{
    Adoption, CertificateIssuer, PollStatus, Progress, ServerKey, ServerName, ServerRef, SpawnError, Spawner,
    SpawnerContext, StartJob, StartSink, StopMode, UserName,
};
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use url::Url;

use super::fake::Fake;
use crate::cluster::Cluster;
use crate::spawner::{KubeSpawner, Shared};

/// What the API server says who does not let a pod in: a quota, two who count it at once, a webhook.
const REFUSALS: [(u16, &str); 3] = [
    (403, "pods \"x\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"),
    (409, "Operation cannot be fulfilled on resourcequotas \"few\": the object has been modified"),
    (400, "admission webhook \"rules\" denied the request: no pods on Fridays"),
];
const PEOPLE: [&str; 3] = ["ann", "ben", "cat"];
/// Longer than any wait of the spawner.
const REST: Duration = Duration::from_mins(10);

/// A row of the database.
#[derive(Debug, Clone, Default)]
struct Row {
    active: bool,
    address: Option<Url>,
    state: Value,
}

type Rows = Arc<Mutex<BTreeMap<String, Row>>>;

/// The hub's rows, its spawner, and what it is doing.
pub(super) struct Site {
    fake: Fake,
    hub: Hub,
    tasks: JoinSet<()>,
}

#[derive(Clone)]
pub(super) struct Hub {
    spawner: Arc<Shared>,
    rows: Rows,
    busy: Arc<Mutex<BTreeMap<String, (Doing, AbortHandle)>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Start,
    Stop,
}

struct Sink<'a> {
    rows: &'a Rows,
    name: &'a str,
}

#[async_trait]
impl StartSink for Sink<'_> {
    fn progress(&self, _progress: Progress) {}

    async fn save_state(&self, state: Value) -> Result<(), SpawnError> {
        sleep(Duration::from_millis(5)).await;
        self.rows.lock().unwrap().get_mut(self.name).expect("a row").state = state;
        Ok(())
    }
}

fn key(name: &str) -> ServerKey {
    ServerKey::new(UserName::stored(name), ServerName::default())
}

/// A spawner with some options besides those of all.
fn spawner(fake: &Fake, more: &Value, certificates: Option<Arc<dyn CertificateIssuer>>) -> Arc<Shared> {
    let context = SpawnerContext {
        section: "spawner".to_owned(),
        ip: String::new(),
        port: 0,
        shared: Map::new(),
        env_keep: None,
        state_dir: PathBuf::new(),
        environment: BTreeMap::new(),
        certificates,
        root: false,
        reenter: Vec::new(),
    };
    let mut options = json!({"namespace": "hub", "hub_id": "this", "orphan_grace": 60, "check_manifests": false,
        "storage_pvc_ensure": true, "storage_capacity": "1Gi", "events_enabled": false});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = KubeSpawner::over(options, &context, Cluster::scripted(fake.client())).unwrap();
    Arc::new(Shared(Arc::new(made)))
}

impl Hub {
    /// A hub with the rows of another one, or with none.
    pub(super) fn new(fake: &Fake, rows: Option<&Hub>, options: &Value) -> Self {
        let rows = rows.map(|hub| Arc::clone(&hub.rows)).unwrap_or_default();
        Self { spawner: spawner(fake, options, None), rows, busy: Arc::default() }
    }

    /// The same hub whose servers get certificates.
    pub(super) fn with_certificates(self, fake: &Fake, issuer: impl CertificateIssuer + 'static) -> Self {
        Self { spawner: spawner(fake, &json!({}), Some(Arc::new(issuer))), ..self }
    }

    /// Where a server is reached.
    pub(super) fn address(&self, name: &str) -> Option<String> {
        self.server(name).address.map(|address| address.to_string())
    }

    /// As a hub that was killed before it stored where a server is.
    pub(super) fn forget_address(&self, name: &str) {
        self.rows().get_mut(name).expect("a row").address = None;
    }

    /// How a server fares.
    pub(super) async fn poll(&self, name: &str) -> Result<PollStatus, SpawnError> {
        self.spawner.poll(&self.server(name)).await
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        self.rows.lock().unwrap()
    }

    fn server(&self, name: &str) -> ServerRef {
        let row = self.rows().get(name).cloned().unwrap_or_default();
        ServerRef { key: key(name), state: row.state, address: row.address }
    }

    fn job(&self, name: &str) -> StartJob {
        let token = random_hex32();
        StartJob {
            key: key(name),
            launch: random_hex32(),
            owner: Owner { id: 1, admin: false, groups: Vec::new(), auth_state: None },
            display_name: None,
            options: Map::new(),
            state: self.server(name).state,
            env: BTreeMap::from([("JUPYTERHUB_API_TOKEN".to_owned(), token.clone())]),
            api_token: SecretString::from(token),
            prefix: format!("/user/{name}/"),
            command: Vec::new(),
            resources: Resources::default(),
            labels: BTreeMap::new(),
            overrides: Overrides::default(),
            timeout: Duration::from_mins(1),
        }
    }

    pub(super) async fn start(&self, name: &str) {
        let job = self.job(name);
        self.rows().entry(name.to_owned()).or_default().active = true;
        let sink = Sink { rows: &self.rows, name };
        match self.spawner.start(job, &sink).await {
            Ok(started) => {
                let mut rows = self.rows();
                let row = rows.get_mut(name).expect("a row");
                row.address = Some(started.address);
                row.state = started.state;
            }
            Err(_) => self.stop(name, StopMode::Now).await,
        }
    }

    pub(super) async fn stop(&self, name: &str, mode: StopMode) {
        let server = self.server(name);
        if self.spawner.stop(&server, mode).await.is_err()
            && !matches!(self.spawner.poll(&server).await, Ok(PollStatus::Exited(_)))
        {
            return;
        }
        let state = self.spawner.state_after_stop(server.state);
        self.rows().insert(name.to_owned(), Row { active: false, address: None, state });
    }

    /// What a hub does about a row that it finds when it begins.
    pub(super) async fn check(&self, name: &str) {
        let server = self.server(name);
        match self.spawner.adopt(&server).await {
            Ok(Adoption::Running(found)) => {
                let mut rows = self.rows();
                let row = rows.get_mut(name).expect("a row");
                row.address = Some(found.address);
                row.state = found.state;
            }
            Ok(Adoption::Starting) => self.start(name).await,
            Ok(Adoption::Gone(_)) => self.stop(name, StopMode::Now).await,
            Err(_) => {}
        }
    }

    /// What a hub does about a row from time to time.
    async fn look(&self, name: &str) {
        let server = self.server(name);
        if server.address.is_none() {
            return self.check(name).await;
        }
        if let Ok(PollStatus::Exited(_)) = self.spawner.poll(&server).await {
            self.stop(name, StopMode::Now).await;
        }
    }

    /// The server is deleted for ever.
    pub(super) async fn delete(&self, name: &str) -> Result<(), SpawnError> {
        let server = self.server(name);
        self.rows().remove(name);
        self.spawner.delete_forever(&server).await
    }

    /// What is kept for a person.
    pub(super) async fn volumes(&self, name: &str) -> Volumes {
        self.spawner.volumes(&UserName::stored(name), &[self.server(name)]).await
    }

    /// What a hub does from time to time beside looking at its servers.
    pub(super) async fn collect(&self) {
        let known: Vec<ServerRef> = self.active().iter().map(|name| self.server(name)).collect();
        self.spawner.collect_orphans(&known).await;
    }

    pub(super) fn active(&self) -> Vec<String> {
        self.rows().iter().filter(|(_, row)| row.active).map(|(name, _)| name.clone()).collect()
    }
}

fn ended_for_want_of_memory() -> Value {
    let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    json!({"phase": "Failed", "containerStatuses": [{"name": "notebook", "state": ended}]})
}

fn crashes_again_and_again() -> Value {
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    json!({"phase": "Running", "containerStatuses": [{"name": "notebook", "restartCount": 9, "state": waits}]})
}

impl Site {
    pub(super) fn new() -> Self {
        let fake = Fake::new();
        let hub = Hub::new(&fake, None, &json!({}));
        tokio::spawn(fake.clone().run_nodes());
        Self { fake, hub, tasks: JoinSet::new() }
    }

    fn is_busy(&self, name: &str) -> Option<Doing> {
        let mut busy = self.hub.busy.lock().unwrap();
        busy.retain(|_, (_, task)| !task.is_finished());
        busy.get(name).map(|(doing, _)| *doing)
    }

    fn work<W: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &str,
        doing: Doing,
        work: impl FnOnce(Hub, String) -> W,
    ) {
        let task = self.tasks.spawn(work(self.hub.clone(), name.to_owned()));
        self.hub.busy.lock().unwrap().insert(name.to_owned(), (doing, task));
    }

    fn start(&mut self, name: &str) {
        let runs = self.hub.rows().get(name).is_some_and(|row| row.active);
        if self.is_busy(name).is_none() && !runs {
            self.work(name, Doing::Start, |hub, name| async move { hub.start(&name).await });
        }
    }

    /// A stop cancels a start that is under way.
    fn stop(&mut self, name: &str) {
        match self.is_busy(name) {
            Some(Doing::Stop) => return,
            Some(Doing::Start) => {
                if let Some((_, task)) = self.hub.busy.lock().unwrap().remove(name) {
                    task.abort();
                }
            }
            None => {}
        }
        if self.hub.rows().get(name).is_some_and(|row| row.active) {
            self.work(
                name,
                Doing::Stop,
                |hub, name| async move { hub.stop(&name, StopMode::Graceful).await },
            );
        }
    }

    /// The hub is gone at once; the next one looks at what is in the database.
    fn kill(&mut self) {
        self.tasks.abort_all();
        self.hub = Hub::new(&self.fake, Some(&self.hub), &json!({}));
        for name in self.hub.active() {
            self.work(&name, Doing::Start, |hub, name| async move { hub.check(&name).await });
        }
    }

    fn look(&mut self) {
        for name in self.hub.active() {
            if self.is_busy(&name).is_none() {
                self.work(&name, Doing::Stop, |hub, name| async move { hub.look(&name).await });
            }
        }
    }

    pub(super) fn act(&mut self, random: &mut StdRng) {
        let name = PEOPLE[random.random_range(0..PEOPLE.len())];
        let pod = format!("jupyter-{name}");
        match random.random_range(0..20) {
            0..=3 => self.start(name),
            4..=5 => self.stop(name),
            6..=7 => self.kill(),
            8 => self.fake.lose(&pod),
            9 => self.fake.set_status(&pod, json!({"phase": "Failed", "reason": "Evicted"})),
            14 => self.fake.set_status(&pod, ended_for_want_of_memory()),
            15 => self.fake.set_status(&pod, crashes_again_and_again()),
            16 => self.fake.full(random.random()),
            17 => self.fake.take_name(&pod),
            18 => self.fake.refuse(Some(REFUSALS[random.random_range(0..REFUSALS.len())])),
            19 => self.fake.refuse(None),
            10 => self.fake.away(true, random.random()),
            11 => self.fake.away(false, random.random()),
            12 => self.fake.stuck(random.random()),
            _ => self.look(),
        }
    }

    /// All troubles are over; what is left must agree.
    pub(super) async fn rest(mut self) -> Result<(), String> {
        self.fake.stuck(false);
        self.fake.full(false);
        self.fake.refuse(None);
        self.fake.give_names_back();
        self.fake.away(false, false);
        let mut last = String::new();
        let began = tokio::time::Instant::now();
        while began.elapsed() < REST {
            sleep(Duration::from_secs(5)).await;
            self.hub.collect().await;
            self.look();
            while let Some(done) = self.tasks.join_next().await {
                if let Err(lost) = done
                    && lost.is_panic()
                {
                    return Err(lost.to_string());
                }
            }
            let rows = self.hub.rows().clone();
            let servers: BTreeSet<String> = rows
                .iter()
                .filter(|(_, row)| row.active && row.address.is_some())
                .map(|(name, _)| format!("jupyter-{name}"))
                .collect();
            let pods: BTreeSet<String> = self.fake.names("pods").into_iter().collect();
            let wronged = self.fake.wronged();
            if !wronged.is_empty() {
                return Err(format!("pods of somebody else were to be deleted: {wronged:?}"));
            }
            if servers == pods && rows.values().all(|row| row.active == row.address.is_some()) {
                return Ok(());
            }
            last = format!("servers {servers:?}, pods {pods:?}, rows {rows:?}");
        }
        Err(last)
    }
}
