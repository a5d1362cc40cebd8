//! The bounds on connections to targets, for each and for all.
//!
//! Connections that lie idle in one worker's pool count, too. So when a bound is met, all workers give up their idle
//! connections, and the request waits a moment for a place before it is answered 503.
//!
//! The last places are for the hub: who can stop a server that takes too many, or be let in, must reach it. Of the
//! others no target gets so many that the next one finds none.

use std::{
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::upstream::UpstreamError;
use crate::{
    options::Limits,
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

/// Who asks for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The hub's own pages.
    Hub,
    /// The page of an error, which the hub may make. It gets half of what is kept for the hub: each request to a target
    /// that does not answer asks for one.
    Page,
    Other,
}

/// Places that only the hub gets.
fn reserve(limits: &Limits) -> usize {
    (limits.upstream_connections / 8).min(64)
}

/// Whether no further connection to `origin` may be opened.
pub(crate) fn is_full(shared: &Shared, origin: &Origin) -> bool {
    let limits = &shared.settings.limits;
    let all = limits.upstream_connections - reserve(limits);
    let (total, here) = (shared.bounds.total.load(Relaxed), origin.open.load(Relaxed));
    here >= limits.connections_per_target || total >= all || exceeds_share(all, total, here)
}

/// Whether a target that has `here` of the `total` connections has its share of `all`: among others, twice of what is
/// free. So however many targets take what they can get, the next one finds places, and need not wait in a line for them.
fn exceeds_share(all: usize, total: usize, here: usize) -> bool {
    let alone = here >= total;
    !alone && here >= all.saturating_sub(total).saturating_mul(2)
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
    fn try_acquire(shared: &Arc<Shared>, origin: &Arc<Origin>, claim: Claim) -> Result<Self, UpstreamError> {
        let limits = &shared.settings.limits;
        let all = match claim {
            Claim::Hub => limits.upstream_connections,
            Claim::Page => limits.upstream_connections - reserve(limits).div_ceil(2),
            Claim::Other => limits.upstream_connections - reserve(limits),
        };
        // Taken first and given back when it was too much, so that two workers cannot pass together.
        let total = shared.bounds.total.fetch_add(1, Relaxed);
        let here = origin.open.fetch_add(1, Relaxed);
        let full = if here >= limits.connections_per_target {
            UpstreamError::Busy { scope: "to this target", limit: limits.connections_per_target }
        } else if total >= all {
            UpstreamError::Busy { scope: "to all targets", limit: all }
        } else if claim == Claim::Other && exceeds_share(all, total, here) {
            UpstreamError::Busy { scope: "to this target beside others", limit: here }
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
        // Who begins to wait looks at the counts after that, and here it is the other way round. Of two changes to one
        // number one sees the other: either we see who waits, or who waits sees the counts as they are now.
        if self.shared.bounds.waiting.fetch_add(0, Release) > 0 {
            self.shared.bounds.released.notify_waiters();
        }
    }
}

/// Counts a waiting request for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Acquire);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A place for one more connection to `origin`.
pub(crate) async fn acquire(
    worker: &Rc<Worker>,
    origin: &Arc<Origin>,
    claim: Claim,
) -> Result<Permit, UpstreamError> {
    let shared = &worker.shared;
    if let Ok(permit) = Permit::try_acquire(shared, origin, claim) {
        return Ok(permit);
    }
    let _waiting = Waiting::new(&shared.bounds.waiting);
    shared.bounds.ask_for_idle();
    let deadline = Instant::now() + worker.settings().timeouts.place;
    loop {
        // Listening before looking, so that no release is missed in between.
        let mut released = pin!(shared.bounds.released.notified());
        released.as_mut().enable();
        let full = match Permit::try_acquire(shared, origin, claim) {
            Ok(permit) => return Ok(permit),
            Err(full) => full,
        };
        if timeout_at(deadline, released).await.is_err() {
            return Err(full);
        }
    }
}
