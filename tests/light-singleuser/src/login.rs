//! Who is logged in, and who is on the way there. All in memory, all bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;

use crate::hub::Person;

/// How long a login may take.
pub(crate) const LOGIN_LIFE: Duration = Duration::from_mins(10);
/// How long the hub's word on a token is trusted, as in stock.
const TRUST: Duration = Duration::from_mins(5);
/// How long a session lasts; the hub's token ends after two weeks by default.
const SESSION_LIFE: Duration = Duration::from_hours(14 * 24);
/// Most entries of each kind; the oldest give way.
const MOST: usize = 1_000;

/// A login that has begun.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// Where the person wanted to go.
    pub(crate) next: String,
    /// The secret half of PKCE.
    pub(crate) verifier: String,
    /// Cookie that holds the state.
    pub(crate) cookie: String,
}

/// All logins of this server.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    pending: Store<String, Pending>,
    sessions: Store<String, String>,
    known: Store<(String, String), Person>,
}

impl Logins {
    /// Keeps a login that begins, and returns its state.
    pub(crate) fn begin(&self, pending: Pending) -> String {
        let state = random();
        self.pending.put(state.clone(), pending, LOGIN_LIFE);
        state
    }

    /// A login that comes back; a second time there is none.
    pub(crate) fn end(&self, state: &str) -> Option<Pending> {
        self.pending.take(&state.to_owned())
    }

    /// Keeps a token, and returns the session's id.
    pub(crate) fn remember(&self, token: String) -> String {
        let session = random();
        self.sessions.put(session.clone(), token, SESSION_LIFE);
        session
    }

    /// The token of a session.
    pub(crate) fn token(&self, session: &str) -> Option<String> {
        self.sessions.get(&session.to_owned())
    }

    /// Ends a session.
    pub(crate) fn forget(&self, session: &str) {
        self.sessions.take(&session.to_owned());
    }

    /// What the hub said of this token not long ago, to a browser in the same session of the hub: when that one
    /// changes, somebody logged out.
    pub(crate) fn known(&self, token: &str, hub_session: &str) -> Option<Person> {
        self.known.get(&(token.to_owned(), hub_session.to_owned()))
    }

    /// Keeps what the hub said.
    pub(crate) fn learn(&self, token: &str, hub_session: &str, person: Person) {
        self.known.put((token.to_owned(), hub_session.to_owned()), person, TRUST);
    }
}

/// 43 random characters for ids and verifiers.
pub(crate) fn random() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill(&mut bytes[..]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Values that end with time; when it is full, those that end first give way.
#[derive(Debug)]
struct Store<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Store<K, V> {
    fn put(&self, key: K, value: V, life: Duration) {
        let mut map = self.lock();
        if map.len() >= MOST {
            let now = Instant::now();
            map.retain(|_, (until, _)| *until > now);
        }
        if map.len() >= MOST
            && let Some(first) = map.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone())
        {
            map.remove(&first);
        }
        map.insert(key, (Instant::now() + life, value));
    }

    fn get(&self, key: &K) -> Option<V> {
        self.lock().get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
    }

    fn take(&self, key: &K) -> Option<V> {
        self.lock().remove(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (Instant, V)>> {
        // the map is whole at every step
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_gives_up_what_ends_first() {
        let store = Store::default();
        store.put(0, "short", Duration::from_mins(1));
        for number in 1..=MOST {
            store.put(number, "long", Duration::from_mins(2));
        }
        assert_eq!(store.lock().len(), MOST);
        assert_eq!((store.get(&0), store.get(&MOST)), (None, Some("long")));
    }

    #[test]
    fn what_has_ended_is_not_found() {
        let store = Store::default();
        store.put(1, "x", Duration::ZERO);
        assert_eq!((store.get(&1), store.take(&1)), (None, None));
    }
}
