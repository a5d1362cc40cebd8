//! The hub's view of the cluster: one shared watch of pods for each namespace, and one of events while servers start
//! there. Trouble in one namespace does not touch the others. Answers to KubeSpawner's reflectors.

mod feed;
pub(crate) mod pod;
mod space;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hub_core::ServerKey;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::{Cluster, Kind, Query};
use feed::{Begin, Feed, Keeper};
use space::Events;

pub(crate) use space::{Follow, Health, Space};

/// Most pieces of news that wait for the hub.
const NEWS: usize = 10_000;
/// How long a start waits for the watch of events to be up.
const EVENTS_PATIENCE: Duration = Duration::from_secs(2);

/// All namespaces that are watched.
#[derive(Debug)]
pub(crate) struct View {
    shared: Arc<Shared>,
    news: tokio::sync::Mutex<mpsc::Receiver<ServerKey>>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    cluster: Arc<Cluster>,
    /// Label selector of the servers' pods.
    labels: String,
    events: bool,
    spaces: Mutex<Spaces>,
    news: mpsc::Sender<ServerKey>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Spaces {
    pods: HashMap<String, Arc<Space>>,
    /// Namespaces whose events are followed.
    events: HashSet<String>,
}

impl View {
    /// Nothing is watched until it is asked for.
    pub(crate) fn new(cluster: Arc<Cluster>, component: &str, events: bool) -> Self {
        let (sender, news) = mpsc::channel(NEWS);
        let stop = CancellationToken::new();
        let shared = Shared {
            cluster,
            labels: format!("component={component}"),
            events,
            spaces: Mutex::default(),
            news: sender,
            stop: stop.clone(),
        };
        Self { shared: Arc::new(shared), news: tokio::sync::Mutex::new(news), _stop: stop.drop_guard() }
    }

    /// A namespace, watched from now on.
    pub(crate) fn space(&self, namespace: &str) -> Arc<Space> {
        let shared = &self.shared;
        let mut spaces = shared.lock();
        if let Some(space) = spaces.pods.get(namespace) {
            // Under the lock, so that a feed which is about to end sees it.
            space.touch();
            return Arc::clone(space);
        }
        let space = Arc::new(Space::new(namespace.to_owned(), shared.news.clone()));
        spaces.pods.insert(namespace.to_owned(), Arc::clone(&space));
        drop(spaces);
        let query = Query {
            kind: Kind::Pod,
            namespace: namespace.to_owned(),
            labels: shared.labels.clone(),
            fields: String::new(),
        };
        let (owner, ours) = (Arc::clone(shared), Arc::clone(&space));
        shared.spawn(async move {
            loop {
                let (cluster, query, keeper) = (Arc::clone(&owner.cluster), query.clone(), Arc::clone(&ours));
                Feed { cluster, query, begin: Begin::All, keeper }.run().await;
                let mut spaces = owner.lock();
                // Somebody may have asked for it just now.
                if ours.is_idle() {
                    spaces.pods.remove(ours.namespace());
                    return;
                }
            }
        });
        space
    }

    /// Follows one pod with its events from now on.
    pub(crate) async fn follow(&self, space: &Arc<Space>, name: &str) -> Follow {
        let mut follow = space.follow(name);
        if self.shared.events {
            self.follow_events(space);
            follow.events_told(EVENTS_PATIENCE).await;
        }
        follow
    }

    fn follow_events(&self, space: &Arc<Space>) {
        let shared = &self.shared;
        if !shared.lock().events.insert(space.namespace().to_owned()) {
            return;
        }
        let query = Query {
            kind: Kind::Event,
            namespace: space.namespace().to_owned(),
            labels: String::new(),
            fields: "involvedObject.kind=Pod".to_owned(),
        };
        let keeper = Arc::new(Events(Arc::clone(space)));
        let (owner, space) = (Arc::clone(shared), Arc::clone(space));
        shared.spawn(async move {
            loop {
                let (cluster, query, keeper) =
                    (Arc::clone(&owner.cluster), query.clone(), Arc::clone(&keeper));
                Feed { cluster, query, begin: Begin::Now, keeper }.run().await;
                let mut spaces = owner.lock();
                // Somebody may have begun to wait just now, and seen the feed still there.
                if !space.is_awaiting() {
                    spaces.events.remove(space.namespace());
                    return;
                }
            }
        });
    }

    /// Whose pod has just ended or vanished.
    pub(crate) async fn next_news(&self) -> ServerKey {
        match self.news.lock().await.recv().await {
            Some(key) => key,
            // The sender is kept beside.
            None => std::future::pending().await,
        }
    }

    /// How each watch fares, by namespace.
    pub(crate) fn health(&self) -> Vec<Health> {
        let spaces: Vec<_> = self.shared.lock().pods.values().cloned().collect();
        let mut all: Vec<Health> = spaces.iter().map(|space| space.health()).collect();
        all.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        all
    }

    /// Every namespace that is watched.
    pub(crate) fn spaces(&self) -> Vec<Arc<Space>> {
        self.shared.lock().pods.values().cloned().collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Spaces> {
        // no code panics while it holds the lock, and what it guards is whole at every step
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }
}

#[cfg(test)]
mod tests;
