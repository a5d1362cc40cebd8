//! `shared-password`: one password for everybody, another one for administrators. For courses and workshops.
//! Answers to `SharedPasswordAuthenticator`.
//!
//! A name that the configuration makes an administrator is only believed with the administrators' password. So the
//! name is normalised here before it is looked up, or `ADMIN` would get in with the password of everybody.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hub_core::plugin::{NameNormaliser, SecretText, read_options};
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, Identity, LoginForm, LoginMethod, LoginRequest,
    LoginStep, PluginError, Problem,
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use crate::compare::same;
use crate::{credentials, table};

/// The `kind`.
pub(crate) const NAME: &str = "shared-password";
/// Fewest characters of a password for everybody or for groups.
const USER_LENGTH: usize = 8;
/// Fewest characters of the administrators' password.
const ADMIN_LENGTH: usize = 32;
/// Most passwords that lead to groups; each is compared at every login.
const MOST_GROUP_PASSWORDS: usize = 100;

/// The table `[authenticator.shared-password]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedPasswordOptions {
    /// Password of everybody but administrators, 8 characters or more. Without it, only administrators and those
    /// with a password of `password_groups` log in.
    #[schemars(with = "Option<SecretText>")]
    pub user_password: Option<SecretString>,
    /// Password of the names in `authenticator.admin_users`, 32 characters or more. Without it, no administrator
    /// logs in.
    #[schemars(with = "Option<SecretText>")]
    pub admin_password: Option<SecretString>,
    /// Further passwords, each of which puts people into groups. Needs `authenticator.manage_groups`.
    pub password_groups: Vec<PasswordGroups>,
}

/// A password, and the groups of those who use it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordGroups {
    /// The password, 8 characters or more.
    #[schemars(with = "SecretText")]
    pub password: SecretString,
    /// Names of groups.
    pub groups: Vec<String>,
}

impl SharedPasswordOptions {
    /// Every problem of these options. Empty passwords are none, as in stock.
    pub fn validate(&self, manage_groups: bool) -> Result<(), PluginError> {
        let mut problems = Vec::new();
        let mut wrong =
            |key: &str, text: String| problems.push(Problem::new(format!("{}.{key}", table(NAME)), text));
        let mut seen = Vec::new();
        let named = [
            ("user_password", &self.user_password, USER_LENGTH),
            ("admin_password", &self.admin_password, ADMIN_LENGTH),
        ];
        let named =
            named.into_iter().filter_map(|(key, password, least)| Some((key, password.as_ref()?, least)));
        let grouped =
            self.password_groups.iter().map(|entry| ("password_groups", &entry.password, USER_LENGTH));
        for (key, password, least) in named.chain(grouped) {
            let text = password.expose_secret();
            let length = text.chars().count();
            if length == 0 && key != "password_groups" {
                continue;
            }
            if length < least {
                wrong(key, format!("a password must have {least} characters or more, this one has {length}"));
            }
            match seen.iter().find(|(_, other)| *other == text) {
                Some((other, _)) => wrong(key, format!("must differ from the password in {other}")),
                None => seen.push((key, text)),
            }
        }
        if !self.password_groups.is_empty() && !manage_groups {
            wrong("password_groups", "needs authenticator.manage_groups = true".to_owned());
        }
        if self.password_groups.len() > MOST_GROUP_PASSWORDS {
            wrong("password_groups", format!("may have {MOST_GROUP_PASSWORDS} entries at most"));
        }
        PluginError::check(problems)
    }
}

/// Compares with the shared passwords.
pub struct SharedPasswordAuthenticator {
    user_password: Option<SecretString>,
    admin_password: Option<SecretString>,
    password_groups: Vec<PasswordGroups>,
    admins: BTreeSet<String>,
    manage_groups: bool,
    normalise: NameNormaliser,
}

impl fmt::Debug for SharedPasswordAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPasswordAuthenticator").field("admins", &self.admins).finish_non_exhaustive()
    }
}

impl SharedPasswordAuthenticator {
    /// An authenticator with checked options.
    pub fn new(options: SharedPasswordOptions, cx: &AuthenticatorContext) -> Result<Self, PluginError> {
        options.validate(cx.manage_groups)?;
        let given = |password: Option<SecretString>| password.filter(|text| !text.expose_secret().is_empty());
        let this = Self {
            user_password: given(options.user_password),
            admin_password: given(options.admin_password),
            password_groups: options.password_groups,
            admins: cx.admin_users.clone(),
            manage_groups: cx.manage_groups,
            normalise: Arc::clone(&cx.normalise),
        };
        this.warn_about_gaps();
        Ok(this)
    }

    /// All of these may be meant, but seldom are.
    fn warn_about_gaps(&self) {
        match (self.admin_password.is_some(), self.admins.is_empty()) {
            (true, true) => {
                warn!("admin_password is set, but authenticator.admin_users names nobody who may use it");
            }
            (false, false) => {
                warn!("authenticator.admin_users is set, but without admin_password none of them can log in");
            }
            _ => {}
        }
        if self.user_password.is_none() && self.password_groups.is_empty() {
            warn!("without user_password nobody but administrators can log in");
        }
    }

