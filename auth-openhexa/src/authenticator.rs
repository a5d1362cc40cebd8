//! Who somebody is: whoever the application says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, Identity, LoginMethod, LoginRequest, LoginStep,
    PluginError, ServerKey, SpawnHook,
};

use tracing::{info, warn};

use crate::app::{App, Fault};
use crate::hook::WorkspaceCredentials;
use crate::options::OpenHexaOptions;
use crate::session::Session;

/// Logs people in by the application's cookies.
#[derive(Debug)]
pub struct OpenHexaAuthenticator {
    options: Arc<OpenHexaOptions>,
    app: App,
    hook: Arc<WorkspaceCredentials>,
}

impl OpenHexaAuthenticator {
    /// Checks the options of `table`. Nothing is asked yet.
    ///
    /// # Errors
    /// Every problem, with its key.
    pub fn new(
        options: OpenHexaOptions,
        table: &str,
        cx: &AuthenticatorContext,
    ) -> Result<Self, PluginError> {
        options.validate(table)?;
        let app = App::new(&options, table)?;
        let options = Arc::new(options);
        let hook = WorkspaceCredentials::new(Arc::clone(&options), app.clone(), Arc::clone(&cx.normalise));
        Ok(Self { options, app, hook: Arc::new(hook) })
    }

    fn elsewhere(&self, why: impl Into<String>) -> AuthError {
        AuthError::Elsewhere { way: Box::new(self.options.way_in()), why: why.into() }
    }

    async fn identity(&self, rq: &LoginRequest) -> Result<Identity, AuthError> {
        let Some(session) = Session::of(rq, &self.options) else {
            info!(reason = "app_no_cookies", "login refused");
            return Err(self.elsewhere("the request has no cookies of the application"));
        };
        let fault = match self.app.who(&self.options.authentication_url, &session).await {
            Ok(name) => return Ok(Identity { name, ..Identity::default() }),
            Err(fault) => fault,
        };
        warn!(reason = fault.reason(), %fault, "login refused");
        match fault {
            Fault::NoSession(why) => Err(self.elsewhere(why)),
            other => Err(AuthError::Unavailable(other.to_string())),
        }
    }
}

#[async_trait]
impl Authenticator for OpenHexaAuthenticator {
    fn class_name(&self) -> &'static str {
        "hub_auth_openhexa::OpenHexaAuthenticator"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Automatic
    }

    async fn begin(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        self.identity(rq).await.map(|who| LoginStep::Identity(Box::new(who)))
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        self.begin(rq).await
    }

    /// The application's backend logs a person out by calling the hub with the person's cookies.
    async fn leaving(&self, rq: &LoginRequest) -> Result<Option<Identity>, AuthError> {
        match self.identity(rq).await {
            Ok(who) => Ok(Some(who)),
            Err(AuthError::Elsewhere { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn logout_ends_all_sessions(&self) -> bool {
        true
    }

    fn spawn_hooks(&self) -> Vec<Arc<dyn SpawnHook>> {
        vec![Arc::clone(&self.hook) as Arc<dyn SpawnHook>]
    }

    fn credentials_max_age(&self) -> Option<Duration> {
        Some(self.options.credentials_max_age).filter(|age| !age.is_zero())
    }

    async fn fresh_environment(
        &self,
        server: &ServerKey,
        rq: &LoginRequest,
    ) -> Result<Option<BTreeMap<String, String>>, AuthError> {
        self.hook.fresh_environment(server, rq).await
    }

    async fn logged_out(&self, _who: &Identity, _rq: &LoginRequest) -> Result<Option<String>, AuthError> {
        Ok(self.options.logout_redirect_url.clone())
    }
}
