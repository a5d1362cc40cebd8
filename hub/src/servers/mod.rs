//! The life of singleuser servers: start, watch, stop, find again.
//!
//! Whether a server runs is told by the database: a row in `servers` that a `spawners` row points to, with a port once
//! the address is known. This module works towards what people ask for ([`supervisor`]) and keeps nothing in memory
//! that the next hub could not find out.

mod again;
mod answer;
pub mod changes;
mod check;
mod elsewhere;
pub mod env;
pub mod failures;
pub mod limits;
pub mod live;
pub mod notes;
pub mod poll;
pub mod progress;
pub mod queue;
pub mod spawners;
mod start;
mod stop;
pub mod store;
pub mod supervisor;
mod turn;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hub_config::EndCause;
use hub_core::spawner::{Resources, SpawnFault};
use hub_core::{Clock, ServerKey, SpawnError, SpawnHook, StopMode};
use tokio::sync::Semaphore;
use tracing::error;

use self::changes::Changes;
use self::env::EnvSettings;
use self::live::{Pending, Snapshot};
use self::queue::StartQueue;
use self::spawners::Spawners;
use self::store::Store;
use self::supervisor::{Entries, Entry, Intent, StartOrder, StopOrder};
use crate::app::tasks::Tasks;
use crate::events::Events;
use crate::internal_ssl::Fingerprints;
use crate::metrics::Metrics;
use crate::routing::Routing;
use crate::urls::Urls;

/// Primary key of a row in `spawners`.
pub type SpawnerId = i32;

/// Settings of starts and polls.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// How long a spawner may take to say where a server will listen.
    pub start_timeout: Duration,
    /// How long the server may then take to answer.
    pub http_timeout: Duration,
    /// Pause between two looks at a server; zero never looks.
    pub poll_interval: Duration,
    /// Command of the servers.
    pub command: Vec<String>,
    /// Arguments after the command.
    pub args: Vec<String>,
    /// Limits and guarantees.
    pub resources: Resources,
    /// What goes into the environment.
    pub env: EnvSettings,
    /// What may be different about a single start.
    pub changes: Changes,
    /// Starts at once; 0 is no limit.
    pub concurrent_starts: usize,
    /// After this many failed starts in a row, with nothing but failures in between, the hub ends; 0 never.
    pub consecutive_failure_limit: u32,
    /// Causes of an end after which a server is started again.
    pub start_again_after: Vec<EndCause>,
}

/// All that starts, watches and stops servers.
#[derive(Debug)]
pub struct Servers {
    pub(crate) store: Store,
    pub(crate) spawners: Spawners,
    pub(crate) entries: Entries,
    pub(crate) settings: ServerSettings,
    profiles: BTreeMap<String, ServerSettings>,
    queue: Arc<StartQueue>,
    hooks: Vec<Arc<dyn SpawnHook>>,
    routing: Arc<Routing>,
    urls: Arc<Urls>,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    http: reqwest::Client,
    /// The authorities that servers depend on which are started now, where they speak TLS.
    authorities: Option<Fingerprints>,
    /// Whether servers are ended that were begun with other authorities.
    ends_unreachable: bool,
    failures: AtomicU32,
    checks: Semaphore,
    /// Requests that may start a server and have not asked for the start yet.
    admitted: Mutex<usize>,
    /// Servers are being stopped for the end of the hub: none starts any more.
    closing: AtomicBool,
}

/// The cause of a start that a hook ended because it could not do its work.
const HOOK_FAILED: &str = "hook-failed";

/// Servers found in the database that are looked at in full at once: after a restart there may be thousands.
const CHECKS_AT_ONCE: usize = 64;

/// What [`Servers`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// Rows.
    pub store: Store,
    /// Spawners.
    pub spawners: Spawners,
    /// Settings.
    pub settings: ServerSettings,
    /// Settings of the profiles, by name.
    pub profiles: BTreeMap<String, ServerSettings>,
    /// Hooks, in order.
    pub hooks: Vec<Arc<dyn SpawnHook>>,
    /// Routes.
    pub routing: Arc<Routing>,
    /// URLs.
    pub urls: Arc<Urls>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Event log.
    pub events: Arc<Events>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Background work.
    pub tasks: Tasks,
    /// What the client is made of that asks servers.
    pub client: reqwest::ClientBuilder,
    /// The authorities that servers depend on which are started now, where they speak TLS.
    pub authorities: Option<Fingerprints>,
    /// Whether servers are ended that were begun with other authorities.
    pub ends_unreachable: bool,
}

