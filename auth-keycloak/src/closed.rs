//! Accounts that an administrator of Keycloak has disabled or deleted. Keycloak tells nobody: no logout token is sent,
//! and access tokens hold until they end.
//!
//! Which accounts are disabled is a question that Keycloak answers at once. Which are gone it does not know, but how
//! many there are: when that number changes, and every now and then, the accounts of people here are looked for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hub_auth_oidc::{Fault, OidcAuthenticator};
use hub_core::{Account, ClosedAccounts, Revocation};
use serde_json::Value;

/// Accounts in one answer, and most answers that are read at a time.
const PAGE: usize = 500;
const MOST_PAGES: usize = 200;
/// Longest time for which the number of accounts is believed to tell whether one is gone: one may have come meanwhile.
const BELIEVED: Duration = Duration::from_mins(10);

/// How accounts are asked for.
#[derive(Debug)]
pub(crate) struct AccountWatch {
    /// The users of the realm, by the admin API.
    url: String,
    pub(crate) every: Duration,
    seen: Mutex<Seen>,
}

/// How many accounts there were.
#[derive(Debug, Default)]
struct Seen {
    /// When they were last looked for, one by one, and how many there were then.
    complete: Option<(Instant, u64)>,
    /// The last number.
    now: u64,
}

impl AccountWatch {
    /// None where nobody wants to know. The realm's address in the admin API follows from the issuer.
    pub(crate) fn of(issuer: &str, every: Duration) -> Option<Self> {
        let (server, realm) = issuer.rsplit_once("/realms/")?;
        let url = format!("{server}/admin/realms/{realm}/users");
        (!every.is_zero()).then(|| Self { url, every, seen: Mutex::default() })
    }

    /// All that are disabled, and whether some may be gone.
    pub(crate) async fn look(
        &self,
        keycloak: &OidcAuthenticator,
        issuer: &str,
    ) -> Result<ClosedAccounts, Fault> {
        let mut closed = Vec::new();
        self.pages(keycloak, "enabled=false&", |user| closed.extend(disabled(user, issuer))).await?;
        let count = keycloak.ask_as_client(&format!("{}/count", self.url)).await?;
        let count = count.as_ref().and_then(Value::as_u64);
        let count = count.ok_or_else(|| Fault::Nonsense("it is no number of users".to_owned()))?;
        Ok(ClosedAccounts { closed, some_may_be_gone: self.note(count) })
    }

    /// Takes down how many there are; whether some may be gone.
    fn note(&self, count: u64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.now = count;
        seen.complete.is_none_or(|(at, before)| before != count || at.elapsed() > BELIEVED)
    }

    /// Those of the accounts that the realm does not have any more. Asked in the way that takes fewer questions.
    pub(crate) async fn gone(
        &self,
        keycloak: &OidcAuthenticator,
        issuer: &str,
        known: &[Account],
    ) -> Result<Vec<Revocation>, Fault> {
        let count = self.seen.lock().unwrap_or_else(PoisonError::into_inner).now;
        let began = Instant::now();
        let wanted: BTreeSet<&str> = known
            .iter()
            .filter(|account| account.issuer == issuer && is_id(&account.subject))
            .map(|account| account.subject.as_str())
            .collect();
        let pages = usize::try_from(count).unwrap_or(usize::MAX) / PAGE + 1;
        // A list proves that somebody is there, not that somebody is not: its pages move while accounts are deleted,
        // and it may leave out whom the client may not see.
        let suspects: Vec<&str> = if wanted.len() <= pages || pages > MOST_PAGES {
            wanted.into_iter().collect()
        } else {
            let mut there = BTreeSet::new();
            self.pages(keycloak, "", |user| there.extend(id(user).map(str::to_owned))).await?;
            wanted.into_iter().filter(|subject| !there.contains(*subject)).collect()
        };
        let mut gone = Vec::new();
        for subject in suspects {
            if keycloak.ask_as_client(&format!("{}/{subject}", self.url)).await?.is_none() {
                gone.push(subject);
            }
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).complete = Some((began, count));
        Ok(gone.into_iter().map(|subject| revocation(subject, issuer)).collect())
    }

    /// Reads a list of users to its end.
    async fn pages(
        &self,
        keycloak: &OidcAuthenticator,
        filter: &str,
        mut each: impl FnMut(&Value),
    ) -> Result<(), Fault> {
        for page in 0..MOST_PAGES {
            let first = page * PAGE;
            let url = format!("{}?{filter}briefRepresentation=true&first={first}&max={PAGE}", self.url);
            let answer = keycloak.ask_as_client(&url).await?;
            let users = answer.as_ref().and_then(Value::as_array);
            let users = users.ok_or_else(|| Fault::Nonsense("it is no list of users".to_owned()))?;
            users.iter().for_each(&mut each);
            if users.len() < PAGE {
                break;
            }
        }
        Ok(())
    }
}

fn id(user: &Value) -> Option<&str> {
    user.get("id").and_then(Value::as_str)
}

/// Whether a subject can stand in a path as it is. Keycloak's are UUIDs, with a prefix where another directory has
/// them.
fn is_id(subject: &str) -> bool {
    !subject.is_empty() && subject.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte))
}

fn disabled(user: &Value, issuer: &str) -> Option<Revocation> {
    // An old Keycloak does not know the filter and lists everybody.
    let disabled = user.get("enabled").and_then(Value::as_bool) == Some(false);
    id(user).filter(|_| disabled).map(|id| revocation(id, issuer))
}

fn revocation(subject: &str, issuer: &str) -> Revocation {
    Revocation {
        issuer: issuer.to_owned(),
        subject: Some(subject.to_owned()),
        session: None,
        // Whoever is not to be here any more is not to be here by a script either.
        all_tokens: true,
        stop_servers: true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_accounts_that_are_disabled_are_closed() {
        let issuer = "https://id.example.org/auth/realms/lab";
        let watch = AccountWatch::of(issuer, Duration::from_secs(5)).unwrap();
        assert_eq!(watch.url, "https://id.example.org/auth/admin/realms/lab/users");
        assert!(AccountWatch::of(issuer, Duration::ZERO).is_none());
        let one = disabled(&json!({"id": "1", "enabled": false}), issuer).unwrap();
        assert_eq!((one.subject.as_deref(), one.all_tokens), (Some("1"), true));
        for other in
            [json!({"id": "1", "enabled": true}), json!({"id": "1"}), json!({"enabled": false}), json!(1)]
        {
            assert_eq!(disabled(&other, issuer), None);
        }
    }

    #[test]
    fn accounts_are_looked_for_when_their_number_changes() {
        let watch = AccountWatch::of("https://id.example.org/realms/lab", Duration::from_secs(5)).unwrap();
        assert!(watch.note(7), "some may have gone while the hub was away");
        assert!(watch.note(7), "nobody has looked yet");
        watch.seen.lock().unwrap().complete = Some((Instant::now(), 7));
        assert!(!watch.note(7));
        assert!(watch.note(6) && watch.note(8));
    }

    #[test]
    fn subjects_that_would_lead_elsewhere_are_never_part_of_an_address() {
        for good in ["1b3f-00", "f:1b3f:ada_1"] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "..", "a/b", "a?b", "a%2fb", "é"] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
