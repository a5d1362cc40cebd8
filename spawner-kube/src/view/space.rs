//! What is known of the servers' pods in one namespace.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hub_core::ServerKey;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::feed::{Change, Keeper};
use super::pod::{self, Kept};
use crate::causes::ended_by_cluster;
use crate::cluster::ApiError;

/// Events kept of one pod that is waited for.
const EVENTS: usize = 100;
/// Pods kept that the cluster has ended, with what was last known of them.
const GONE: usize = 200;
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
    pods: HashMap<String, Kept>,
    trust: Trust,
    events_live: bool,
    heard: Option<Instant>,
    asked: Instant,
    awaited: HashMap<String, Awaited>,
    /// The last pods that went and tell why, oldest first.
    gone: VecDeque<Arc<Value>>,
}

impl Known {
    /// Keeps a pod that is gone if it tells why, and forgets an earlier one of its name.
    fn bury(&mut self, pod: Arc<Value>) {
        self.gone.retain(|other| pod::name(other) != pod::name(&pod));
        if ended_by_cluster(&pod).is_none() {
            return;
        }
        if self.gone.len() >= GONE {
            self.gone.pop_front();
        }
        self.gone.push_back(pod);
    }
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
                gone: VecDeque::new(),
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
            Trust::Live => Ok(known.pods.get(name).map(Kept::pod)),
            Trust::Down(error) => Err(error.clone()),
            Trust::Unheard => Err(ApiError::Unreachable("nothing was heard of the cluster yet".to_owned())),
        }
    }

    /// What was last known of a pod of this name that the cluster has ended; none when there is nothing to tell.
    pub(crate) fn last_of(&self, name: &str) -> Option<Arc<Value>> {
        self.lock().gone.iter().find(|pod| pod::name(pod) == name).cloned()
    }

    /// All pods; none when what is known may be old.
    pub(crate) fn pods(&self) -> Option<Vec<Arc<Value>>> {
        let known = self.lock();
        (known.trust == Trust::Live).then(|| known.pods.values().map(Kept::pod).collect())
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

impl Keeper for Space {
    type Kept = Kept;

    fn keep(object: Value) -> Kept {
        Kept::new(&object)
    }

    fn replace(&self, objects: Vec<Kept>) {
        let pods: HashMap<String, Kept> =
            objects.into_iter().map(|pod| (pod.name.to_string(), pod)).collect();
        let mut known = self.lock();
        let old = std::mem::replace(&mut known.pods, pods);
        let mut ended = Vec::new();
        for (name, pod) in old {
            let now = known.pods.get(&name);
            let same = now.is_some_and(|now| now.uid == pod.uid);
            if !same || now.is_some_and(|now| now.ended && !pod.ended) {
                let pod = pod.pod();
                ended.push(Arc::clone(&pod));
                if !same {
                    known.bury(pod);
                }
            }
        }
        for awaited in known.awaited.values() {
            awaited.changes.send_replace(());
        }
        drop(known);
        for pod in &ended {
            self.tell(pod);
        }
    }

    fn change(&self, change: Change, object: Kept) {
        let mut known = self.lock();
        if let Some(awaited) = known.awaited.get(&*object.name) {
            awaited.changes.send_replace(());
        }
        let news = match change {
            Change::Set => {
                let news = object.ended.then(|| object.pod());
                let before = known.pods.insert(object.name.to_string(), object);
                news.filter(|_| !before.is_some_and(|before| before.ended))
            }
            Change::Gone => {
                // Its successor may be known already.
                let same = known.pods.get(&*object.name).is_some_and(|pod| pod.uid == object.uid);
                if same {
                    known.pods.remove(&*object.name);
                }
                let pod = object.pod();
                known.bury(Arc::clone(&pod));
                Some(pod)
            }
        };
        drop(known);
        if let Some(pod) = news {
            self.tell(&pod);
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
    type Kept = Value;

    fn keep(object: Value) -> Value {
        object
    }

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

    /// What was last known of it, when it is gone.
    pub(crate) fn last(&self) -> Option<Arc<Value>> {
        self.space.last_of(&self.name)
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
