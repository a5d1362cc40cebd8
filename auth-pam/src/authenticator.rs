//! The authenticator: a form, a question to PAM, a look at groups.

use std::sync::Arc;

use async_trait::async_trait;
use hub_core::{
    AuthError, Authenticator, Identity, LoginForm, LoginMethod, LoginRequest, LoginStep, PluginError,
    SpawnHook,
};
use tracing::{info, warn};

use crate::accounts::{self, AccountError};
use crate::helper::Helper;
use crate::options::PamOptions;
use crate::protocol::{Answer, Question};
use crate::sessions::Sessions;
use crate::{NAME, TABLE};

/// Longest name and longest password that PAM is asked about, in bytes.
const LONGEST_NAME: usize = 255;
const LONGEST_PASSWORD: usize = 4_096;

/// Logs in by the accounts of this machine. Answers to `PAMAuthenticator`.
///
/// How long a refused login takes tells nobody whether there is such an account: PAM is asked about every name that can
/// be one, by one question in a process of its own, and what PAM has refused is looked up nowhere. Its modules wait as
/// long for an account that is not there as for a wrong password (`pam_unix` computes a hash for either).
#[derive(Debug)]
pub struct PamAuthenticator {
    options: Arc<PamOptions>,
    helper: Arc<Helper>,
}

/// What the groups of an account come to.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    name: String,
    admin: Option<bool>,
    allowed: bool,
}

impl PamAuthenticator {
    /// An authenticator.
    ///
    /// # Errors
    /// Every problem of the options.
    pub fn new(options: PamOptions) -> Result<Self, PluginError> {
        options.validate()?;
        let missing = || PluginError::one(format!("{TABLE}.helper"), "there is no such program");
        let helper = Helper::new(options.helper().ok_or_else(missing)?, options.timeout);
        Ok(Self { options: Arc::new(options), helper: Arc::new(helper) })
    }

    async fn standing(&self, name: String) -> Result<Standing, AuthError> {
        let options = Arc::clone(&self.options);
        let found = tokio::task::spawn_blocking(move || standing(&options, name)).await;
        let found = found.map_err(|error| AuthError::Unavailable(error.to_string()))?;
        found.map_err(|error| match error {
            AccountError::NoAccount(_) => {
                warn!(reason = "account_missing", %error, "login refused");
                AuthError::Invalid(error.to_string())
            }
            // Who cannot be asked lets nobody in, as in stock.
            AccountError::NoGroup(_) | AccountError::Broken(_) => {
                warn!(reason = "groups_unknown", %error, "login refused");
                AuthError::Unavailable(error.to_string())
            }
        })
    }
}

fn standing(options: &PamOptions, given: String) -> Result<Standing, AccountError> {
    let asks_groups = !options.admin_groups.is_empty() || !options.allowed_groups.is_empty();
    let groups = if asks_groups { accounts::groups_of(&given)? } else { std::collections::BTreeSet::new() };
    let admin = if options.admin_groups.is_empty() {
        None
    } else {
        Some(accounts::any_of(&groups, &options.admin_groups)?)
    };
    let allowed = admin == Some(true) || accounts::any_of(&groups, &options.allowed_groups)?;
    let name = if options.pam_normalize_username { accounts::usual_name(&given)? } else { given };
    Ok(Standing { name, admin, allowed })
}

/// Whether PAM can be asked about a name at all. Most modules hand it to other programs.
fn is_plain(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && !name.starts_with('-')
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | ':'))
}

#[async_trait]
impl Authenticator for PamAuthenticator {
    fn class_name(&self) -> &'static str {
        "hub_auth_pam::PamAuthenticator"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Form
    }

    async fn begin(&self, _rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Form(LoginForm::default()))
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        let field = |name: &str| rq.form.get(name).map(String::as_str).unwrap_or_default();
        let (name, password) = (field("username"), field("password"));
        let invalid = |why: &str| {
            warn!(reason = "pam_unaskable", why, "login refused");
            Err(AuthError::Invalid(why.to_owned()))
        };
        if name.trim().is_empty() || !is_plain(name) {
            return invalid("the name cannot be that of an account");
        }
        if password.len() > LONGEST_PASSWORD || password.contains('\0') {
            return invalid("the password cannot be one");
        }
        let question = Question::Authenticate {
            service: self.options.service.clone(),
            user: name.to_owned(),
            password: password.to_owned(),
            check_account: self.options.check_account,
        };
        match self.helper.ask(&question).await {
            Ok(Answer::Done) => {}
            Ok(Answer::Refused(why)) => {
                warn!(reason = "pam_refused", why, "login refused");
                return Err(AuthError::Invalid(format!("PAM: {why}")));
            }
            Ok(Answer::Broken(why)) => {
                warn!(reason = "pam_broken", why, "login refused");
                return Err(AuthError::Unavailable(format!("PAM: {why}")));
            }
            Err(error) => {
                warn!(plugin = NAME, reason = "pam_away", %error, "login refused");
                return Err(AuthError::Unavailable(error.to_string()));
            }
        }
        let Standing { name, admin, allowed } = self.standing(name.to_owned()).await?;
        info!(user = %name, "PAM knows the account");
        Ok(LoginStep::Identity(Box::new(Identity { name, admin, allowed, ..Identity::default() })))
    }

    async fn may_exist(&self, name: &str) -> Result<bool, AuthError> {
        let name = name.to_owned();
        let found = tokio::task::spawn_blocking(move || accounts::exists(&name)).await;
        let found = found.map_err(|error| AuthError::Unavailable(error.to_string()))?;
        found.map_err(|error| AuthError::Unavailable(error.to_string()))
    }

    fn spawn_hooks(&self) -> Vec<Arc<dyn SpawnHook>> {
        if !self.options.open_sessions {
            return Vec::new();
        }
        vec![Arc::new(Sessions::new(Arc::clone(&self.helper), self.options.service.clone()))]
    }
}

