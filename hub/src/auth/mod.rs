//! Who gets in: names, allow and block rules, encrypted state, and what a login changes in the database. Answers to
//! `Authenticator.get_authenticated_user` and `BaseHandler.auth_to_user`.

pub mod agent;
pub mod blocked;
pub mod browsers;
pub mod chain;
pub mod closed;
pub mod credentials;
pub mod crypt;
pub(crate) mod lease;
pub mod login;
pub mod looks;
pub mod names;
pub mod refresh;
pub(crate) mod removal;
pub mod revoke;
pub mod sessions;
pub mod throttle;
mod websockets;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hub_core::Authenticator;

use self::credentials::Renewals;
use self::crypt::Crypt;
use self::looks::Looks;
use self::names::NameRules;
use self::throttle::Throttle;

/// The allow rules, as configured.
#[derive(Debug, Clone, Default)]
pub struct AllowRules {
    /// Everybody who proves who they are.
    pub all: bool,
    /// Everybody who is in the database.
    pub existing: bool,
    /// These, normalised.
    pub users: BTreeSet<String>,
    /// Never these, normalised.
    pub blocked: BTreeSet<String>,
    /// Administrators, normalised; they may always enter.
    pub admins: BTreeSet<String>,
}

/// Settings of logins.
#[derive(Debug, Clone, Default)]
pub struct AuthSettings {
    /// Whether groups follow the identity.
    pub manage_groups: bool,
    /// Whether roles come from the authenticator.
    pub manage_roles: bool,
    /// Whether state is kept, encrypted.
    pub auth_state: bool,
    /// How old an identity may be before it is looked at again; zero looks before starts and stops at most.
    pub refresh_age: Duration,
    /// Whether a start looks again first.
    pub refresh_pre_spawn: bool,
    /// Whether a stop looks again first.
    pub refresh_pre_stop: bool,
    /// Whether a stale identity also fails requests by token.
    pub refresh_strict: bool,
    /// Strangers are sent on without the login page.
    pub auto_login: bool,
    /// The same, for OAuth authorisations only.
    pub auto_login_oauth: bool,
    /// Servers stop when their owner logs out.
    pub shutdown_on_logout: bool,
}

/// Everything about getting in.
#[derive(Debug)]
pub struct Auth {
    /// The chosen authenticator.
    pub authenticator: Arc<dyn Authenticator>,
    /// Name rules.
    pub names: Arc<NameRules>,
    /// Allow rules.
    pub allow: AllowRules,
    /// Keys for state.
    pub crypt: Arc<Crypt>,
    /// Settings.
    pub settings: AuthSettings,
    /// What was found when identities were last looked at.
    pub looks: Looks,
    /// When credentials of running servers were looked at.
    pub renewals: Renewals,
    /// Counts of failed logins.
    pub throttle: Throttle,
}

impl AllowRules {
    /// Whether a valid name may enter. `exists` tells that the user is in the database.
    pub fn allows(&self, name: &str, exists: bool) -> bool {
        !self.blocked.contains(name)
            && (self.all
                || self.users.contains(name)
                || self.admins.contains(name)
                || (self.existing && exists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_goes_before_allow() {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        let rules = AllowRules {
            users: set(&["ada", "eve"]),
            blocked: set(&["eve"]),
            admins: set(&["root"]),
            ..AllowRules::default()
        };
        assert!(rules.allows("ada", false));
        assert!(rules.allows("root", false));
        assert!(!rules.allows("eve", true));
        assert!(!rules.allows("bob", true));
        assert!(AllowRules { existing: true, ..rules.clone() }.allows("bob", true));
        assert!(!AllowRules { all: true, ..rules }.allows("eve", true));
    }
}
