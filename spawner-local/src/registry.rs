//! The servers that this process watches, and the news of their ends.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hub_core::spawner::Exit;
use hub_core::{PollStatus, ServerEvent, ServerKey};
use tokio::sync::{Notify, watch};

use crate::procfs::Process;

/// How a watched server ended; none while it runs.
pub(crate) type ExitReceiver = watch::Receiver<Option<Exit>>;

/// One entry per server, so bounded by their number. An entry stays until the server is stopped or started anew,
/// because the exit code is asked for after the end.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    known: Mutex<HashMap<ServerKey, Known>>,
    changed: Notify,
}

#[derive(Debug)]
struct Known {
    process: Process,
    exit: ExitReceiver,
    /// Whether an end is news: not while the server is being started or stopped, and only once.
    news: bool,
}

impl Registry {
    /// A server that is being started; its end is not reported yet.
    pub(crate) fn enter(&self, key: &ServerKey, process: Process, exit: ExitReceiver) {
        self.lock().insert(key.clone(), Known { process, exit, news: false });
    }

    /// From now on the end of this process is news, even if it was just before.
    pub(crate) fn announce(&self, key: &ServerKey, process: Process) {
        self.set_news(key, process, true);
        self.changed.notify_waiters();
    }

    /// From now on the end of this process is expected.
    pub(crate) fn hush(&self, key: &ServerKey, process: Process) {
        self.set_news(key, process, false);
    }

    /// Forgets the process.
    pub(crate) fn leave(&self, key: &ServerKey, process: Process) {
        let mut known = self.lock();
        if known.get(key).is_some_and(|entry| entry.process == process) {
            known.remove(key);
        }
    }

    /// Where the end of this server's process is told, if it is watched.
    pub(crate) fn exit_of(&self, key: &ServerKey, pid: Option<i32>) -> Option<ExitReceiver> {
        self.lock()
            .get(key)
            .filter(|entry| pid.is_none_or(|pid| pid == entry.process.pid))
            .map(|e| e.exit.clone())
    }

    /// Whether exactly this process is watched.
    pub(crate) fn knows(&self, key: &ServerKey, process: Process) -> bool {
        self.lock().get(key).is_some_and(|entry| entry.process == process)
    }

    /// A watcher noticed an end.
    pub(crate) fn ended(&self) {
        self.changed.notify_waiters();
    }

    /// The next end that is news.
    pub(crate) async fn next_event(&self) -> ServerEvent {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // listen before looking, or an end in between would be missed
            changed.as_mut().enable();
            if let Some(event) = self.take_event() {
                return event;
            }
            changed.await;
        }
    }

    fn take_event(&self) -> Option<ServerEvent> {
        self.lock().iter_mut().find_map(|(key, entry)| {
            let exit = entry.exit.borrow().clone().filter(|_| entry.news)?;
            entry.news = false;
            Some(ServerEvent { key: key.clone(), status: PollStatus::Exited(exit) })
        })
    }

    fn set_news(&self, key: &ServerKey, process: Process, news: bool) {
        if let Some(entry) = self.lock().get_mut(key).filter(|entry| entry.process == process) {
            entry.news = news;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerKey, Known>> {
        // no code panics while it holds the lock, and the map is whole at every step
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hub_core::{ServerName, UserName};

    use super::*;

    #[tokio::test]
    async fn an_end_is_news_once_and_only_for_the_present_run() {
        let registry = Registry::default();
        let key = ServerKey::new(UserName::stored("ann"), ServerName::default());
        let (old, new) = (Process { pid: 5, start_time: 1 }, Process { pid: 6, start_time: 2 });
        let (old_end, exit) = watch::channel(None);
        registry.enter(&key, old, exit);
        registry.announce(&key, old);
        let (new_end, exit) = watch::channel(None);
        registry.enter(&key, new, exit);
        old_end.send_replace(Some(Exit::default()));
        assert!(registry.take_event().is_none(), "the old run ended, which nobody asks for any more");
        new_end.send_replace(Some(Exit { code: Some(1), ..Exit::default() }));
        assert!(registry.take_event().is_none(), "still starting");
        registry.announce(&key, new);
        let event = registry.next_event().await;
        assert_eq!(event.status, PollStatus::Exited(Exit { code: Some(1), ..Exit::default() }));
        assert!(registry.take_event().is_none());
    }
}
