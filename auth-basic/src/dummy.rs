//! `dummy`: any name, with one password for all or none. For trying things out. Answers to `DummyAuthenticator`.

use std::sync::Arc;

use async_trait::async_trait;
use hub_core::plugin::{SecretText, read_options};
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, Identity, LoginForm, LoginMethod, LoginRequest,
    LoginStep, PluginError,
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use crate::compare::same;
use crate::{credentials, table};

/// The `kind`.
pub(crate) const NAME: &str = "dummy";

/// The table `[authenticator.dummy]`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DummyOptions {
    /// The password of everybody; without one, everybody gets in under any name.
    #[schemars(with = "Option<SecretText>")]
    pub password: Option<SecretString>,
}

/// Takes people at their word.
#[derive(Debug)]
pub struct DummyAuthenticator {
    password: Option<SecretString>,
}

impl DummyAuthenticator {
    /// An empty password is none, as in stock.
    pub fn new(options: DummyOptions) -> Self {
        Self { password: options.password.filter(|password| !password.expose_secret().is_empty()) }
    }
}

pub(crate) fn build(
    options: Value,
    _cx: &AuthenticatorContext,
) -> Result<Arc<dyn Authenticator>, PluginError> {
    warn!("the dummy authenticator is for trying things out, not for a hub that matters");
    Ok(Arc::new(DummyAuthenticator::new(read_options(options, &table(NAME))?)))
}

#[async_trait]
impl Authenticator for DummyAuthenticator {
    fn class_name(&self) -> &'static str {
        "hub_auth_basic::DummyAuthenticator"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Form
    }

    fn lets_everybody_in(&self) -> bool {
        self.password.is_none()
    }

    async fn begin(&self, _rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Form(LoginForm::default()))
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        let (user, password) = credentials(rq)?;
        match &self.password {
            Some(known) if !bool::from(same(password, known)) => {
                Err(AuthError::Invalid("wrong password".to_owned()))
            }
            _ => Ok(LoginStep::Identity(Box::new(Identity { name: user.to_owned(), ..Identity::default() }))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{context, form, identity};

    async fn login(options: Value, user: &str, password: &str) -> Result<LoginStep, AuthError> {
        build(options, &context()).unwrap().finish(&form(user, password)).await
    }

    #[tokio::test]
    async fn without_a_password_everybody_gets_in_and_the_hub_is_told_so() {
        for options in [json!({}), json!({"password": ""}), json!(null)] {
            assert!(build(options.clone(), &context()).unwrap().lets_everybody_in());
            let who = identity(login(options, "Ann", "whatever").await);
            assert_eq!((who.name.as_str(), who.admin, who.allowed), ("Ann", None, false));
        }
    }

    #[tokio::test]
    async fn with_a_password_only_that_one_counts() {
        let options = json!({"password": "sesame"});
        assert!(!build(options.clone(), &context()).unwrap().lets_everybody_in());
        assert_eq!(identity(login(options.clone(), "ann", "sesame").await).name, "ann");
        for wrong in ["", "Sesame", "sesame "] {
            assert!(
                matches!(login(options.clone(), "ann", wrong).await, Err(AuthError::Invalid(_))),
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_is_needed() {
        for name in ["", "  "] {
            assert!(matches!(login(json!({}), name, "x").await, Err(AuthError::Invalid(_))));
        }
    }

    #[test]
    fn an_unknown_option_is_named() {
        let error = build(json!({"pasword": "x"}), &context()).unwrap_err().to_string();
        assert_eq!(error, "authenticator.dummy.pasword: unknown key, did you mean `password`?");
    }
}
