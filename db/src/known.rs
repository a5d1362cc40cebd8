//! What was read before, for as long as nothing is known to have changed.
//!
//! Only where the database is this process's own: a SQLite file. Everything that this process writes counts at once.
//! What another program writes into the file counts within [`REMEMBERED`], while stock sees much of that only after a
//! restart. Databases that several hubs share are read each time.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Db;

/// Longest time for which anything is remembered. It bounds how late a change by another program is seen, and what
/// changes by the mere passing of time, as shares that end.
pub const REMEMBERED: Duration = Duration::from_secs(1);

/// Values read from the database, by what was asked.
#[derive(Debug)]
pub struct Known<K, V> {
    most: usize,
    shelf: Mutex<Shelf<K, V>>,
}

#[derive(Debug)]
struct Shelf<K, V> {
    version: u64,
    values: HashMap<K, (Instant, V)>,
}

impl<K: Eq + Hash, V: Clone> Known<K, V> {
    /// At most `most` values; when there are more, all are forgotten.
    pub fn new(most: usize) -> Self {
        Self { most, shelf: Mutex::new(Shelf { version: 0, values: HashMap::new() }) }
    }

    /// The value for `key`, by `read` unless it is known.
    ///
    /// # Errors
    /// Those of `read`; they are not remembered.
    pub async fn get<E>(&self, db: &Db, key: K, read: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let Some(version) = db.version() else { return read.await };
        if let Some(value) = self.find(version, &key) {
            return Ok(value);
        }
        let value = read.await?;
        self.keep(version, key, value.clone());
        Ok(value)
    }

    /// The value for `key` if it is known and the database is still as it was at `version`.
    pub fn find(&self, version: u64, key: &K) -> Option<V> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, value) = shelf.values.get(key).filter(|_| shelf.version == version)?;
        (read.elapsed() < REMEMBERED).then(|| value.clone())
    }

    /// Remembers what was read after the database was at `version`.
    pub fn keep(&self, version: u64, key: K, value: V) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.version != version || shelf.values.len() >= self.most {
            shelf.values.clear();
            shelf.version = version;
        }
        shelf.values.insert(key, (Instant::now(), value));
    }
}

/// Counts the changes that this process makes.
#[derive(Debug, Default)]
pub(crate) struct Changes(AtomicU64);

impl Changes {
    pub(crate) fn version(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// To be kept until the statement is done or given up: what is read in between is as it was before.
    pub(crate) fn begin(&self, sql: &str) -> Option<Change<'_>> {
        changes_what_is_known(sql).then_some(Change(self))
    }

    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// A change under way, counted when it is dropped.
#[derive(Debug)]
pub(crate) struct Change<'a>(&'a Changes);

impl Change<'_> {
    /// It turned out to change nothing.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.count();
    }
}

/// Whether a statement may change what was read before. A new token does not: it belongs to nothing that is known.
pub(crate) fn changes_what_is_known(sql: &str) -> bool {
    let reads = ["SELECT ", "PRAGMA ", "EXPLAIN "].iter().any(|word| sql.starts_with(word));
    !reads && !sql.starts_with("INSERT INTO \"api_tokens\" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_forgotten_with_the_first_change() {
        let known = Known::new(2);
        known.keep(1, "a", 1);
        assert_eq!(known.find(1, &"a"), Some(1));
        assert_eq!(known.find(2, &"a"), None);
        known.keep(2, "b", 2);
        assert_eq!(known.find(1, &"a"), None);
        assert_eq!(known.find(2, &"b"), Some(2));
    }

    #[test]
    fn no_more_is_remembered_than_was_allowed() {
        let known = Known::new(2);
        for number in 0..5 {
            known.keep(1, number, ());
            assert!(known.shelf.lock().unwrap().values.len() <= 2);
        }
        assert_eq!(known.find(1, &4), Some(()));
    }

    #[test]
    fn reading_and_new_tokens_change_nothing_that_is_known() {
        for sql in ["SELECT 1", "INSERT INTO \"api_tokens\" (\"id\") VALUES (1)"] {
            assert!(!changes_what_is_known(sql), "{sql}");
        }
        for sql in [
            "INSERT INTO \"users\" (\"id\") VALUES (1)",
            "UPDATE \"api_tokens\" SET \"scopes\" = '[]'",
            "DELETE FROM \"api_tokens\"",
            "WITH x AS (SELECT 1) DELETE FROM users",
        ] {
            assert!(changes_what_is_known(sql), "{sql}");
        }
    }
}
