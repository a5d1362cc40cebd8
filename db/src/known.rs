//! What was read before, for as long as nothing has changed.
//!
//! Only where the database is a SQLite file with a write-ahead log, whose index tells of every commit, whoever made it:
//! it is looked at before anything that is remembered is used. Commits of this process that are known to change nothing
//! of it, as notes of who was active when, leave it as it is. All other databases are read each time.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Db;
use crate::connect::log_index::{Head, LogIndex};

/// Longest time for which anything is remembered. It bounds what changes by the mere passing of time, as shares that
/// end.
pub const REMEMBERED: Duration = Duration::from_secs(1);

/// Values read from the database, by what was asked.
#[derive(Debug)]
pub struct Known<K, V> {
    most: usize,
    activity: bool,
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
        Self { most, activity: true, shelf: Mutex::new(Shelf { version: 0, values: HashMap::new() }) }
    }

    /// The same for values of which nobody asks how fresh a `last_activity` in them is: a note of activity, which comes
    /// with every other request, does not make them forgotten.
    pub fn without_activity(most: usize) -> Self {
        Self { activity: false, ..Self::new(most) }
    }

    /// The number that says whether values are still as they were read; `None` where nothing may be remembered.
    pub fn version(&self, db: &Db) -> Option<u64> {
        if self.activity { db.version() } else { db.version_without_activity() }
    }

    /// The value for `key`, by `read` unless it is known.
    ///
    /// # Errors
    /// Those of `read`; they are not remembered.
    pub async fn get<E>(&self, db: &Db, key: K, read: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let Some(version) = self.version(db) else { return read.await };
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

    /// Changes a value that is known in what this process has just written of it. It is as old as before: the rest was
    /// read then.
    pub fn replace(&self, version: u64, key: &K, value: V) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.version == version
            && let Some((_, known)) = shelf.values.get_mut(key)
        {
            *known = value;
        }
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

/// How statements begin that make tokens, codes and logins.
const MADE: [&str; 2] = ["INSERT INTO \"api_tokens\" ", "INSERT INTO \"oauth_codes\" "];
/// How the statement begins that notes when a browser was seen.
const SEEN: &str = "UPDATE \"oauth_codes\" SET \"scopes\" = ? WHERE ";

/// What a statement may change of what was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// Nothing: it reads.
    None,
    /// Nothing: it makes a token, a code or a login, which belongs to nothing that is known.
    Made,
    /// Only when somebody or something was last active.
    Activity,
    /// Anything.
    Anything,
}

impl Effect {
    /// Of a statement as SQLite gets it.
    pub(crate) fn of(sql: &str) -> Self {
        let begins = |with: &[&str]| with.iter().any(|word| sql.starts_with(word));
        if begins(&["SELECT ", "PRAGMA ", "EXPLAIN "]) {
            return Self::None;
        }
        if begins(&MADE) {
            return Self::Made;
        }
        if begins(&[SEEN]) {
            return Self::Activity;
        }
        // Only where the row had an earlier time: SQLite commits nothing where a row gets the values that it has, and
        // then the commit that is seen would be somebody else's.
        let noted = sql
            .strip_prefix("UPDATE \"")
            .and_then(|rest| rest.split_once("\" SET \"last_activity\" = ? WHERE "))
            .filter(|(_, filter)| filter.contains("\"last_activity\" < ?"));
        match noted {
            Some(("users" | "spawners" | "api_tokens", _)) => Self::Activity,
            _ => Self::Anything,
        }
    }
}

/// Sees the changes that anybody makes, while there is something to see them by.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<Option<Watch>>);

#[derive(Debug)]
struct Watch {
    index: LogIndex,
    seen: Head,
    all: u64,
    without_activity: u64,
}

impl Changes {
    fn lock(&self) -> MutexGuard<'_, Option<Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, by this index.
    pub(crate) fn watch(&self, index: LogIndex) {
        let Some(seen) = index.head() else { return };
        let mut watch = self.lock();
        if watch.is_none() {
            *watch = Some(Watch { index, seen, all: 0, without_activity: 0 });
        }
    }

    /// No more, since every connection is closed.
    pub(crate) fn end(&self) {
        if let Some(watch) = self.lock().take() {
            watch.index.close();
        }
    }

    /// See [`Db::version`] and [`Db::version_without_activity`].
    pub(crate) fn version(&self, with_activity: bool) -> Option<u64> {
        let mut watch = self.lock();
        let watch = watch.as_mut()?;
        let now = watch.index.head()?;
        if now != watch.seen {
            watch.seen = now;
            watch.all += 1;
            watch.without_activity += 1;
        }
        Some(if with_activity { watch.all } else { watch.without_activity })
    }

    /// To be asked before a statement, or when a transaction has begun, of which only little may change.
    pub(crate) fn before(&self) -> Option<Head> {
        self.lock().as_ref()?.index.head()
    }

    /// A commit of this process that is done and had this effect; it did change rows. If it was the only one since
    /// `before`, all that it had no effect on is as it was.
    pub(crate) fn done(&self, before: Option<Head>, effect: Effect) {
        let (Some(before), false) = (before, effect == Effect::Anything) else { return };
        let mut watch = self.lock();
        let Some(watch) = watch.as_mut().filter(|watch| watch.seen == before) else { return };
        if let Some(now) = watch.index.head().filter(|now| now.follows(before)) {
            watch.seen = now;
            watch.all += u64::from(effect == Effect::Activity);
        }
    }
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
    fn reading_and_new_tokens_change_nothing_that_is_known_and_activity_little() {
        assert_eq!(Effect::of("SELECT 1"), Effect::None);
        for table in ["api_tokens", "oauth_codes"] {
            assert_eq!(Effect::of(&format!("INSERT INTO \"{table}\" (\"id\") VALUES (1)")), Effect::Made);
        }
        let seen = "UPDATE \"oauth_codes\" SET \"scopes\" = ? WHERE \"id\" = ?";
        assert_eq!(Effect::of(seen), Effect::Activity, "{seen}");
        for table in ["users", "spawners", "api_tokens"] {
            let sql = format!("UPDATE \"{table}\" SET \"last_activity\" = ? WHERE \"id\" = ?");
            assert_eq!(Effect::of(&sql), Effect::Anything, "{sql}");
            let sql = format!("{sql} AND \"{table}\".\"last_activity\" < ?");
            assert_eq!(Effect::of(&sql), Effect::Activity, "{sql}");
        }
        for sql in [
            "INSERT INTO \"users\" (\"id\") VALUES (1)",
            "UPDATE \"api_tokens\" SET \"scopes\" = '[]'",
            "UPDATE \"users\" SET \"last_activity\" = ?, \"admin\" = ? WHERE \"id\" = ?",
            "UPDATE \"users\" SET \"admin\" = ? WHERE \"last_activity\" = ?",
            "DELETE FROM \"api_tokens\"",
            "DELETE FROM \"oauth_codes\"",
            "WITH x AS (SELECT 1) DELETE FROM users",
        ] {
            assert_eq!(Effect::of(sql), Effect::Anything, "{sql}");
        }
    }
}
