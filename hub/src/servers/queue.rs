//! The queue in front of starts: at most `concurrent_spawn_limit` at once, first come first served.
//!
//! Stock answers 429 when the limit is met; here people wait in line and see their place.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Bounded concurrency with visible places.
#[derive(Debug)]
pub struct StartQueue {
    slots: Option<Arc<Semaphore>>,
    waiting: Mutex<Vec<u64>>,
    next_ticket: std::sync::atomic::AtomicU64,
    moved: watch::Sender<()>,
}

/// The right to start; given back when dropped.
#[derive(Debug)]
pub struct StartPermit {
    queue: Arc<StartQueue>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Drop for StartPermit {
    fn drop(&mut self) {
        self.queue.moved.send_replace(());
    }
}

/// A place in line; left when dropped.
#[derive(Debug)]
struct Ticket<'a> {
    queue: &'a StartQueue,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.queue.with_waiting(|waiting| waiting.retain(|n| *n != self.number));
        self.queue.moved.send_replace(());
    }
}

impl StartQueue {
    /// A queue with `limit` starts at once; 0 means no limit.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: (limit > 0).then(|| Arc::new(Semaphore::new(limit))),
            waiting: Mutex::default(),
            next_ticket: 0.into(),
            moved: watch::Sender::new(()),
        })
    }

    fn with_waiting<T>(&self, f: impl FnOnce(&mut Vec<u64>) -> T) -> T {
        f(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a start that came now would have to wait.
    pub fn is_full(&self) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.available_permits() == 0)
    }

    /// Waits for a slot; `on_place` hears the place in line whenever it changes, and none when the wait is over.
    pub async fn enter(self: &Arc<Self>, mut on_place: impl FnMut(Option<usize>)) -> StartPermit {
        let Some(slots) = &self.slots else {
            return StartPermit { queue: Arc::clone(self), _slot: None };
        };
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return StartPermit { queue: Arc::clone(self), _slot: Some(slot) };
        }
        let number = self.next_ticket.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.with_waiting(|waiting| waiting.push(number));
        let ticket = Ticket { queue: self, number };
        let mut moved = self.moved.subscribe();
        let acquire = Arc::clone(slots).acquire_owned();
        tokio::pin!(acquire);
        let mut last = None;
        let slot = loop {
            let place = self.with_waiting(|waiting| waiting.iter().position(|n| *n == number)).map(|i| i + 1);
            if place != last {
                on_place(place);
                last = place;
            }
            tokio::select! {
                slot = &mut acquire => break slot.ok(),
                changed = moved.changed() => if changed.is_err() { break None },
            }
        };
        drop(ticket);
        on_place(None);
        StartPermit { queue: Arc::clone(self), _slot: slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_see_their_place_and_move_up() {
        let queue = StartQueue::new(1);
        let first = queue.enter(|_| {}).await;
        assert!(queue.is_full());
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let second = tokio::spawn({
            let (queue, tx) = (Arc::clone(&queue), tx.clone());
            async move { queue.enter(|place| tx.send((2, place)).unwrap()).await }
        });
        assert_eq!(rx.recv().await, Some((2, Some(1))));
        let third = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.enter(|place| tx.send((3, place)).unwrap()).await }
        });
        assert_eq!(rx.recv().await, Some((3, Some(2))));
        drop(first);
        let second = second.await.unwrap();
        assert_eq!(rx.recv().await, Some((2, None)));
        assert_eq!(rx.recv().await, Some((3, Some(1))));
        third.abort();
        assert!(third.await.unwrap_err().is_cancelled());
        assert_eq!(queue.with_waiting(|w| w.len()), 0);
        drop(second);
        assert!(!queue.is_full());
    }
}
