//! The last events of all hubs on the database, as this hub has read them, for those who listen here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub_db::repo::events::{KEPT, Place};
use jupyterhub_api_compat::models::ServerEvent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Most listeners at once.
const LISTENERS: usize = 1_000;

/// What stands at a place.
#[derive(Debug, Clone)]
pub enum Told {
    /// Nothing that anybody is told: where the first listener began, or something that this version does not know.
    Nothing,
    /// Something may have happened before it that nobody was told.
    Gap,
    /// An event.
    Event(Arc<ServerEvent>),
}

/// What is kept, oldest first.
#[derive(Debug)]
pub struct Bus {
    ring: Mutex<VecDeque<(Place, Told)>>,
    changed: watch::Sender<u64>,
    listeners: Arc<Semaphore>,
}

/// What has happened since a place.
#[derive(Debug)]
pub struct News {
    /// Whether events in between are kept no more.
    pub missed: bool,
    /// What is kept, oldest first.
    pub events: Vec<(Place, Told)>,
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
            ring: Mutex::default(),
            changed: watch::Sender::new(0),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Place, Told)>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read from the last place on, that place first; or else everything that is kept, where the last place
    /// is there no more.
    pub fn take(&self, read: Vec<(Place, Told)>) {
        let mut ring = self.lock();
        let known = ring.back().map(|(place, _)| *place);
        let goes_on = known.is_some() && read.first().map(|(place, _)| *place) == known;
        if goes_on && read.len() == 1 {
            return;
        }
        if !goes_on {
            ring.clear();
        }
        ring.extend(read.into_iter().skip(usize::from(goes_on)));
        let surplus = ring.len().saturating_sub(usize::try_from(KEPT).unwrap_or(usize::MAX));
        ring.drain(..surplus);
        drop(ring);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A place among the listeners, if there is one left.
    pub fn listen(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.listeners).try_acquire_owned().ok()
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.listeners.available_permits() < LISTENERS
    }

    /// Wakes when something was read.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The place of the last event, if any is kept.
    pub fn last(&self) -> Option<Place> {
        self.lock().back().map(|(place, _)| *place)
    }

    /// Whether all that came after this place is kept.
    pub fn knows(&self, place: Place) -> bool {
        find(&self.lock(), place).is_some()
    }

    /// What happened after this place.
    pub fn since(&self, place: Place) -> News {
        let ring = self.lock();
        let found = find(&ring, place);
        let skip = found.map_or(0, |index| index + 1);
        News {
            missed: found.is_none() && !ring.is_empty(),
            events: ring.iter().skip(skip).cloned().collect(),
        }
    }
}

fn find(ring: &VecDeque<(Place, Told)>, place: Place) -> Option<usize> {
    let index = ring.partition_point(|(known, _)| known.id < place.id);
    ring.get(index).filter(|(known, _)| *known == place).map(|_| index)
}

/// The id of an event on the wire.
pub fn id(place: Place) -> String {
    format!("{}-{:08x}", place.id, place.mark)
}

/// The place that an id names.
pub fn place(id: &str) -> Option<Place> {
    let (row, mark) = id.split_once('-')?;
    Some(Place { id: row.parse().ok()?, mark: u32::from_str_radix(mark, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use jupyterhub_api_compat::Timestamp;
    use jupyterhub_api_compat::models::ServerAction;

    use super::*;

    fn at(id: i32) -> Place {
        Place { id, mark: 7 }
    }

    fn read(ids: impl IntoIterator<Item = i32>) -> Vec<(Place, Told)> {
        let told = |id: i32| {
            Arc::new(ServerEvent {
                action: ServerAction::Start,
                at: Timestamp::parse("2026-01-01").unwrap(),
                user: id.to_string(),
                server: String::new(),
                cause: None,
                message: None,
                retry: None,
            })
        };
        ids.into_iter().map(|id| (at(id), Told::Event(told(id)))).collect()
    }

    fn users(news: &News) -> Vec<String> {
        let event = |told: &Told| if let Told::Event(event) = told { Some(Arc::clone(event)) } else { None };
        news.events.iter().filter_map(|(_, told)| event(told)).map(|event| event.user.clone()).collect()
    }

    #[test]
    fn a_listener_gets_what_happened_since_and_is_told_what_it_missed() {
        let bus = Bus::new();
        assert!(bus.last().is_none() && !bus.since(at(1)).missed);
        bus.take(read([3, 5, 9]));
        bus.take(read([9, 12]));
        bus.take(read([12]));
        assert_eq!(users(&bus.since(at(3))), ["5", "9", "12"]);
        assert_eq!(users(&bus.since(at(9))), ["12"]);
        let none = bus.since(at(12));
        assert!(none.events.is_empty() && !none.missed && bus.last() == Some(at(12)));
        for unknown in [at(2), at(4), at(13), Place { mark: 8, ..at(5) }] {
            let news = bus.since(unknown);
            assert!(news.missed && !bus.knows(unknown), "{unknown:?}");
            assert_eq!(users(&news), ["3", "5", "9", "12"]);
        }
        // So much happened meanwhile that the last place is gone.
        bus.take(read([40, 41]));
        assert!(bus.since(at(12)).missed);
        assert_eq!(users(&bus.since(at(40))), ["41"]);
    }

    #[test]
    fn the_last_events_are_kept() {
        let bus = Bus::new();
        bus.take(read(1..=1_000));
        bus.take(read(1_000..=1_002));
        assert!(!bus.knows(at(2)) && bus.knows(at(3)));
        assert_eq!(bus.since(at(3)).events.len(), 999);
    }

    #[test]
    fn whoever_listens_is_woken_by_what_is_new_only() {
        let bus = Bus::new();
        bus.take(read([1]));
        let mut changes = bus.watch();
        bus.take(read([1]));
        assert!(!changes.has_changed().unwrap());
        bus.take(read([1, 2]));
        assert!(changes.has_changed().unwrap());
        changes.borrow_and_update();
    }

    #[test]
    fn an_id_names_its_place_and_what_is_none_names_nothing() {
        for known in [at(1), Place { id: i32::MAX, mark: u32::MAX }, Place { id: 3, mark: 0 }] {
            assert_eq!(place(&id(known)), Some(known));
        }
        for wrong in ["", "-", "7", "x-1", "7-xyz", "99999999999-1", "5f0c2a91-17-3"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn there_is_a_place_for_so_many_listeners_and_no_more() {
        let bus = Bus::new();
        assert!(!bus.is_heard());
        let places: Vec<_> = (0..LISTENERS).map(|_| bus.listen().unwrap()).collect();
        assert!(bus.listen().is_none() && bus.is_heard());
        drop(places);
        assert!(bus.listen().is_some());
    }
}