#[cfg(test)]
mod tests {
    use hub_core::testing::Log;

    use super::*;

    fn options(admin: &[&str], allowed: &[&str]) -> PamOptions {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        PamOptions { admin_groups: all(admin), allowed_groups: all(allowed), ..PamOptions::default() }
    }

    #[test]
    fn groups_of_the_machine_make_administrators_and_let_in() {
        let root = |options: &PamOptions| -> Result<(Option<bool>, bool), AccountError> {
            let Standing { admin, allowed, .. } = standing(options, "root".to_owned())?;
            Ok((admin, allowed))
        };
        assert_eq!(root(&options(&[], &[])), Ok((None, false)));
        assert_eq!(root(&options(&["root"], &[])), Ok((Some(true), true)));
        assert_eq!(root(&options(&["nogroup"], &[])), Ok((Some(false), false)));
        assert_eq!(root(&options(&["nogroup"], &["root"])), Ok((Some(false), true)));
        let typo = root(&options(&["rooot"], &[]));
        assert_eq!(typo, Err(AccountError::NoGroup("rooot".to_owned())));
    }

    #[tokio::test]
    async fn a_try_asks_as_much_about_an_account_that_is_not_there() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let helper = folder.path().join("helper");
        let asked = folder.path().join("asked");
        let text = format!(
            "#!/bin/sh\ncat >> {0}\necho >> {0}\necho '{{\"result\": \"refused\", \"why\": \"no\"}}'\n",
            asked.display()
        );
        std::fs::write(&helper, text).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o700)).unwrap();
        // Groups would be looked up, and an account that is not there would be found out by that.
        let options = PamOptions {
            helper: Some(helper),
            pam_normalize_username: true,
            ..options(&["root"], &["nogroup", "no-such-group"])
        };
        let hub = PamAuthenticator::new(options).unwrap();
        let mut told = Vec::new();
        let (log, _guard) = Log::begin();
        for user in ["root", "nobody", "there-is-no-such-account"] {
            let form = [("username", user), ("password", "wrong")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            let request = LoginRequest { form: form.into(), ..LoginRequest::default() };
            told.push(hub.finish(&request).await.unwrap_err().to_string());
            let questions = std::fs::read_to_string(&asked).unwrap();
            assert_eq!(questions.lines().count(), 1, "{user}: {questions}");
            assert!(questions.contains(user), "{questions}");
            std::fs::remove_file(&asked).unwrap();
        }
        told.dedup();
        assert_eq!(told, ["invalid credentials: PAM: no"]);
        assert_eq!(log.reasons(), ["pam_refused"; 3]);
        assert!(!log.text().contains("wrong"), "the password is in the log: {}", log.text());
        let form = [("username", "-x"), ("password", "wrong")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let request = LoginRequest { form: form.into(), ..LoginRequest::default() };
        assert!(hub.finish(&request).await.is_err());
        assert_eq!(log.reasons().last().map(String::as_str), Some("pam_unaskable"));
    }

    #[test]
    fn names_that_could_be_taken_for_something_else_are_not_asked_about() {
        for name in ["-x", "../etc/passwd", "a\nb", "a:b", "a\0b", &"x".repeat(256)] {
            assert!(!is_plain(name), "{name:?}");
        }
        for name in ["ada", "ada@EXAMPLE.ORG", "EXAMPLE\\ada", "josé"] {
            assert!(is_plain(name), "{name:?}");
        }
    }

    #[test]
    fn every_problem_of_the_options_is_told_under_its_key() {
        let options = PamOptions {
            service: "../login".to_owned(),
            timeout: std::time::Duration::ZERO,
            helper: Some("/nowhere/himalia-pam".into()),
            ..PamOptions::default()
        };
        let problems = PamAuthenticator::new(options).unwrap_err().problems;
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(
            keys,
            ["authenticator.pam.service", "authenticator.pam.timeout", "authenticator.pam.helper"]
        );
    }
}
