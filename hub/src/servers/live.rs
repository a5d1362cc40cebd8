//! What this process knows about a server that it is working on, or that failed lately.
//!
//! A [`Live`] exists only while something happens to a server, or to remember why its last start failed. Whether a
//! server runs is told by the database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub_core::spawner::QueuePlace;
use hub_core::{Progress, ServerKey, SpawnError};
use tokio::sync::watch;

/// Most progress events kept of one start; later ones replace the last.
const MAX_EVENTS: usize = 500;

/// What is being done to a server. Answers to stock's `pending` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// It is being started, or waits for its turn.
    Spawn,
    /// It is being stopped.
    Stop,
    /// The hub was restarted and looks whether it still runs.
    Check,
}

impl Pending {
    /// The word in models.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Stop => "stop",
            Self::Check => "check",
        }
    }
}

/// How the last start ended, when it did not end well.
#[derive(Debug, Clone)]
pub enum Failure {
    /// With an error.
    Failed(Arc<SpawnError>),
    /// Somebody cancelled it.
    Cancelled,
}

/// The state at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What is being done.
    pub pending: Option<Pending>,
    /// How the last start failed; cleared by the next one.
    pub failure: Option<Failure>,
    /// Place in the line of starts, while it waits there.
    pub queue: Option<QueuePlace>,
    /// Counts starts, so that a reader of events notices a new one.
    pub run: u64,
    /// How many events the current run has.
    pub events: usize,
}

impl Snapshot {
    /// Whether nothing is being done.
    pub fn is_settled(&self) -> bool {
        self.pending.is_none()
    }
}

#[derive(Debug, Default)]
struct Inner {
    snapshot: Snapshot,
    events: Vec<Progress>,
}

/// One server at work.
#[derive(Debug)]
pub struct Live {
    /// Which server.
    pub key: ServerKey,
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Live {
    /// Nothing known yet. Runs are counted from the time in seconds on, so that a reader who comes back with the number
    /// of a run that a hub before has told is not taken for one of this hub's.
    pub fn new(key: ServerKey) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let snapshot = Snapshot { run: since.as_secs(), ..Snapshot::default() };
        let inner = Mutex::new(Inner { snapshot, events: Vec::new() });
        Self { key, inner, changed: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changed.send_modify(|version| *version += 1);
    }

    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    /// A receiver that wakes at every change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Events of the current run from index `from` on.
    pub fn events_from(&self, from: usize) -> Vec<Progress> {
        self.lock().events.get(from..).map(<[Progress]>::to_vec).unwrap_or_default()
    }

    /// A start begins: forgets the failure and the events of the one before.
    pub fn begin_start(&self) {
        self.update(|inner| {
            inner.events.clear();
            let run = inner.snapshot.run + 1;
            inner.snapshot = Snapshot { pending: Some(Pending::Spawn), run, ..Snapshot::default() };
        });
    }

    /// Something else than a start begins.
    pub fn begin(&self, pending: Pending) {
        self.update(|inner| {
            inner.snapshot.pending = Some(pending);
            inner.snapshot.queue = None;
        });
    }

    /// Adds one event. The percentage never falls within a run.
    pub fn progress(&self, mut progress: Progress) {
        self.update(|inner| {
            if let Some(last) = inner.events.last() {
                progress.percent = progress.percent.max(last.percent);
            }
            if inner.events.len() >= MAX_EVENTS {
                inner.events.pop();
            }
            inner.events.push(progress);
            inner.snapshot.events = inner.events.len();
        });
    }

    /// Sets the place in the line of starts.
    pub fn set_place(&self, place: Option<QueuePlace>) {
        self.update(|inner| inner.snapshot.queue = place);
    }

    /// A start ended badly. The server stays pending until [`Live::settle`].
    pub fn fail(&self, failure: Failure) {
        self.update(|inner| inner.snapshot.failure = Some(failure));
    }

    /// Nothing is being done any more.
    pub fn settle(&self) {
        self.update(|inner| {
            inner.snapshot.pending = None;
            inner.snapshot.queue = None;
        });
    }

    /// Waits until `done` holds, at most `limit`. Returns the last state seen.
    pub async fn wait(&self, limit: Duration, done: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let mut changes = self.watch();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                if done(&self.snapshot()) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // A timeout is no error here: the caller looks at the state that is returned.
        let _ = tokio::time::timeout(limit, waiting).await;
        self.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use hub_core::spawner::Phase;
    use hub_core::{ServerName, UserName};

    use super::*;

    fn live() -> Live {
        Live::new(ServerKey::new(UserName::stored("ada"), ServerName::default()))
    }

    #[test]
    fn progress_never_falls_and_events_are_bounded() {
        let live = live();
        live.begin_start();
        let first = live.snapshot().run;
        live.progress(Progress::new(40, Phase::Launching, "a"));
        live.progress(Progress::new(10, Phase::Launching, "b"));
        assert_eq!(live.events_from(1).first().map(|e| e.percent), Some(40));
        for _ in 0..2 * MAX_EVENTS {
            live.progress(Progress::new(50, Phase::Connecting, "c"));
        }
        assert_eq!(live.snapshot().events, MAX_EVENTS);
        live.begin_start();
        assert_eq!((live.snapshot().events, live.snapshot().run), (0, first + 1));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_change_or_with_the_limit() {
        let live = Arc::new(live());
        live.begin(Pending::Stop);
        let seen = live.wait(Duration::from_millis(5), Snapshot::is_settled).await;
        assert_eq!(seen.pending, Some(Pending::Stop));
        let other = Arc::clone(&live);
        let waiter =
            tokio::spawn(async move { other.wait(Duration::from_secs(5), Snapshot::is_settled).await });
        live.settle();
        assert!(waiter.await.unwrap().is_settled());
    }
}
