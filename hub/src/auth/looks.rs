//! What was found when identities were last looked at: a cache, bounded and forgotten with time, never the truth.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hub_db::entities::users;
use moka::sync::Cache;
use tokio::sync::Mutex;

/// Most users that are remembered.
const MOST: u64 = 100_000;
/// How long a look is not repeated that brought no answer, or the answer that the person must log in again.
const PAUSE: TimeDelta = TimeDelta::seconds(15);

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The login holds.
    Holds,
    /// The person must log in again; the number stands for what was looked at.
    Stale(u64),
}

#[derive(Debug, Clone, Copy)]
struct Look {
    found: Found,
    until: DateTime<Utc>,
}

/// Held by whoever looks at a user; tells when the last look of this process began that came to an end.
pub type Turn = Arc<Mutex<Option<DateTime<Utc>>>>;

/// Looks, by user id.
#[derive(Debug)]
pub struct Looks {
    age: TimeDelta,
    last: Cache<i32, Look>,
    turns: Cache<i32, Turn>,
}

/// Stands for the login and the kept state of a user: another login is another number.
fn fingerprint(user: &users::Model) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&user.cookie_id, &user.encrypted_auth_state).hash(&mut hasher);
    hasher.finish()
}

impl Looks {
    /// Looks that hold for `age`.
    pub fn new(age: Duration) -> Self {
        let life = age.max(Duration::from_mins(1));
        Self {
            age: TimeDelta::from_std(age).unwrap_or(TimeDelta::days(3_650)),
            last: Cache::builder().max_capacity(MOST).time_to_live(life).build(),
            turns: Cache::builder().max_capacity(MOST).time_to_idle(Duration::from_mins(2)).build(),
        }
    }

    /// What is known about a user at this time without asking; none: look.
    pub fn known(&self, user: &users::Model, now: DateTime<Utc>) -> Option<Found> {
        let look = self.last.get(&user.id).filter(|look| now < look.until)?;
        match look.found {
            Found::Stale(of) if of != fingerprint(user) => None,
            found => Some(found),
        }
    }

    /// The login holds for as long as looks hold, or until `sooner`.
    pub fn holds(&self, user: i32, now: DateTime<Utc>, sooner: Option<DateTime<Utc>>) {
        let until = now + self.age;
        // Never less than a moment, or every request would look.
        let until = sooner.map_or(until, |sooner| until.min(sooner)).max(now + TimeDelta::seconds(1));
        self.last.insert(user, Look { found: Found::Holds, until });
    }

    /// Nobody could tell; the login holds for a moment.
    pub fn unknown(&self, user: i32, now: DateTime<Utc>) {
        self.last.insert(user, Look { found: Found::Holds, until: now + PAUSE });
    }

    /// The login that this row stands for has ended.
    pub fn stale(&self, user: &users::Model, now: DateTime<Utc>) {
        let found = Found::Stale(fingerprint(user));
        self.last.insert(user.id, Look { found, until: now + PAUSE });
    }

    /// Forgets a user, whose login has ended or is a new one.
    pub fn forget(&self, user: i32) {
        self.last.invalidate(&user);
    }

    /// What lets one look of this process at a user happen at a time.
    pub fn turn(&self, user: i32) -> Turn {
        self.turns.get_with(user, Arc::default)
    }
}
