//! `null`: nobody logs in; the hub is used with tokens alone. Answers to `NullAuthenticator`.

use std::sync::Arc;

use async_trait::async_trait;
use hub_core::plugin::read_options;
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, LoginMethod, LoginRequest, LoginStep, PluginError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::table;

/// The `kind`.
pub(crate) const NAME: &str = "null";

/// The table `[authenticator.null]`, which has no keys.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NullOptions {}

/// Lets nobody in.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullAuthenticator;

pub(crate) fn build(
    options: Value,
    _cx: &AuthenticatorContext,
) -> Result<Arc<dyn Authenticator>, PluginError> {
    let NullOptions {} = read_options(options, &table(NAME))?;
    Ok(Arc::new(NullAuthenticator))
}

#[async_trait]
impl Authenticator for NullAuthenticator {
    fn class_name(&self) -> &'static str {
        "hub_auth_basic::NullAuthenticator"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Automatic
    }

    async fn begin(&self, _rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        Err(AuthError::Denied("Nobody logs in to this hub; it is used with API tokens.".to_owned()))
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        self.begin(rq).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{context, form};

    #[tokio::test]
    async fn nobody_gets_in_by_any_way() {
        let null = build(json!({}), &context()).unwrap();
        assert!(!null.lets_everybody_in());
        assert!(matches!(null.begin(&LoginRequest::default()).await, Err(AuthError::Denied(_))));
        assert!(matches!(null.finish(&form("admin", "")).await, Err(AuthError::Denied(_))));
    }

    #[test]
    fn it_has_no_options() {
        assert!(build(json!({"password": "x"}), &context()).is_err());
    }
}
