//! Idle connections to targets: for each worker and origin a stack, so that the warmest is used first.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{link::Link, upstream::Progress};
use crate::target::Origin;

/// A connection in use, to be put back when its response has ended.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Where to put it back: a count of this thread alone, unlike that of the origin.
    stack: Rc<Stack>,
    pub(crate) link: Link,
    /// Of its bytes, where silence has a limit.
    pub(crate) progress: Option<Arc<Progress>>,
}

impl Lease {
    pub(crate) fn origin(&self) -> &Origin {
        &self.stack.origin
    }
}

#[derive(Debug)]
struct Idle {
    link: Link,
    progress: Option<Arc<Progress>>,
    since: u64,
}

#[derive(Debug)]
struct Stack {
    origin: Arc<Origin>,
    /// Longest idle first.
    idle: RefCell<VecDeque<Idle>>,
}

/// The idle connections of one worker.
#[derive(Debug)]
pub(crate) struct Pool {
    stacks: HashMap<u64, Rc<Stack>>,
    /// Most idle connections kept for one origin.
    limit: usize,
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { stacks: HashMap::new(), limit }
    }

    /// The connection that was used last, if one is alive; `now` in milliseconds of the worker.
    pub(crate) fn take(&self, origin: &Origin, now: u64) -> Option<Lease> {
        let stack = self.stacks.get(&origin.id)?;
        let mut idle = stack.idle.borrow_mut();
        while let Some(Idle { mut link, progress, since }) = idle.pop_back() {
            link.rest();
            // Under load nearly all were put back in the same tick of the clock, which is not worth a second look: should
            // its target have closed one since, the request comes back unsent. One that is not ready still sends a
            // request body that its target has already answered.
            if (since == now || link.is_open()) && link.is_ready() {
                return Some(Lease { stack: Rc::clone(stack), link, progress });
            }
        }
        None
    }

    /// A new connection, to be put back here after its response.
    pub(crate) fn lease(
        &mut self,
        origin: &Arc<Origin>,
        link: Link,
        progress: Option<Arc<Progress>>,
    ) -> Lease {
        let new = || Rc::new(Stack { origin: Arc::clone(origin), idle: RefCell::default() });
        let stack = Rc::clone(self.stacks.entry(origin.id).or_insert_with(new));
        Lease { stack, link, progress }
    }

    /// Puts a connection back after its response; `now` in milliseconds of the worker.
    pub(crate) fn put(&self, lease: Lease, now: u64) {
        let Lease { stack, mut link, progress } = lease;
        link.rest();
        if self.limit == 0 || link.is_spent() {
            return link.close();
        }
        let mut idle = stack.idle.borrow_mut();
        if idle.len() >= self.limit
            && let Some(oldest) = idle.pop_front()
        {
            oldest.link.close();
        }
        idle.push_back(Idle { link, progress, since: now });
    }

    /// Closes the idle connections to all origins for which `needed` says so.
    pub(crate) fn trim(&self, needed: impl Fn(&Origin) -> bool) {
        for stack in self.stacks.values().filter(|stack| needed(&stack.origin)) {
            stack.idle.borrow_mut().drain(..).for_each(|idle| idle.link.close());
        }
    }

    /// Closes what has been idle too long, has been closed by its target or leads where no route leads any more.
    pub(crate) fn sweep(&mut self, now: u64, max_idle: Duration) {
        let max_idle = u64::try_from(max_idle.as_millis()).unwrap_or(u64::MAX);
        self.stacks.retain(|_, stack| {
            let mut idle = stack.idle.borrow_mut();
            while let Some(oldest) = idle.pop_front_if(|idle| now.saturating_sub(idle.since) > max_idle) {
                oldest.link.close();
            }
            idle.retain(|idle| idle.link.is_open());
            // Each open connection and the stack itself hold the origin; a route or request would add to that.
            let holders = Arc::strong_count(&stack.origin);
            let own = 1 + stack.origin.open.load(std::sync::atomic::Ordering::Relaxed);
            // Connections in use come back to the same stack.
            Rc::strong_count(stack) > 1 || (!idle.is_empty() && holders > own)
        });
    }
}
