//! Events for those who listen: the last ones are kept, so that a listener who lost the connection goes on where it
//! was.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_core::secret::random_hex32;
use jupyterhub_api_compat::models::ServerEvent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Events that are kept.
const KEPT: usize = 1_000;
/// Most listeners at once.
const LISTENERS: usize = 1_000;

#[derive(Debug, Default)]
struct Ring {
    /// The number of the last event, 0 before the first.
    last: u64,
    events: VecDeque<Arc<ServerEvent>>,
}

/// The events of this process.
#[derive(Debug)]
pub struct Bus {
    epoch: String,
    ring: Mutex<Ring>,
    changed: watch::Sender<u64>,
    listeners: Arc<Semaphore>,
}

/// What has happened since a position.
#[derive(Debug)]
pub struct News {
    /// Whether events in between are kept no more.
    pub missed: bool,
    /// What is kept, with numbers, oldest first.
    pub events: Vec<(u64, Arc<ServerEvent>)>,
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus {
    /// No events yet.
    pub fn new() -> Self {
        Self {
            // Numbers begin anew with every process: this tells the numbers of one from those of another.
            epoch: random_hex32().chars().take(8).collect(),
            ring: Mutex::default(),
            changed: watch::Sender::new(0),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells an event to all who listen.
    pub fn publish(&self, event: ServerEvent) {
        let number = {
            let mut ring = self.lock();
            if ring.events.len() >= KEPT {
                ring.events.pop_front();
            }
            ring.events.push_back(Arc::new(event));
            ring.last += 1;
            ring.last
        };
        self.changed.send_replace(number);
    }

    /// A place among the listeners, if there is one left.
    pub fn listen(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.listeners).try_acquire_owned().ok()
    }

    /// Wakes at every event.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    /// What happened after the event with this number.
    pub fn since(&self, number: u64) -> News {
        let ring = self.lock();
        let first = ring.last + 1 - ring.events.len() as u64;
        let skip = usize::try_from((number + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let kept = (first..).zip(ring.events.iter().cloned()).skip(skip).collect();
        News { missed: number + 1 < first, events: kept }
    }

    /// The id of an event on the wire.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// The number of an event of this process; none for ids of others, and for what is no id.
    pub fn number(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix(&self.epoch)?.strip_prefix('-')?.parse().ok()?;
        (number <= self.last()).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use jupyterhub_api_compat::Timestamp;
    use jupyterhub_api_compat::models::ServerAction;

    use super::*;

    fn event(user: &str) -> ServerEvent {
        ServerEvent {
            action: ServerAction::Start,
            at: Timestamp::parse("2026-01-01").unwrap(),
            user: user.to_owned(),
            server: String::new(),
            cause: None,
            message: None,
            retry: None,
        }
    }

    #[test]
    fn a_listener_gets_what_happened_since_and_is_told_what_it_missed() {
        let bus = Bus::new();
        assert!(bus.since(0).events.is_empty());
        for i in 1..=3 {
            bus.publish(event(&i.to_string()));
        }
        let users = |after: u64| -> Vec<String> {
            bus.since(after).events.iter().map(|(_, event)| event.user.clone()).collect()
        };
        assert_eq!(users(0), ["1", "2", "3"]);
        assert_eq!(users(2), ["3"]);
        assert!(users(3).is_empty() && !bus.since(0).missed);
        for i in 4..=KEPT + 3 {
            bus.publish(event(&i.to_string()));
        }
        assert_eq!(bus.since(0).events.len(), KEPT);
        assert!(bus.since(2).missed && !bus.since(3).missed);
        assert_eq!(bus.since(3).events[0].0, 4);
    }

    #[test]
    fn ids_of_another_process_are_no_position_here() {
        let (one, other) = (Bus::new(), Bus::new());
        one.publish(event("ada"));
        assert_eq!(one.number(&one.id(1)), Some(1));
        assert_eq!(other.number(&one.id(1)), None);
        for id in ["", "-", "x-1", &one.id(2), &format!("{}-x", one.epoch)] {
            assert_eq!(one.number(id), None, "{id}");
        }
    }

    #[test]
    fn there_is_a_place_for_so_many_listeners_and_no_more() {
        let bus = Bus::new();
        let places: Vec<_> = (0..LISTENERS).map(|_| bus.listen().unwrap()).collect();
        assert!(bus.listen().is_none());
        drop(places);
        assert!(bus.listen().is_some());
    }
}
