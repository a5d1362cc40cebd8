//! The bounds on connections to targets, for each and for all.
//!
//! Connections that lie idle in one worker's pool count, too. So when a bound is met, all workers give up their idle
//! connections, and the request waits a moment for a place before it is answered 503.

use std::{
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::upstream::UpstreamError;
use crate::{
    server::worker::{Shared, Worker},
    target::Origin,
};

/// Counts connections to targets over all workers.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    total: AtomicUsize,
    waiting: AtomicUsize,
    released: Notify,
    /// Wakes each worker to give up idle connections.
    trims: Mutex<Vec<Arc<Notify>>>,
}

impl Bounds {
    /// What wakes a new worker when others need its idle connections.
    pub(crate) fn trim_signal(&self) -> Arc<Notify> {
        let signal = Arc::<Notify>::default();
        self.trims.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&signal));
        signal
    }

    fn ask_for_idle(&self) {
        for signal in self.trims.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            signal.notify_one();
        }
    }
}

/// Whether no further connection to `origin` may be opened.
pub(crate) fn is_full(shared: &Shared, origin: &Origin) -> bool {
    let limits = &shared.settings.limits;
    origin.open.load(Relaxed) >= limits.connections_per_target
        || shared.bounds.total.load(Relaxed) >= limits.upstream_connections
}

/// Whether somebody waits for the place of a connection to `origin`, so that it must not lie idle.
pub(crate) fn is_wanted(shared: &Shared, origin: &Origin) -> bool {
    shared.bounds.waiting.load(Relaxed) > 0 && is_full(shared, origin)
}

/// A place within the bounds; given back when the connection is gone.
#[derive(Debug)]
pub(crate) struct Permit {
    origin: Arc<Origin>,
    shared: Arc<Shared>,
}

impl Permit {
    fn try_acquire(shared: &Arc<Shared>, origin: &Arc<Origin>) -> Result<Self, UpstreamError> {
        let limits = &shared.settings.limits;
        // Taken first and given back when it was too much, so that two workers cannot pass together.
        let total = shared.bounds.total.fetch_add(1, Relaxed);
        let here = origin.open.fetch_add(1, Relaxed);
        let full = if here >= limits.connections_per_target {
            UpstreamError::Busy { scope: "to this target", limit: limits.connections_per_target }
        } else if total >= limits.upstream_connections {
            UpstreamError::Busy { scope: "to all targets", limit: limits.upstream_connections }
        } else {
            shared.metrics.upstreams.inc();
            return Ok(Self { origin: Arc::clone(origin), shared: Arc::clone(shared) });
        };
        // Nobody is told of this: it is no place, and those who wait would keep waking each other.
        origin.open.fetch_sub(1, Relaxed);
        shared.bounds.total.fetch_sub(1, Relaxed);
        Err(full)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.origin.open.fetch_sub(1, Relaxed);
        self.shared.bounds.total.fetch_sub(1, Relaxed);
        self.shared.metrics.upstreams.dec();
        if self.shared.bounds.waiting.load(Relaxed) > 0 {
            self.shared.bounds.released.notify_waiters();
        }
    }
}

/// Counts a waiting request for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A place for one more connection to `origin`.
pub(crate) async fn acquire(worker: &Rc<Worker>, origin: &Arc<Origin>) -> Result<Permit, UpstreamError> {
    let shared = &worker.shared;
    if let Ok(permit) = Permit::try_acquire(shared, origin) {
        return Ok(permit);
    }
    let _waiting = Waiting::new(&shared.bounds.waiting);
    shared.bounds.ask_for_idle();
    let deadline = Instant::now() + worker.settings().timeouts.place;
    loop {
        // Listening before looking, so that no release is missed in between.
        let mut released = pin!(shared.bounds.released.notified());
        released.as_mut().enable();
        let full = match Permit::try_acquire(shared, origin) {
            Ok(permit) => return Ok(permit),
            Err(full) => full,
        };
        if timeout_at(deadline, released).await.is_err() {
            return Err(full);
        }
    }
}
