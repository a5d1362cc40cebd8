//! One change of a pod at a time, in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Locks by name. There is one for each name that is held or waited for, and none for others.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// Waits until nobody else holds the name.
    pub(crate) async fn hold(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_name_is_held_by_one_and_forgotten_after_the_last() {
        let locks = Locks::default();
        let first = locks.hold("a").await;
        {
            let second = locks.hold("a");
            tokio::pin!(second);
            assert!(second.as_mut().now_or_never().is_none());
            drop(first);
            second.await;
        }
        let _other = locks.hold("b").await;
        assert_eq!(locks.0.lock().unwrap().len(), 1);
    }
}
