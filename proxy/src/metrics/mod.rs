//! Counters of the data path and their Prometheus text, under configurable-http-proxy's names.
//!
//! Each worker counts for itself; the numbers meet only when somebody asks for them.

mod collector;
mod serve;
mod summary;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::routes::RouteKind;
use http::StatusCode;
use prometheus::{Encoder, Registry, TextEncoder};

pub use serve::MetricsServer;
pub(crate) use summary::Summary;

/// Content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A count that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn dec(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A count that only one thread writes: nobody can come between its reading and its writing, which spares the locked
/// instruction.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn dec(&self) {
        self.0.store(self.get().saturating_sub(1), Relaxed);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts something open for as long as it lives.
pub(crate) struct OpenGauge<'a>(&'a Tally);

impl<'a> OpenGauge<'a> {
    pub(crate) fn new(count: &'a Tally) -> Self {
        count.inc();
        Self(count)
    }
}

impl Drop for OpenGauge<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Status codes counted one by one; others share the last place.
const STATUSES: usize = 600;

/// Counts by status code.
#[derive(Debug)]
pub(crate) struct Statuses(Box<[Count]>);

impl Default for Statuses {
    fn default() -> Self {
        Self((0..=STATUSES).map(|_| Count::default()).collect())
    }
}

impl Statuses {
    pub(crate) fn count(&self, status: StatusCode) {
        if let Some(count) = self.0.get(usize::from(status.as_u16()).min(STATUSES)) {
            count.inc();
        }
    }

    /// The codes that occurred, with their counts.
    fn seen(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().enumerate().map(|(code, count)| (code, count.get())).filter(|(_, count)| *count > 0)
    }
}

/// What one worker counts, on its own thread.
#[derive(Debug, Default)]
pub(crate) struct WorkerStats {
    pub(crate) requests_web: Tally,
    pub(crate) requests_ws: Tally,
    pub(crate) find_target: Summary,
    /// From the arrival of a request to the head of its answer.
    pub(crate) latency: Summary,
    pub(crate) connections: Tally,
    pub(crate) open_connections: Tally,
    pub(crate) multiplexed_requests: Tally,
    pub(crate) received_bytes: Tally,
    pub(crate) sent_bytes: Tally,
    pub(crate) open_websockets: Tally,
    pub(crate) retries: Tally,
    pub(crate) refused_connections: Tally,
    pub(crate) refused_clients: Tally,
    pub(crate) broken_responses: Tally,
    statuses: Statuses,
    upstream_errors: [Tally; crate::forward::upstream::ERROR_CLASSES.len()],
    kinds: [Tally; RouteKind::NAMES.len()],
}

impl WorkerStats {
    pub(crate) fn count_status(&self, status: StatusCode) {
        self.statuses.count(status);
    }

    pub(crate) fn count_kind(&self, kind: RouteKind) {
        if let Some(count) = self.kinds.get(kind as usize) {
            count.inc();
        }
    }

    pub(crate) fn count_upstream_error(&self, class: usize) {
        if let Some(count) = self.upstream_errors.get(class) {
            count.inc();
        }
    }
}

/// What the REST API counts.
#[derive(Debug, Default)]
pub(crate) struct ApiStats {
    pub(crate) route_get: Count,
    pub(crate) route_add: Count,
    pub(crate) route_delete: Count,
    pub(crate) requests: Statuses,
}

/// All counts of a proxy and its API. Shared.
#[derive(Debug)]
pub struct Metrics {
    workers: Mutex<Vec<Arc<WorkerStats>>>,
    pub(crate) api: ApiStats,
    /// Connections to targets, open now.
    pub(crate) upstreams: Count,
    /// File descriptors that the system grants; 0 when it knows no limit.
    pub(crate) descriptors: Count,
    /// Access log lines that found the log's queue full.
    pub(crate) lost_log_lines: Count,
    /// Certificates that an ACME authority issued, orders that failed, and when the certificate in use ends, in seconds
    /// since 1970; 0 without such an authority.
    pub(crate) certificates_issued: Count,
    pub(crate) certificate_failures: Count,
    pub(crate) certificate_end: Count,
    registry: Registry,
}

impl Metrics {
    /// Fresh counts, all zero.
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|metrics| {
            let registry = Registry::new();
            // Registering can only fail for a name that is taken, and the registry is new.
            let _ = registry.register(Box::new(collector::Collector::new(metrics.clone())));
            let own = prometheus::process_collector::ProcessCollector::for_self();
            let _ = registry.register(Box::new(own));
            Self {
                workers: Mutex::default(),
                api: ApiStats::default(),
                upstreams: Count::default(),
                descriptors: Count::default(),
                lost_log_lines: Count::default(),
                certificates_issued: Count::default(),
                certificate_failures: Count::default(),
                certificate_end: Count::default(),
                registry,
            }
        })
    }

    /// Counts for one more worker.
    pub(crate) fn worker(&self) -> Arc<WorkerStats> {
        let stats = Arc::<WorkerStats>::default();
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&stats));
        stats
    }

    fn workers(&self) -> Vec<Arc<WorkerStats>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All metrics in Prometheus' text format, of type [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics cannot be rendered");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}
