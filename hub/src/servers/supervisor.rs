//! Drives every server towards what was last asked of it.
//!
//! For each server at work there is one task, the driver, that carries out one intent after the other. A request
//! only writes down its intent: a start while the server is still being stopped waits for the stop, a stop during a
//! start cancels it. Nobody is told to try again later.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use hub_core::authenticator::LoginRequest;
use hub_core::spawner::Exit;
use hub_core::{ServerKey, SpawnError, StopMode};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::live::{Failure, Live, Pending};
use super::{Servers, SpawnerId};

/// Most servers whose last failure is remembered.
const MAX_REMEMBERED: usize = 10_000;

/// What is asked of a server.
#[derive(Debug)]
pub enum Intent {
    /// Run, with these options.
    Start(Box<StartOrder>),
    /// Do not run.
    Stop(StopOrder),
    /// Find out what became of it while no hub was there.
    Check,
}

impl Intent {
    /// Whether the hub itself came to it by looking at a server, rather than a person who wants something.
    fn is_about_what_was_seen(&self) -> bool {
        match self {
            Self::Start(_) => false,
            Self::Stop(order) => order.exited.is_some(),
            Self::Check => true,
        }
    }
}

/// One start.
#[derive(Debug, Clone, Default)]
pub struct StartOrder {
    /// New user options; none keeps those of the last start.
    pub options: Option<Map<String, Value>>,
    /// The request that asked for it, for hooks.
    pub request: Option<LoginRequest>,
}

/// One stop.
#[derive(Debug, Clone)]
pub struct StopOrder {
    /// How.
    pub mode: StopMode,
    /// Delete the server's record afterwards.
    pub remove: bool,
    /// The server ended on its own in this way; there is only the rest to clean up.
    pub exited: Option<Exit>,
    /// Start again afterwards.
    pub then: Option<Box<StartOrder>>,
}

impl StopOrder {
    /// Stop politely.
    pub fn graceful() -> Self {
        Self { mode: StopMode::Graceful, remove: false, exited: None, then: None }
    }
}

/// What the driver is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Start,
    Stop,
    Check,
}

#[derive(Debug, Default)]
struct Control {
    doing: Option<Doing>,
    cancel: CancellationToken,
    remove: bool,
    next: Option<Intent>,
}

/// A server at work, with what is asked of it.
#[derive(Debug)]
pub struct Entry {
    /// The row in `spawners`.
    pub id: SpawnerId,
    /// What can be seen of it.
    pub live: Live,
    control: Mutex<Control>,
    /// The state that the start under way saved last, for when the database cannot tell it.
    saved: Mutex<Option<Value>>,
}

