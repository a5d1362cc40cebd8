//! Idle connections to targets: for each worker and origin a stack, so that the warmest is used first.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::http1::SendRequest;

use super::body::RequestBody;
use crate::target::Origin;

/// A connection in use, to be put back when its response has ended.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) origin: Arc<Origin>,
    pub(crate) sender: SendRequest<RequestBody>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: u64,
}

#[derive(Debug)]
struct Stack {
    origin: Arc<Origin>,
    /// Longest idle first.
    idle: VecDeque<Idle>,
}

/// The idle connections of one worker.
#[derive(Debug)]
pub(crate) struct Pool {
    stacks: HashMap<u64, Stack>,
    /// Most idle connections kept for one origin.
    limit: usize,
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { stacks: HashMap::new(), limit }
    }

    /// The connection that was used last, if one is alive.
    pub(crate) fn take(&mut self, origin: &Arc<Origin>) -> Option<Lease> {
        let stack = self.stacks.get_mut(&origin.id)?;
        while let Some(Idle { sender, .. }) = stack.idle.pop_back() {
            // One that is not ready still sends a request body that its target has already answered.
            if sender.is_ready() {
                return Some(Lease { origin: Arc::clone(origin), sender });
            }
        }
        None
    }

    /// Puts a connection back after its response; `now` in milliseconds of the worker.
    pub(crate) fn put(&mut self, lease: Lease, now: u64) {
        if self.limit == 0 || lease.sender.is_closed() {
            return;
        }
        let Lease { origin, sender, .. } = lease;
        let stack = self.stacks.entry(origin.id).or_insert_with(|| Stack { origin, idle: VecDeque::new() });
        if stack.idle.len() >= self.limit {
            stack.idle.pop_front();
        }
        stack.idle.push_back(Idle { sender, since: now });
    }

    /// Closes the idle connections to all origins for which `needed` says so.
    pub(crate) fn trim(&mut self, needed: impl Fn(&Origin) -> bool) {
        self.stacks.retain(|_, stack| !needed(&stack.origin));
    }

    /// Closes what has been idle too long, has been closed by its target or leads where no route leads any more.
    pub(crate) fn sweep(&mut self, now: u64, max_idle: Duration) {
        let max_idle = u64::try_from(max_idle.as_millis()).unwrap_or(u64::MAX);
        self.stacks.retain(|_, stack| {
            stack.idle.retain(|idle| !idle.sender.is_closed() && now.saturating_sub(idle.since) <= max_idle);
            // Each open connection and the stack itself hold the origin; a route or request would add to that.
            let holders = Arc::strong_count(&stack.origin);
            let own = 1 + stack.origin.open.load(std::sync::atomic::Ordering::Relaxed);
            !stack.idle.is_empty() && holders > own
        });
    }
}