impl Servers {
    /// Puts the parts together; nothing starts yet.
    pub fn new(parts: Parts) -> Result<Arc<Self>, reqwest::Error> {
        let http = parts
            .client
            .connect_timeout(Duration::from_secs(if parts.authorities.is_some() { 5 } else { 2 }))
            .timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()?;
        Ok(Arc::new(Self {
            queue: StartQueue::new(parts.settings.concurrent_starts),
            store: parts.store,
            spawners: parts.spawners,
            entries: Entries::default(),
            settings: parts.settings,
            profiles: parts.profiles,
            hooks: parts.hooks,
            routing: parts.routing,
            urls: parts.urls,
            metrics: parts.metrics,
            events: parts.events,
            clock: parts.clock,
            tasks: parts.tasks,
            http,
            authorities: parts.authorities,
            ends_unreachable: parts.ends_unreachable,
            failures: AtomicU32::new(0),
            checks: Semaphore::new(CHECKS_AT_ONCE),
            admitted: Mutex::default(),
            closing: AtomicBool::new(false),
        }))
    }

    /// What holds for starts without a profile, before anybody's groups and choices.
    pub fn usual_settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// The settings of a profile's servers, or of those without one.
    fn settings_of(&self, profile: Option<&str>) -> &ServerSettings {
        profile.and_then(|name| self.profiles.get(name)).unwrap_or(&self.settings)
    }

    /// What this process knows of a server; the default when it knows nothing.
    pub fn snapshot(&self, id: SpawnerId) -> Snapshot {
        self.entries.get(id).map(|entry| entry.live.snapshot()).unwrap_or_default()
    }

    /// Asks for a start.
    pub fn start(self: &Arc<Self>, id: SpawnerId, key: &ServerKey, order: StartOrder) -> Arc<Entry> {
        self.ask(id, key, Intent::Start(Box::new(order)))
    }

    /// Asks for a stop; `remove` deletes the record of a named server afterwards.
    pub fn stop(self: &Arc<Self>, id: SpawnerId, key: &ServerKey, remove: bool) -> Arc<Entry> {
        self.ask(id, key, Intent::Stop(StopOrder { remove, ..StopOrder::graceful() }))
    }

    /// Asks for a stop and a start with the same options.
    pub fn restart(self: &Arc<Self>, id: SpawnerId, key: &ServerKey, order: StartOrder) -> Arc<Entry> {
        self.ask(id, key, Intent::Stop(StopOrder { then: Some(Box::new(order)), ..StopOrder::graceful() }))
    }

    /// Stops every server that runs or is to start, for the end of the hub; none starts any more. Waits at most
    /// `deadline`.
    pub async fn stop_all(self: &Arc<Self>, deadline: Duration) -> Result<(), hub_db::DbError> {
        self.closing.store(true, Ordering::SeqCst);
        let mut servers: BTreeMap<SpawnerId, ServerKey> =
            self.entries.starting().iter().map(|entry| (entry.id, entry.live.key.clone())).collect();
        servers.extend(self.store.active().await?.into_iter().map(|record| (record.id, record.key)));
        let entries: Vec<_> = servers
            .iter()
            .map(|(id, key)| {
                let order = StopOrder { mode: StopMode::Now, ..StopOrder::graceful() };
                self.ask(*id, key, Intent::Stop(order))
            })
            .collect();
        let all = async {
            for entry in &entries {
                entry.live.wait(deadline, Snapshot::is_settled).await;
            }
        };
        if tokio::time::timeout(deadline, all).await.is_err() {
            error!("not all servers stopped in time; the next hub will find them");
        }
        Ok(())
    }

    /// Whether no server starts any more, because the hub is about to end.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Tells the next hub that this one goes on with no start or stop that is under way.
    pub async fn let_go(&self) {
        let is_stopping = |entry: &Arc<Entry>| entry.live.snapshot().pending == Some(Pending::Stop);
        for entry in self.entries.all().iter().filter(|entry| is_stopping(entry)) {
            if let Err(error) = self
                .store
                .let_go_stop(entry.id, entry.is_to_be_removed(), entry.queued_start().as_ref())
                .await
            {
                let key = &entry.live.key;
                error!(user = %key.user, server = %key.server, %error, "cannot leave a stop to the next hub");
            }
        }
        for entry in self.entries.starting().into_iter().filter(|entry| !is_stopping(entry)) {
            let (Some(run), Some(state)) = (entry.run(), entry.remembered()) else { continue };
            if let Err(error) = self.store.let_go(entry.id, run, state).await {
                let key = &entry.live.key;
                error!(user = %key.user, server = %key.server, %error, "cannot leave a start to the next hub");
            }
        }
    }

    /// Counts failed starts; too many in a row end the hub, so that whoever runs it starts it afresh.
    fn count_failure(&self, failure: &SpawnError) {
        let limit = self.settings.consecutive_failure_limit;
        // A hub that starts afresh cures neither a wrong choice nor a service that a hook has to ask.
        if failure.fault == SpawnFault::Refused || failure.cause == HOOK_FAILED {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if limit > 0 && failures >= limit {
            error!(failures, "too many starts failed in a row: ending the hub");
            self.tasks.give_up();
        }
    }

    fn count_success(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }
}
