//! The engine of OpenID Connect with a way to the account console.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hub_auth_oidc::OidcAuthenticator;
use hub_core::{
    Account, AuthError, AuthRoute, Authenticator, ClosedAccounts, Identity, LoginMethod, LoginRequest,
    LoginStep, Refresh, Revocation, SpawnHook,
};

use crate::closed::AccountWatch;

/// Path below `/hub/` that leads to the person's account at Keycloak.
pub const ACCOUNT_PATH: &str = "account";

/// Logs in by Keycloak.
#[derive(Debug)]
pub struct KeycloakAuthenticator {
    inner: OidcAuthenticator,
    /// The account console; Keycloak shows a link back to the hub.
    console: String,
    issuer: String,
    closed: Option<AccountWatch>,
}

impl KeycloakAuthenticator {
    pub(crate) fn new(inner: OidcAuthenticator, issuer: String, client_id: &str, watch: Duration) -> Self {
        let console = format!("{issuer}/account/?referrer={client_id}");
        let closed = AccountWatch::of(&issuer, watch);
        Self { inner, console, issuer, closed }
    }
}

#[async_trait]
impl Authenticator for KeycloakAuthenticator {
    fn class_name(&self) -> &'static str {
        self.inner.class_name()
    }

    fn login(&self) -> LoginMethod {
        self.inner.login()
    }

    async fn begin(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        self.inner.begin(rq).await
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        self.inner.finish(rq).await
    }

    fn routes(&self) -> Vec<AuthRoute> {
        let mut routes = self.inner.routes();
        routes.push(AuthRoute { path: ACCOUNT_PATH.to_owned(), xsrf: false });
        routes
    }

    async fn handle(&self, route: &str, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        match (route, rq.method.as_str()) {
            (ACCOUNT_PATH, "GET") => {
                Ok(LoginStep::Redirect { location: self.console.clone(), cookies: Vec::new() })
            }
            _ => self.inner.handle(route, rq).await,
        }
    }

    async fn refresh(
        &self,
        who: &Identity,
        rq: Option<&LoginRequest>,
        alone: bool,
    ) -> Result<Refresh, AuthError> {
        self.inner.refresh(who, rq, alone).await
    }

    fn refresh_takes(&self) -> Duration {
        self.inner.refresh_takes()
    }

    fn fresh_until(&self, who: &Identity) -> Option<DateTime<Utc>> {
        self.inner.fresh_until(who)
    }

    fn account(&self, who: &Identity) -> Option<Account> {
        self.inner.account(who)
    }

    fn names_may_change_hands(&self) -> bool {
        self.inner.names_may_change_hands()
    }

    fn denied_text(&self) -> Option<String> {
        self.inner.denied_text()
    }

    fn away_since(&self) -> Option<DateTime<Utc>> {
        self.inner.away_since()
    }

    fn account_path(&self) -> Option<&'static str> {
        Some(ACCOUNT_PATH)
    }

    fn server_environment(&self, who: &Identity) -> BTreeMap<String, String> {
        self.inner.server_environment(who)
    }

    fn spawn_hooks(&self) -> Vec<Arc<dyn SpawnHook>> {
        self.inner.spawn_hooks()
    }

    fn watches_accounts(&self) -> Option<Duration> {
        self.closed.as_ref().map(|closed| closed.every)
    }

    async fn closed_accounts(&self) -> Result<ClosedAccounts, AuthError> {
        let Some(watch) = &self.closed else { return Ok(ClosedAccounts::default()) };
        Ok(watch.look(&self.inner, &self.issuer).await?)
    }

    async fn gone_accounts(&self, known: &[Account]) -> Result<Vec<Revocation>, AuthError> {
        let Some(watch) = &self.closed else { return Ok(Vec::new()) };
        Ok(watch.gone(&self.inner, &self.issuer, known).await?)
    }

    fn remembered(&self, who: &Identity) -> Option<serde_json::Value> {
        self.inner.remembered(who)
    }

    async fn logged_out(&self, who: &Identity, rq: &LoginRequest) -> Result<Option<String>, AuthError> {
        self.inner.logged_out(who, rq).await
    }
}
