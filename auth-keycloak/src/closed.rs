//! Accounts that an administrator of Keycloak has disabled. Keycloak tells nobody: no logout token is sent, and access
//! tokens hold until they end.

use std::time::Duration;

use hub_auth_oidc::{Fault, OidcAuthenticator};
use hub_core::Revocation;
use serde_json::Value;

/// Accounts in one answer, and most answers that are read at a time.
const PAGE: usize = 500;
const MOST_PAGES: usize = 200;

/// How disabled accounts are asked for.
#[derive(Debug)]
pub(crate) struct ClosedAccounts {
    /// The users of the realm, by the admin API.
    url: String,
    pub(crate) every: Duration,
}

impl ClosedAccounts {
    /// None where nobody wants to know. The realm's address in the admin API follows from the issuer.
    pub(crate) fn of(issuer: &str, every: Duration) -> Option<Self> {
        let (server, realm) = issuer.rsplit_once("/realms/")?;
        (!every.is_zero()).then(|| Self { url: format!("{server}/admin/realms/{realm}/users"), every })
    }

    /// All of them.
    pub(crate) async fn list(
        &self,
        keycloak: &OidcAuthenticator,
        issuer: &str,
    ) -> Result<Vec<Revocation>, Fault> {
        let mut found = Vec::new();
        for page in 0..MOST_PAGES {
            let first = page * PAGE;
            let url = format!("{}?enabled=false&briefRepresentation=true&first={first}&max={PAGE}", self.url);
            let answer = keycloak.ask_as_client(&url).await?;
            let users =
                answer.as_array().ok_or_else(|| Fault::Nonsense("it is no list of users".to_owned()))?;
            found.extend(users.iter().filter_map(|user| closed(user, issuer)));
            if users.len() < PAGE {
                break;
            }
        }
        Ok(found)
    }
}

fn closed(user: &Value, issuer: &str) -> Option<Revocation> {
    // An old Keycloak does not know the filter and lists everybody.
    let disabled = user.get("enabled").and_then(Value::as_bool) == Some(false);
    let subject = user.get("id").and_then(Value::as_str).filter(|_| disabled)?.to_owned();
    Some(Revocation {
        issuer: issuer.to_owned(),
        subject: Some(subject),
        session: None,
        // Whoever is not to be here any more is not to be here by a script either.
        all_tokens: true,
        stop_servers: true,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_accounts_that_are_disabled_are_closed() {
        let issuer = "https://id.example.org/auth/realms/lab";
        let watch = ClosedAccounts::of(issuer, Duration::from_secs(5)).unwrap();
        assert_eq!(watch.url, "https://id.example.org/auth/admin/realms/lab/users");
        assert!(ClosedAccounts::of(issuer, Duration::ZERO).is_none());
        let one = closed(&json!({"id": "1", "enabled": false}), issuer).unwrap();
        assert_eq!((one.subject.as_deref(), one.all_tokens), (Some("1"), true));
        for other in
            [json!({"id": "1", "enabled": true}), json!({"id": "1"}), json!({"enabled": false}), json!(1)]
        {
            assert_eq!(closed(&other, issuer), None);
        }
    }
}
