//! A clock that stands still, a browser that keeps cookies, and a login from end to end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once};

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, Clock, Identity, LoginRequest, LoginStep, PluginError,
    StepCookie,
};
use serde_json::{Value, json};

use crate::provider::{CLIENT, Provider, SECRET};

#[derive(Debug)]
pub(crate) struct TestClock(Mutex<DateTime<Utc>>);

impl TestClock {
    pub(crate) fn pass(&self, time: TimeDelta) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn context(clock: &Arc<TestClock>) -> AuthenticatorContext {
    AuthenticatorContext {
        manage_groups: true,
        manage_roles: true,
        auth_state: true,
        hub_path: "/notebooks/hub/".to_owned(),
        ..AuthenticatorContext::new(Arc::clone(clock) as Arc<dyn Clock>)
    }
}

pub(crate) fn build(
    options: Value,
    cx: &AuthenticatorContext,
) -> Result<Arc<dyn Authenticator>, PluginError> {
    static TLS: Once = Once::new();
    TLS.call_once(|| {
        rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    });
    (hub_auth_oidc::plugin().build)(options, cx)
}

/// A provider and a hub that trusts it.
pub(crate) struct Bench {
    pub(crate) provider: Provider,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) hub: Arc<dyn Authenticator>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// With these options on top.
    pub(crate) async fn with(more: Value) -> Self {
        let clock = Arc::new(TestClock(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap())));
        let provider = Provider::start(Arc::clone(&clock)).await;
        let mut options = json!({"issuer": provider.issuer(), "client_id": CLIENT, "client_secret": SECRET});
        for (key, value) in more.as_object().unwrap() {
            options[key] = value.clone();
        }
        let hub = build(options, &context(&clock)).unwrap();
        Self { provider, clock, hub }
    }

    /// Logs in with a new browser.
    pub(crate) async fn login(&self) -> Result<Identity, AuthError> {
        let mut browser = Browser::default();
        let location = browser.leave(self).await?;
        let query = self.provider.approve(&location);
        browser.come_back(self, query).await.map(|(who, _)| who)
    }

    /// The reason for which a login fails; none when it does not.
    pub(crate) async fn refusal(&self) -> Option<String> {
        self.login().await.err().map(|error| error.to_string())
    }
}

/// Keeps what the hub leaves, as browsers do.
#[derive(Debug, Default, Clone)]
pub(crate) struct Browser {
    pub(crate) kept: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn take(&mut self, cookies: Vec<StepCookie>) {
        for cookie in cookies {
            if cookie.max_age == 0 {
                self.kept.remove(&cookie.name);
            } else {
                self.kept.insert(cookie.name, cookie.value);
            }
        }
    }

    pub(crate) fn request(&self, path: &str, query: BTreeMap<String, String>) -> LoginRequest {
        LoginRequest {
            method: "GET".to_owned(),
            url: format!("https://hub.example/notebooks/hub/{path}"),
            query,
            kept: self.kept.clone(),
            next: Some("/notebooks/hub/spawn".to_owned()),
            ..LoginRequest::default()
        }
    }

    /// Presses the button; where the browser is sent.
    pub(crate) async fn leave(&mut self, bench: &Bench) -> Result<String, AuthError> {
        match bench.hub.handle("oauth_login", &self.request("oauth_login", BTreeMap::new())).await? {
            LoginStep::Redirect { location, cookies } => {
                self.take(cookies);
                Ok(location)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn come_back(
        &mut self,
        bench: &Bench,
        query: BTreeMap<String, String>,
    ) -> Result<(Identity, Option<String>), AuthError> {
        match bench.hub.handle("oauth_callback", &self.request("oauth_callback", query)).await? {
            LoginStep::Returned { identity, next, cookies } => {
                self.take(cookies);
                Ok((*identity, next))
            }
            other => panic!("{other:?}"),
        }
    }
}
