//! A login under way: what must be the same when the browser comes back. It lives in a signed cookie of that browser,
//! one for each tab, so that the hub keeps nothing and any replica can answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hub_core::secret::random_urlsafe;
use hub_core::{LoginRequest, StepCookie};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Cookies of logins under way begin with this.
const PREFIX: &str = "oidc-";
/// How much of the state names the cookie.
const NAME_LENGTH: usize = 12;
/// How long people may take at the provider, in seconds.
const LIFE: u32 = 900;
/// Most logins under way in one browser; the oldest makes room.
const MOST: usize = 6;
/// Longest target that is kept; cookies have 4 KiB in all.
const LONGEST_NEXT: usize = 1_500;

/// One login under way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transaction {
    /// Comes back in the query.
    pub(crate) state: String,
    /// Comes back in the id_token.
    pub(crate) nonce: String,
    /// Proves at the token endpoint that this browser began the login.
    pub(crate) verifier: String,
    /// The address that the provider was given to send back to.
    pub(crate) callback: String,
    /// Where the person wanted to go.
    pub(crate) next: Option<String>,
    /// When it began, Unix time.
    pub(crate) began: i64,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("began", &self.began).finish_non_exhaustive()
    }
}

fn cookie_name(state: &str) -> String {
    format!("{PREFIX}{}", state.get(..NAME_LENGTH).unwrap_or(state))
}

fn gone(name: &str) -> StepCookie {
    StepCookie { name: name.to_owned(), value: String::new(), max_age: 0 }
}

impl Transaction {
    pub(crate) fn begin(callback: String, next: Option<String>, now: DateTime<Utc>) -> Self {
        Self {
            state: random_urlsafe(),
            nonce: random_urlsafe(),
            verifier: random_urlsafe(),
            callback,
            next: next.filter(|next| next.len() <= LONGEST_NEXT),
            began: now.timestamp(),
        }
    }

    /// The PKCE challenge, method `S256`.
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }

    /// The cookie of this login, and deletions of those that are too old or too many.
    pub(crate) fn cookies(&self, rq: &LoginRequest) -> Vec<StepCookie> {
        let mut others: Vec<(i64, &str)> = rq
            .kept
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (read(value).map_or(0, |other| other.began), name.as_str()))
            .collect();
        others.sort_unstable();
        let too_many = (others.len() + 1).saturating_sub(MOST);
        let oldest = self.began - i64::from(LIFE);
        let mut cookies: Vec<StepCookie> = others
            .iter()
            .enumerate()
            .filter(|(index, (began, _))| *index < too_many || *began < oldest)
            .map(|(_, (_, name))| gone(name))
            .collect();
        let value = serde_json::to_string(self).expect("texts and numbers are always JSON");
        cookies.push(StepCookie { name: cookie_name(&self.state), value, max_age: LIFE });
        cookies
    }

    /// The login that a request comes back from, if this browser began it and not too long ago.
    pub(crate) fn of(rq: &LoginRequest, state: &str, now: DateTime<Utc>) -> Option<Self> {
        let found = read(rq.kept.get(&cookie_name(state))?)?;
        let same = bool::from(found.state.as_bytes().ct_eq(state.as_bytes()));
        let age = now.timestamp() - found.began;
        (same && age <= i64::from(LIFE)).then_some(found)
    }

    /// What deletes the cookie of this login.
    pub(crate) fn end(&self) -> StepCookie {
        gone(&cookie_name(&self.state))
    }
}

fn read(value: &str) -> Option<Transaction> {
    serde_json::from_str(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn begin(rq: &mut LoginRequest, seconds: i64) -> Transaction {
        let transaction =
            Transaction::begin("https://hub/cb".to_owned(), Some("/hub/spawn".to_owned()), at(seconds));
        for cookie in transaction.cookies(rq) {
            if cookie.max_age == 0 {
                assert!(rq.kept.remove(&cookie.name).is_some());
            } else {
                rq.kept.insert(cookie.name, cookie.value);
            }
        }
        transaction
    }

    #[test]
    fn tabs_do_not_disturb_each_other_and_their_number_is_bounded() {
        let mut rq = LoginRequest::default();
        let tabs: Vec<Transaction> = (0..20).map(|second| begin(&mut rq, second)).collect();
        assert_eq!(rq.kept.len(), MOST);
        let (old, new) = tabs.split_at(20 - MOST);
        assert!(old.iter().all(|tab| Transaction::of(&rq, &tab.state, at(20)).is_none()));
        for tab in new {
            assert_eq!(Transaction::of(&rq, &tab.state, at(20)).as_ref(), Some(tab));
        }
    }

    #[test]
    fn a_login_that_took_too_long_is_over() {
        let mut rq = LoginRequest::default();
        let tab = begin(&mut rq, 0);
        assert!(Transaction::of(&rq, &tab.state, at(900)).is_some());
        assert!(Transaction::of(&rq, &tab.state, at(901)).is_none());
        begin(&mut rq, 901);
        assert_eq!(rq.kept.len(), 1);
    }

    #[test]
    fn a_state_that_only_begins_alike_is_another_one() {
        let mut rq = LoginRequest::default();
        let tab = begin(&mut rq, 0);
        let forged = format!("{}{}", &tab.state[..NAME_LENGTH], "x".repeat(31));
        assert!(Transaction::of(&rq, &forged, at(1)).is_none());
        assert!(Transaction::of(&rq, "", at(1)).is_none());
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let transaction = Transaction { verifier, ..Transaction::begin(String::new(), None, at(0)) };
        assert_eq!(transaction.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
