//! An authenticator that asks an application of the test, requests and starts for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Once};

use hub_core::{
    Authenticator, AuthenticatorContext, HookContext, HookError, LoginRequest, ServerKey, ServerName,
    StartJob, SystemClock, UserName,
};
use serde_json::{Value, json};

use crate::app::App;

pub(crate) struct Bench {
    pub(crate) app: App,
    pub(crate) hub: Arc<dyn Authenticator>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let app = App::start().await;
        let hub = authenticator(&app.url, &json!({}));
        Self { app, hub }
    }

    /// Runs the hook before a start that a request of somebody asked for.
    pub(crate) async fn prepares(
        &self,
        server: &str,
        request: Option<LoginRequest>,
        person: Option<&str>,
    ) -> Result<StartJob, HookError> {
        let hooks = self.hub.spawn_hooks();
        assert_eq!(hooks.len(), 1);
        let mut job = job(server);
        let cx = HookContext { request, person: person.map(str::to_owned) };
        hooks[0].before_start(&cx, &mut job).await?;
        Ok(job)
    }
}

pub(crate) fn authenticator(url: &str, further: &Value) -> Arc<dyn Authenticator> {
    static TLS: Once = Once::new();
    TLS.call_once(|| {
        rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    });
    let mut options = json!({
        "authentication_url": format!("{url}/notebooks/authenticate/"),
        "workspace_credentials_url": format!("{url}/workspaces/credentials/"),
        "default_credentials_url": format!("{url}/notebooks/default-credentials/"),
        "logout_redirect_url": "https://app.example.org/goodbye",
        "server_url": "https://api.example.org",
        "app_url": "https://app.example.org",
        "http_timeout": "5s",
    });
    options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    let cx = AuthenticatorContext::new(Arc::new(SystemClock));
    (hub_auth_openhexa::plugin().build)(options, &cx).unwrap()
}

/// A request with these cookies and one that is nobody else's business.
pub(crate) fn request(cookies: &[(&str, &str)]) -> LoginRequest {
    let mut cookies: BTreeMap<String, String> =
        cookies.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    cookies.insert("jupyterhub-hub-login".to_owned(), "2|1:0|hidden".to_owned());
    LoginRequest {
        method: "GET".to_owned(),
        url: "https://hub.example.org:8443/hub/login?next=%2F".to_owned(),
        cookies,
        ..LoginRequest::default()
    }
}

pub(crate) fn known() -> LoginRequest {
    request(&[("sessionid", "s3ss10n"), ("csrftoken", "t0k3n")])
}

fn job(server: &str) -> StartJob {
    let key = ServerKey::new(UserName::stored("ada@example.org"), ServerName::stored(server));
    StartJob::new(key, "own".to_owned().into())
}