    /// All passwords are compared, whoever asks: how long it takes tells neither who is an administrator nor which
    /// password was nearly right.
    fn identity(&self, name: String, password: &str) -> Option<Identity> {
        let is = |known: &Option<SecretString>| {
            known.as_ref().is_some_and(|known| bool::from(same(password, known)))
        };
        let (is_admin_password, is_user_password) = (is(&self.admin_password), is(&self.user_password));
        let mut groups = None;
        for entry in &self.password_groups {
            if bool::from(same(password, &entry.password)) {
                groups = Some(entry.groups.clone());
            }
        }
        let (admin, groups) = match (self.admins.contains(&name), groups) {
            (true, _) if is_admin_password => (Some(true), Vec::new()),
            (false, _) if is_user_password => (Some(false), Vec::new()),
            (false, Some(groups)) => (None, groups),
            (true, _) | (false, None) => return None,
        };
        Some(Identity { name, admin, groups: self.manage_groups.then_some(groups), ..Identity::default() })
    }
}

pub(crate) fn build(
    options: Value,
    cx: &AuthenticatorContext,
) -> Result<Arc<dyn Authenticator>, PluginError> {
    Ok(Arc::new(SharedPasswordAuthenticator::new(read_options(options, &table(NAME))?, cx)?))
}

#[async_trait]
impl Authenticator for SharedPasswordAuthenticator {
    fn class_name(&self) -> &'static str {
        "hub_auth_basic::SharedPasswordAuthenticator"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Form
    }

    async fn begin(&self, _rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Form(LoginForm::default()))
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        let (user, password) = credentials(rq)?;
        self.identity((self.normalise)(user), password)
            .map(|identity| LoginStep::Identity(Box::new(identity)))
            .ok_or_else(|| AuthError::Invalid("wrong password".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{context, form, identity};

    const ADMIN: &str = "a password for administrators, long";

    fn cx(manage_groups: bool) -> AuthenticatorContext {
        AuthenticatorContext { admin_users: BTreeSet::from(["boss".to_owned()]), manage_groups, ..context() }
    }

    fn options() -> Value {
        json!({
            "user_password": "workshop",
            "admin_password": ADMIN,
            "password_groups": [{"password": "teachers", "groups": ["staff"]}],
        })
    }

    #[tokio::test]
    async fn each_password_opens_its_own_door() {
        let hub = build(options(), &cx(true)).unwrap();
        for (user, password, expected) in [
            ("ann", "workshop", Some((Some(false), vec![]))),
            ("ann", "teachers", Some((None, vec!["staff".to_owned()]))),
            ("boss", ADMIN, Some((Some(true), vec![]))),
            ("ann", ADMIN, None),
            ("boss", "workshop", None),
            ("boss", "teachers", None),
            ("BOSS", "workshop", None),
            ("ann", "", None),
            ("ann", "workshoP", None),
        ] {
            let step = hub.finish(&form(user, password)).await;
            match expected {
                Some((admin, groups)) => {
                    let who = identity(step);
                    assert_eq!((who.admin, who.groups), (admin, Some(groups)), "{user} {password}");
                }
                None => assert!(matches!(step, Err(AuthError::Invalid(_))), "{user} {password}"),
            }
        }
    }

    #[tokio::test]
    async fn a_password_that_is_not_set_opens_nothing() {
        let hub = build(json!({"user_password": ""}), &cx(false)).unwrap();
        for user in ["ann", "boss"] {
            assert!(matches!(hub.finish(&form(user, "")).await, Err(AuthError::Invalid(_))));
        }
    }

    #[tokio::test]
    async fn groups_stay_as_they_are_unless_they_are_managed() {
        let hub = build(json!({"user_password": "workshop"}), &cx(false)).unwrap();
        assert_eq!(identity(hub.finish(&form("ann", "workshop")).await).groups, None);
    }

    #[test]
    fn weak_and_equal_passwords_and_groups_without_management_are_refused() {
        let weak = json!({
            "user_password": "short",
            "admin_password": "not quite long enough",
            "password_groups": [{"password": "short", "groups": []}],
        });
        let error = build(weak, &cx(false)).unwrap_err();
        let keys: Vec<&str> = error
            .problems
            .iter()
            .filter_map(|p| p.key.strip_prefix("authenticator.shared-password."))
            .collect();
        assert_eq!(
            keys,
            ["user_password", "admin_password", "password_groups", "password_groups", "password_groups"]
        );
        for secret in ["short", "not quite"] {
            assert!(!error.to_string().contains(&format!("{secret} ")), "{error}");
        }
        let equal = build(json!({"user_password": ADMIN, "admin_password": ADMIN}), &cx(false)).unwrap_err();
        assert!(equal.to_string().contains("admin_password: must differ from the password in user_password"));
    }

    #[test]
    fn nothing_secret_is_in_the_debug_output() {
        let hub = build(options(), &cx(true)).unwrap();
        let shown = format!("{hub:?}");
        assert!(
            !shown.contains("workshop") && !shown.contains(ADMIN) && !shown.contains("teachers"),
            "{shown}"
        );
    }
}
