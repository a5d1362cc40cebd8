//! What is known of the servers' pods in one namespace.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hub_core::ServerKey;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::feed::{Change, Keeper};
use super::pod;
use crate::cluster::ApiError;
use crate::status::{crash_loop, end_of};

/// Events kept of one pod that is waited for.
const EVENTS: usize = 100;
/// How long a namespace without pods is watched after it was last asked about.
const IDLE: Duration = Duration::from_mins(10);

/// Whether what is known can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    /// Nothing was heard yet.
    Unheard,
    /// The watch is up.
    Live,
    /// The watch is down.
    Down(ApiError),
}

#[derive(Debug)]
struct Known {
    pods: HashMap<String, Arc<Value>>,
    trust: Trust,
    events_live: bool,
    heard: Option<Instant>,
    asked: Instant,
    awaited: HashMap<String, Awaited>,
}

/// A pod that somebody waits for.
#[derive(Debug)]
struct Awaited {
    changes: watch::Sender<()>,
    events: VecDeque<Arc<Value>>,
    waiting: usize,
}

/// The pods of one namespace, kept by two feeds: of pods always, of events while somebody waits for a pod.
#[derive(Debug)]
pub(crate) struct Space {
    namespace: String,
    known: Mutex<Known>,
    trust: watch::Sender<()>,
    news: mpsc::Sender<ServerKey>,
}

/// What is known of a watch, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) namespace: String,
    pub(crate) live: bool,
    /// How long ago the cluster was last heard of; none when never.
    pub(crate) age: Option<Duration>,
    pub(crate) pods: usize,
}