impl Entry {
    fn new(id: SpawnerId, key: ServerKey) -> Self {
        Self { id, live: Live::new(key), control: Mutex::default(), saved: Mutex::default() }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps or, with none, forgets what a start saved.
    pub(super) fn remember(&self, state: Option<Value>) {
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// What the start under way, or one that was cancelled, saved last.
    pub(super) fn remembered(&self) -> Option<Value> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server's record shall be deleted when the stop under way is through.
    pub(super) fn is_to_be_removed(&self) -> bool {
        self.control().remove
    }

    /// Whether the server will be started once what is under way is through.
    pub fn is_start_queued(&self) -> bool {
        match &self.control().next {
            Some(Intent::Start(_)) => true,
            Some(Intent::Stop(order)) => order.then.is_some(),
            Some(Intent::Check) | None => false,
        }
    }

    /// Writes the intent down. Returns whether a driver must be started for it.
    fn ask(&self, intent: Intent) -> bool {
        let mut control = self.control();
        let control = &mut *control;
        if intent.is_about_what_was_seen() && (control.doing.is_some() || control.next.is_some()) {
            // Seen before what is under way now: it tells nothing about that, and nobody asked for it.
            return false;
        }
        match (control.doing, intent) {
            (None, mut intent) => {
                let idle = control.next.is_none();
                if let Intent::Stop(order) = &mut intent {
                    order.remove |= matches!(&control.next, Some(Intent::Stop(waiting)) if waiting.remove);
                }
                self.show(&intent);
                control.next = Some(intent);
                return idle;
            }
            (Some(Doing::Start), Intent::Start(order)) => {
                // Cancelled already? Then the stop comes first: it takes away what the cancelled start left.
                // Otherwise it is being started as it is.
                if let Some(Intent::Stop(waiting)) = &mut control.next {
                    waiting.then = Some(order);
                }
            }
            (Some(Doing::Start | Doing::Check), Intent::Stop(mut order)) => {
                control.cancel.cancel();
                order.remove |= matches!(&control.next, Some(Intent::Stop(waiting)) if waiting.remove);
                control.next = Some(Intent::Stop(order));
            }
            (Some(Doing::Stop), Intent::Start(order)) => control.next = Some(Intent::Start(order)),
            (Some(Doing::Stop), Intent::Stop(order)) => {
                control.remove |= order.remove;
                control.next = order.then.map(Intent::Start);
            }
            (Some(Doing::Check), Intent::Start(order)) => match &mut control.next {
                Some(Intent::Stop(waiting)) => waiting.then = Some(order),
                next => *next = Some(Intent::Start(order)),
            },
            (Some(_), Intent::Check) => {}
        }
        false
    }

    /// Makes an intent visible at once, so that whoever asked sees it pending.
    fn show(&self, intent: &Intent) {
        match intent {
            Intent::Start(_) => self.live.begin_start(),
            Intent::Stop(_) => self.live.begin(Pending::Stop),
            Intent::Check => self.live.begin(Pending::Check),
        }
    }

    /// The driver was lost: nothing is being done any more, and the next click begins anew.
    fn abandon(&self) {
        let mut control = self.control();
        control.doing = None;
        control.next = None;
        let text = "The hub lost track of your server. Please try again.";
        let failure = SpawnError::broken("internal", text, "the driver of the server panicked").retryable();
        self.live.fail(Failure::Failed(Arc::new(failure)));
        self.live.settle();
    }

    /// The next intent, or none when the driver may end.
    fn take(&self, first: bool) -> Option<(Intent, CancellationToken)> {
        let mut control = self.control();
        let Some(mut intent) = control.next.take() else {
            control.doing = None;
            self.live.settle();
            return None;
        };
        if !first {
            self.show(&intent);
        }
        control.doing = Some(match intent {
            Intent::Start(_) => Doing::Start,
            Intent::Stop(_) => Doing::Stop,
            Intent::Check => Doing::Check,
        });
        control.remove = false;
        control.cancel = CancellationToken::new();
        if let Intent::Stop(order) = &mut intent {
            control.remove = order.remove;
            control.next = order.then.take().map(Intent::Start);
        }
        Some((intent, control.cancel.clone()))
    }
}

/// The servers at work in this process.
#[derive(Debug, Default)]
pub struct Entries(Mutex<HashMap<SpawnerId, Arc<Entry>>>);

impl Entries {
    fn lock(&self) -> MutexGuard<'_, HashMap<SpawnerId, Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a server, if anything.
    pub fn get(&self, id: SpawnerId) -> Option<Arc<Entry>> {
        self.lock().get(&id).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().values().cloned().collect()
    }

    /// Forgets a server that is gone for ever.
    pub fn forget(&self, id: SpawnerId) {
        self.lock().remove(&id);
    }

    /// Asks for a start after the check that is under way, unless something else was asked for already.
    pub(super) fn resume(entry: &Entry) {
        entry.control().next.get_or_insert_with(|| Intent::Start(Box::default()));
    }

    /// Writes an intent down for a server. Under one lock with [`Entries::forget_idle`], so that no intent is given to
    /// an entry that is just being forgotten: there would be two drivers of one server.
    fn ask(&self, id: SpawnerId, key: &ServerKey, intent: Intent) -> (Arc<Entry>, bool) {
        let mut entries = self.lock();
        let entry = Self::get_or_make(&mut entries, id, key);
        let needs_driver = entry.ask(intent);
        (entry, needs_driver)
    }

    fn get_or_make(
        entries: &mut HashMap<SpawnerId, Arc<Entry>>,
        id: SpawnerId,
        key: &ServerKey,
    ) -> Arc<Entry> {
        if let Some(entry) = entries.get(&id) {
            // A server that was renamed while nothing was done to it has another key now.
            if entry.live.key == *key || !entry.live.snapshot().is_settled() {
                return Arc::clone(entry);
            }
        }
        if entries.len() >= MAX_REMEMBERED {
            entries.retain(|_, entry| !entry.live.snapshot().is_settled());
        }
        let entry = Arc::new(Entry::new(id, key.clone()));
        entries.insert(id, Arc::clone(&entry));
        entry
    }
}

impl Servers {
    /// Asks something of a server and returns what can be seen of it, pending already.
    pub fn ask(self: &Arc<Self>, id: SpawnerId, key: &ServerKey, intent: Intent) -> Arc<Entry> {
        let (entry, needs_driver) = self.entries.ask(id, key, intent);
        if needs_driver {
            let (servers, entry) = (Arc::clone(self), Arc::clone(&entry));
            self.tasks.clone().spawn(async move {
                if AssertUnwindSafe(servers.drive(&entry)).catch_unwind().await.is_err() {
                    error!(user = %entry.live.key.user, server = %entry.live.key.server, "the work on a server was lost to a bug");
                    entry.abandon();
                }
            });
        }
        entry
    }

    /// Carries out intents until there is none left.
    async fn drive(self: &Arc<Self>, entry: &Arc<Entry>) {
        let mut first = true;
        while let Some((intent, cancel)) = entry.take(first) {
            first = false;
            match intent {
                Intent::Start(order) => Box::pin(self.run_start(entry, *order, &cancel)).await,
                Intent::Stop(order) => Box::pin(self.run_stop(entry, order)).await,
                Intent::Check => Box::pin(self.run_check(entry, &cancel)).await,
            }
        }
        let snapshot = entry.live.snapshot();
        if snapshot.is_settled() && snapshot.failure.is_none() {
            self.entries.forget_idle(entry);
        }
    }
}

impl Entries {
    /// Drops an entry that has nothing more to tell, unless somebody asked something in the meantime.
    fn forget_idle(&self, entry: &Arc<Entry>) {
        let mut entries = self.lock();
        let control = entry.control();
        // The server may have got another entry meanwhile, after a renaming.
        let listed = entries.get(&entry.id).is_some_and(|listed| Arc::ptr_eq(listed, entry));
        if listed && control.doing.is_none() && control.next.is_none() {
            entries.remove(&entry.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use hub_core::{ServerName, UserName};

    use super::*;

    fn entry() -> Entry {
        Entry::new(1, ServerKey::new(UserName::stored("ada"), ServerName::default()))
    }

    fn start() -> Intent {
        Intent::Start(Box::default())
    }

    fn stop() -> Intent {
        Intent::Stop(StopOrder::graceful())
    }

    #[test]
    fn a_stop_during_a_start_cancels_it_and_comes_next() {
        let entry = entry();
        assert!(entry.ask(start()));
        assert_eq!(entry.live.snapshot().pending, Some(Pending::Spawn));
        let (_, cancel) = entry.take(true).unwrap();
        assert!(!entry.ask(start()));
        assert!(!cancel.is_cancelled());
        assert!(!entry.ask(stop()));
        assert!(cancel.is_cancelled());
        assert!(matches!(entry.take(false), Some((Intent::Stop(_), _))));
        assert_eq!(entry.live.snapshot().pending, Some(Pending::Stop));
        assert!(entry.take(false).is_none());
        assert!(entry.live.snapshot().is_settled());
    }

    #[test]
    fn a_start_that_was_cancelled_is_cleaned_up_before_the_next_one() {
        let entry = entry();
        entry.ask(start());
        entry.take(true).unwrap();
        entry.ask(Intent::Stop(StopOrder { remove: true, ..StopOrder::graceful() }));
        entry.ask(stop());
        entry.ask(start());
        assert!(entry.is_start_queued());
        assert!(matches!(entry.take(false), Some((Intent::Stop(_), _))));
        assert!(entry.is_to_be_removed(), "the removal is not lost by a second stop");
        assert!(matches!(entry.take(false), Some((Intent::Start(_), _))));
        assert!(entry.take(false).is_none());
    }

    #[test]
    fn what_a_look_told_does_not_undo_what_was_asked_for() {
        let exited = || Intent::Stop(StopOrder { exited: Some(Exit::default()), ..StopOrder::graceful() });
        let entry = entry();
        assert!(entry.ask(start()));
        assert!(!entry.ask(exited()), "the start waits for its driver");
        assert!(!entry.ask(Intent::Check));
        let (intent, cancel) = entry.take(true).unwrap();
        assert!(matches!(intent, Intent::Start(_)));
        assert!(!entry.ask(exited()), "the start is under way");
        assert!(!cancel.is_cancelled());
        assert!(entry.take(false).is_none());
        assert!(entry.ask(exited()));
    }

    #[test]
    fn a_stop_need_not_wait_for_a_check() {
        let entry = entry();
        entry.ask(Intent::Check);
        let (_, cancel) = entry.take(true).unwrap();
        entry.ask(start());
        assert!(!cancel.is_cancelled(), "what is found may be what the start wants");
        entry.ask(stop());
        assert!(cancel.is_cancelled());
        assert!(matches!(entry.take(false), Some((Intent::Stop(_), _))));
        assert!(entry.take(false).is_none(), "the stop came after the start");
    }

    #[test]
    fn the_end_of_the_work_under_an_old_name_leaves_the_entry_of_the_new_name() {
        let entries = Entries::default();
        let key = |name: &str| ServerKey::new(UserName::stored("ada"), ServerName::stored(name));
        let (old, _) = entries.ask(1, &key("old"), stop());
        old.take(true).unwrap();
        assert!(old.take(false).is_none());
        let (new, _) = entries.ask(1, &key("new"), start());
        entries.forget_idle(&old);
        assert!(Arc::ptr_eq(&entries.get(1).unwrap(), &new));
    }

    #[test]
    fn the_last_click_counts() {
        let entry = entry();
        assert!(entry.ask(stop()));
        entry.take(true).unwrap();
        assert!(!entry.ask(start()));
        assert!(!entry.ask(stop()));
        assert!(entry.take(false).is_none(), "the start was taken back");
        assert!(entry.ask(stop()));
        entry.take(true).unwrap();
        assert!(!entry.ask(start()));
        assert!(matches!(entry.take(false), Some((Intent::Start(_), _))));
    }

    #[test]
    fn a_restart_starts_again_unless_a_stop_comes_after_it() {
        let restart = || Intent::Stop(StopOrder { then: Some(Box::default()), ..StopOrder::graceful() });
        let entry = entry();
        entry.ask(restart());
        entry.take(true).unwrap();
        assert!(matches!(entry.take(false), Some((Intent::Start(_), _))));
        assert!(entry.take(false).is_none());
        entry.ask(restart());
        entry.take(true).unwrap();
        entry.ask(stop());
        assert!(entry.take(false).is_none());
    }

    #[test]
    fn a_removal_asked_for_during_a_stop_is_not_lost() {
        let entry = entry();
        entry.ask(stop());
        entry.take(true).unwrap();
        assert!(!entry.is_to_be_removed());
        entry.ask(Intent::Stop(StopOrder { remove: true, ..StopOrder::graceful() }));
        assert!(entry.is_to_be_removed());
    }
}
