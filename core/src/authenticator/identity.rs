//! Who somebody is, and what ties them to the service that said so.

use std::fmt;

use serde_json::Value;

/// Who somebody is. The hub normalises and validates the name, applies block and allow rules, and stores the rest.
#[derive(Clone, Default, PartialEq)]
pub struct Identity {
    /// The name, as the source gave it.
    pub name: String,
    /// Administrator: yes, no, or leave as it is.
    pub admin: Option<bool>,
    /// Groups, when the authenticator manages them; none leaves them.
    pub groups: Option<Vec<String>>,
    /// Roles, when the authenticator manages them.
    pub roles: Option<Vec<Value>>,
    /// State to keep, encrypted; none keeps nothing.
    pub auth_state: Option<Value>,
    /// Facts shown to servers (`display_name`, `avatar_url`, `color`).
    pub user_info: Option<Value>,
    /// Set when the authenticator itself vouches that the person may use this hub: allow rules are skipped, block
    /// rules are not.
    pub allowed: bool,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .field("admin", &self.admin)
            .field("groups", &self.groups)
            .field("roles", &self.roles)
            .field("auth_state", &self.auth_state.as_ref().map(|_| "..."))
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// The account at an identity service that a login came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The service: an issuer's URL.
    pub issuer: String,
    /// The account there; never given to another person.
    pub subject: String,
    /// The session there (`sid`), when the service tells it.
    pub session: Option<String>,
}

/// What a look at the accounts has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClosedAccounts {
    /// Logins that end: of accounts that are there and closed.
    pub closed: Vec<Revocation>,
    /// Whether accounts may have been deleted since they were last looked for.
    pub some_may_be_gone: bool,
}

/// Logins that an identity service ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The service.
    pub issuer: String,
    /// Logins of this account; none: whoever has the session.
    pub subject: Option<String>,
    /// Logins from this session alone; none: all of the account.
    pub session: Option<String>,
    /// Whether API tokens that people made for themselves end as well, when their last login does.
    pub all_tokens: bool,
    /// Whether servers of these people are stopped, when their last login ends.
    pub stop_servers: bool,
}

impl Revocation {
    /// Whether it is about an account: by its subject, or else by the session that the account was seen in last.
    pub fn concerns(&self, account: &Account) -> bool {
        let named = match (&self.subject, &self.session) {
            (Some(subject), _) => *subject == account.subject,
            (None, Some(session)) => account.session.as_ref() == Some(session),
            (None, None) => false,
        };
        named && self.issuer == account.issuer
    }

    /// Whether what was kept of an account that it is about ends: it came from the session, or nobody knows from which.
    pub fn ends_kept(&self, account: &Account) -> bool {
        match (&self.session, &account.session) {
            (Some(ended), Some(kept)) => ended == kept,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_needs_the_issuer_and_either_the_subject_or_the_session() {
        let account = Account {
            issuer: "https://id.example".to_owned(),
            subject: "s-1".to_owned(),
            session: Some("sid-1".to_owned()),
        };
        let concerns = |issuer: &str, subject: Option<&str>, session: Option<&str>| {
            Revocation {
                issuer: issuer.to_owned(),
                subject: subject.map(str::to_owned),
                session: session.map(str::to_owned),
                all_tokens: false,
                stop_servers: false,
            }
            .concerns(&account)
        };
        assert!(concerns("https://id.example", Some("s-1"), None));
        assert!(concerns("https://id.example", Some("s-1"), Some("an older session")));
        assert!(concerns("https://id.example", None, Some("sid-1")));
        assert!(!concerns("https://id.example", None, Some("sid-2")));
        assert!(!concerns("https://id.example", Some("s-2"), Some("sid-1")));
        assert!(!concerns("https://id.example", None, None));
        assert!(!concerns("https://evil.example", Some("s-1"), Some("sid-1")));
        let ends_kept = |ended: Option<&str>, kept: Option<&str>| {
            let account = Account { session: kept.map(str::to_owned), ..account.clone() };
            let session = ended.map(str::to_owned);
            let subject = Some("s-1".to_owned());
            let issuer = "https://id.example".to_owned();
            Revocation { issuer, subject, session, all_tokens: false, stop_servers: false }
                .ends_kept(&account)
        };
        assert!(ends_kept(None, Some("sid-1")) && ends_kept(None, None) && ends_kept(Some("sid-1"), None));
        assert!(ends_kept(Some("sid-1"), Some("sid-1")) && !ends_kept(Some("sid-1"), Some("sid-2")));
    }

    #[test]
    fn kept_state_is_not_in_the_debug_output() {
        let who = Identity {
            name: "ada".to_owned(),
            auth_state: Some(serde_json::json!({"access_token": "hidden"})),
            ..Identity::default()
        };
        let shown = format!("{who:?}");
        assert!(shown.contains("ada") && !shown.contains("hidden"), "{shown}");
    }
}