impl Space {
    pub(super) fn new(namespace: String, news: mpsc::Sender<ServerKey>) -> Self {
        Self {
            namespace,
            known: Mutex::new(Known {
                pods: HashMap::new(),
                trust: Trust::Unheard,
                events_live: false,
                heard: None,
                asked: Instant::now(),
                awaited: HashMap::new(),
            }),
            trust: watch::Sender::new(()),
            news,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // no code panics while it holds the lock, and what it guards is whole at every step
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Somebody asks for it.
    pub(super) fn touch(&self) {
        self.lock().asked = Instant::now();
    }

    /// Waits until the pods are known, or until it is clear that they will not be.
    pub(crate) async fn ready(&self, limit: Duration) -> Result<(), ApiError> {
        let mut trust = self.trust.subscribe();
        let until = Instant::now() + limit;
        loop {
            let last = match self.lock().trust.clone() {
                Trust::Live => return Ok(()),
                Trust::Down(error) if !error.may_pass() => return Err(error),
                Trust::Down(error) => error,
                Trust::Unheard => {
                    ApiError::Unreachable(format!("no answer within {} seconds", limit.as_secs()))
                }
            };
            if !matches!(timeout_at(until, trust.changed()).await, Ok(Ok(()))) {
                return Err(last);
            }
        }
    }

    /// A pod, or its absence; an error when what is known may be old.
    pub(crate) fn pod(&self, name: &str) -> Result<Option<Arc<Value>>, ApiError> {
        let mut known = self.lock();
        known.asked = Instant::now();
        match &known.trust {
            Trust::Live => Ok(known.pods.get(name).cloned()),
            Trust::Down(error) => Err(error.clone()),
            Trust::Unheard => Err(ApiError::Unreachable("nothing was heard of the cluster yet".to_owned())),
        }
    }

    /// All pods; none when what is known may be old.
    pub(crate) fn pods(&self) -> Option<Vec<Arc<Value>>> {
        let known = self.lock();
        (known.trust == Trust::Live).then(|| known.pods.values().cloned().collect())
    }

    pub(crate) fn health(&self) -> Health {
        let known = self.lock();
        Health {
            namespace: self.namespace.clone(),
            live: known.trust == Trust::Live,
            age: known.heard.map(|heard| heard.elapsed()),
            pods: known.pods.len(),
        }
    }

    /// Follows one pod until the answer is dropped, without its events.
    pub(crate) fn follow(self: &Arc<Self>, name: &str) -> Follow {
        let mut known = self.lock();
        known.asked = Instant::now();
        let awaited = known.awaited.entry(name.to_owned()).or_insert_with(|| Awaited {
            changes: watch::Sender::new(()),
            events: VecDeque::new(),
            waiting: 0,
        });
        awaited.waiting += 1;
        let changes = awaited.changes.subscribe();
        drop(known);
        Follow { space: Arc::clone(self), name: name.to_owned(), changes }
    }

    /// Whether events are asked for.
    pub(super) fn is_awaiting(&self) -> bool {
        !self.lock().awaited.is_empty()
    }

    fn tell(&self, pod: &Value) {
        if let Some(key) = pod::key(pod) {
            // Full only when the hub is far behind; its periodic looks find out as well.
            let _ = self.news.try_send(key);
        }
    }

    fn set_trust(&self, trust: Trust) {
        let mut known = self.lock();
        let live = trust == Trust::Live;
        if live {
            known.heard = Some(Instant::now());
        }
        if known.trust == trust {
            return;
        }
        known.trust = trust;
        for awaited in known.awaited.values() {
            awaited.changes.send_replace(());
        }
        drop(known);
        self.trust.send_replace(());
    }
}

/// Whether the hub should look at a server.
fn has_ended(pod: &Value) -> bool {
    end_of(pod).is_some() || crash_loop(pod).is_some()
}

impl Keeper for Space {
    fn replace(&self, objects: Vec<Value>) {
        let mut pods: HashMap<String, Arc<Value>> = HashMap::with_capacity(objects.len());
        for object in objects {
            let kept = pod::trim(&object);
            pods.insert(pod::name(&kept).to_owned(), Arc::new(kept));
        }
        let mut known = self.lock();
        let old = std::mem::replace(&mut known.pods, pods);
        let mut gone = Vec::new();
        for (name, pod) in &old {
            let now = known.pods.get(name);
            let same = now.is_some_and(|now| pod::uid(now) == pod::uid(pod));
            if !same || now.is_some_and(|now| has_ended(now) && !has_ended(pod)) {
                gone.push(Arc::clone(pod));
            }
        }
        for awaited in known.awaited.values() {
            awaited.changes.send_replace(());
        }
        drop(known);
        for pod in &gone {
            self.tell(pod);
        }
    }

    fn change(&self, change: Change, object: Value) {
        let object = Arc::new(pod::trim(&object));
        let name = pod::name(&object).to_owned();
        let mut known = self.lock();
        let news = match change {
            Change::Set => {
                let before = known.pods.insert(name.clone(), Arc::clone(&object));
                has_ended(&object) && !before.is_some_and(|before| has_ended(&before))
            }
            Change::Gone => {
                // Its successor may be known already.
                let same = known.pods.get(&name).is_some_and(|pod| pod::uid(pod) == pod::uid(&object));
                if same {
                    known.pods.remove(&name);
                }
                true
            }
        };
        if let Some(awaited) = known.awaited.get(&name) {
            awaited.changes.send_replace(());
        }
        drop(known);
        if news {
            self.tell(&object);
        }
    }

    fn heard(&self) {
        self.set_trust(Trust::Live);
    }

    fn lost(&self, error: ApiError) {
        self.set_trust(Trust::Down(error));
    }

    fn is_idle(&self) -> bool {
        let known = self.lock();
        known.pods.is_empty() && known.awaited.is_empty() && known.asked.elapsed() > IDLE
    }
}

/// The events of the pods that are waited for in one namespace.
#[derive(Debug)]
pub(super) struct Events(pub(super) Arc<Space>);

impl Keeper for Events {
    fn replace(&self, objects: Vec<Value>) {
        for object in objects {
            self.change(Change::Set, object);
        }
    }

    fn change(&self, change: Change, object: Value) {
        if change == Change::Gone {
            return;
        }
        let mut known = self.0.lock();
        if let Some(awaited) = known.awaited.get_mut(pod::text(&object, "/involvedObject/name")) {
            // An event that happens again is counted up: it moves to the end.
            awaited.events.retain(|event| pod::uid(event) != pod::uid(&object));
            if awaited.events.len() >= EVENTS {
                awaited.events.pop_front();
            }
            awaited.events.push_back(Arc::new(object));
            awaited.changes.send_replace(());
        }
    }

    fn heard(&self) {
        let mut known = self.0.lock();
        if !known.events_live {
            known.events_live = true;
            for awaited in known.awaited.values() {
                awaited.changes.send_replace(());
            }
        }
    }

    fn lost(&self, _error: ApiError) {
        self.0.lock().events_live = false;
    }

    fn is_idle(&self) -> bool {
        let mut known = self.0.lock();
        let idle = known.awaited.is_empty();
        if idle {
            known.events_live = false;
        }
        idle
    }
}

/// One pod that is waited for, with its events from now on.
#[derive(Debug)]
pub(crate) struct Follow {
    space: Arc<Space>,
    name: String,
    changes: watch::Receiver<()>,
}

impl Follow {
    /// Returns at the next change of the pod, of its events, or of whether they can be relied on.
    pub(crate) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The sender lives as long as this follower; waiting for ever is what no change means.
            std::future::pending::<()>().await;
        }
    }

    /// The pod as it is known.
    pub(crate) fn pod(&self) -> Result<Option<Arc<Value>>, ApiError> {
        self.space.pod(&self.name)
    }

    /// Its events, oldest first.
    pub(crate) fn events(&self) -> Vec<Arc<Value>> {
        let known = self.space.lock();
        known
            .awaited
            .get(&self.name)
            .map(|awaited| awaited.events.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Waits until events are told, at most `limit`: a server can start without them.
    pub(crate) async fn events_told(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.space.lock().events_live {
            if timeout_at(until, self.changes.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut known = self.space.lock();
        if let Some(awaited) = known.awaited.get_mut(&self.name) {
            awaited.waiting -= 1;
            if awaited.waiting == 0 {
                known.awaited.remove(&self.name);
            }
        }
    }
}
