//! Drives every server towards what was last asked of it.
//!
//! For each server at work there is one task, the driver, that carries out one intent after the other. A request
//! only writes down its intent: a start while the server is still being stopped waits for the stop, a stop during a
//! start cancels it. Nobody is told to try again later.

mod entry;
mod intent;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use hub_core::{ServerKey, SpawnError};
use tracing::error;

pub use self::entry::Entry;
pub use self::intent::{Intent, StartOrder, StopOrder};
use super::live::{Failure, Pending};
use super::{Servers, SpawnerId};

/// Most servers whose last failure is remembered.
const MAX_REMEMBERED: usize = 10_000;

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

    /// Those that are being started, or will be once what is under way is through.
    pub(super) fn starting(&self) -> Vec<Arc<Entry>> {
        let is_starting =
            |entry: &Entry| entry.live.snapshot().pending == Some(Pending::Spawn) || entry.is_start_queued();
        self.lock().values().filter(|entry| is_starting(entry)).cloned().collect()
    }

    /// Forgets a server that is gone for ever.
    pub fn forget(&self, id: SpawnerId) {
        self.lock().remove(&id);
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

    /// Drops an entry that has nothing more to tell, unless somebody asked something in the meantime.
    fn forget_idle(&self, entry: &Arc<Entry>) {
        let mut entries = self.lock();
        // The server may have got another entry meanwhile, after a renaming.
        let listed = entries.get(&entry.id).is_some_and(|listed| Arc::ptr_eq(listed, entry));
        if listed && entry.is_idle() {
            entries.remove(&entry.id);
        }
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
                Intent::Start(_) if self.is_closing() => {
                    entry.live.fail(Failure::Failed(Arc::new(closing())));
                }
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

/// What people are told whose start comes too late.
fn closing() -> SpawnError {
    let text = "The hub is about to end. Please start your server again in a moment.";
    SpawnError::broken("closing", text, "the hub is ending and stops all servers").retryable()
}

#[cfg(test)]
mod tests {
    use hub_core::{ServerName, UserName};

    use super::*;

    #[test]
    fn the_end_of_the_work_under_an_old_name_leaves_the_entry_of_the_new_name() {
        let entries = Entries::default();
        let key = |name: &str| ServerKey::new(UserName::stored("ada"), ServerName::stored(name));
        let (old, _) = entries.ask(1, &key("old"), Intent::Stop(StopOrder::graceful()));
        old.take(true).unwrap();
        assert!(old.take(false).is_none());
        let (new, _) = entries.ask(1, &key("new"), Intent::Start(Box::default()));
        entries.forget_idle(&old);
        assert!(Arc::ptr_eq(&entries.get(1).unwrap(), &new));
    }
}
