//! Cuts websockets, here and in the processes whose place this one took.

use std::sync::{Arc, Mutex, PoisonError};

use super::websockets::{Cut, Websockets};

type Forward = Box<dyn Fn(&Cut) -> bool + Send>;

/// Ends websockets by who opened them. Clones act on the same websockets.
#[derive(Clone)]
pub struct Scissors {
    own: Arc<Websockets>,
    predecessors: Arc<Mutex<Vec<Forward>>>,
}

impl std::fmt::Debug for Scissors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scissors").finish_non_exhaustive()
    }
}

impl Scissors {
    pub(super) fn new(own: Arc<Websockets>) -> Self {
        Self { own, predecessors: Arc::default() }
    }

    /// Cuts the websockets that fit and returns how many of them were this process's own. Processes that still
    /// serve websockets after a hand-over are told, too.
    pub fn cut(&self, order: &Cut) -> usize {
        let mut predecessors = self.predecessors.lock().unwrap_or_else(PoisonError::into_inner);
        predecessors.retain(|forward| forward(order));
        self.own.cut(order)
    }

    /// Has orders passed on to a process of before; `forward` says `false` when that is gone.
    pub(crate) fn follow(&self, forward: Forward) {
        self.predecessors.lock().unwrap_or_else(PoisonError::into_inner).push(forward);
    }
}
