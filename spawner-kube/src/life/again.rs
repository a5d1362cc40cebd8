//! Starting servers again that the cluster has ended (`start_elsewhere`): not for ever, or a server that drives one node
//! after the other out of memory would go round the cluster.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hub_core::ServerKey;
use hub_core::spawner::Exit;
use tokio::time::Instant;

/// The time in which starts are counted.
const HOUR: Duration = Duration::from_hours(1);
/// Ends that are no doing of the server and do not follow it to another node.
const CAUSES: [&str; 5] = ["evicted", "preempted", "node-shutdown", "node-drained", "node-lost"];

/// The servers that were started again within the last hour, and when.
#[derive(Debug, Default)]
pub(crate) struct Again(Mutex<HashMap<ServerKey, Vec<Instant>>>);

impl Again {
    /// Whether a server that ended so is to be started again, at most `limit` times an hour; counted when it is.
    pub(crate) fn is_due(&self, key: &ServerKey, exit: &Exit, limit: i64) -> bool {
        let limit = usize::try_from(limit).unwrap_or_default();
        if limit == 0 || !exit.cause.is_some_and(|cause| CAUSES.contains(&cause)) {
            return false;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, times| {
            times.retain(|time| time.elapsed() < HOUR);
            !times.is_empty()
        });
        let times = all.entry(key.clone()).or_default();
        if times.len() >= limit {
            return false;
        }
        times.push(Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use hub_core::{ServerName, UserName};
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_is_started_again_so_often_an_hour_and_only_when_it_did_not_end_by_itself() {
        let key = |name: &str| ServerKey::new(UserName::stored(name), ServerName::default());
        let exit = |cause| Exit { code: Some(1), cause: Some(cause), message: None };
        let again = Again::default();
        let due = |name: &str, cause| again.is_due(&key(name), &exit(cause), 2);
        assert!(!due("ann", "oom-killed") && !due("ann", "deleted") && !due("ann", "disk-full"));
        assert!(due("ann", "evicted"));
        advance(HOUR / 2).await;
        assert!(due("ann", "node-drained") && !due("ann", "evicted") && due("ben", "evicted"));
        advance(HOUR / 2).await;
        assert!(due("ann", "evicted") && !due("ann", "evicted"));
        advance(HOUR).await;
        assert!(!again.is_due(&key("cat"), &exit("evicted"), 0));
        assert!(due("dan", "evicted"));
        assert_eq!(again.0.lock().unwrap().len(), 1, "the others are forgotten");
    }
}
