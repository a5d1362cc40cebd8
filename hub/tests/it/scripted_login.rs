//! A login against an identity service in memory.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use actix_web::http::Method;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use hub_core::{
    Account, AuthError, AuthRoute, Authenticator, AuthenticatorContext, AuthenticatorPlugin, Clock as _,
    Identity, LoginForm, LoginMethod, LoginRequest, LoginStep, PluginError, Refresh, Revocation, SystemClock,
};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::support::{Answer, Client, TestHub};

/// An identity service in memory, whose refresh tokens work once: using one twice ends the session.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) token: AtomicUsize,
    pub(crate) refreshes: AtomicUsize,
    pub(crate) misused: AtomicUsize,
    /// Where set, a refresh waits for it.
    pub(crate) hold: Mutex<Option<Arc<Notify>>>,
}

pub(crate) static SERVICES: LazyLock<Mutex<HashMap<String, Arc<Service>>>> = LazyLock::new(Mutex::default);

/// Logs in whoever gives the password `right`, with the roles of the field `roles`; a login must be refreshed every
/// second.
#[derive(Debug)]
struct Scripted(Arc<Service>);

#[expect(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "the signature of plugins")]
fn build(options: Value, _: &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError> {
    let name = options["service"].as_str().unwrap_or_default().to_owned();
    let service = Arc::clone(SERVICES.lock().unwrap().entry(name).or_default());
    Ok(Arc::new(Scripted(service)))
}

fn state(token: usize) -> Value {
    json!({"token": token, "until": (SystemClock.now() + TimeDelta::seconds(1)).timestamp_millis()})
}

#[async_trait]
impl Authenticator for Scripted {
    fn class_name(&self) -> &'static str {
        "Scripted"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Form
    }

    async fn begin(&self, _: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Form(LoginForm::default()))
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        if rq.form.get("password").map(String::as_str) != Some("right") {
            return Err(AuthError::Invalid("wrong".to_owned()));
        }
        let name = rq.form.get("username").cloned().unwrap_or_default();
        let mut kept = state(self.0.token.load(Ordering::SeqCst));
        if let Some(session) = rq.form.get("session") {
            kept["session"] = json!(session);
        }
        let auth_state = Some(kept);
        let roles = rq.form.get("roles").map(|names| {
            let names = names.split(',').filter(|name| !name.is_empty());
            names.map(|name| json!({"name": name, "scopes": ["read:hub"]})).collect()
        });
        Ok(LoginStep::Identity(Box::new(Identity { name, auth_state, roles, ..Identity::default() })))
    }

    fn routes(&self) -> Vec<AuthRoute> {
        vec![AuthRoute { path: "end".to_owned(), xsrf: false }]
    }

    async fn handle(&self, _: &str, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Revoke(Box::new(Revocation {
            issuer: "service".to_owned(),
            subject: rq.form.get("subject").cloned(),
            session: rq.form.get("session").cloned(),
            all_tokens: rq.form.contains_key("all"),
            stop_servers: rq.form.contains_key("stop"),
        })))
    }

    async fn refresh(
        &self,
        who: &Identity,
        _: Option<&LoginRequest>,
        alone: bool,
    ) -> Result<Refresh, AuthError> {
        let Some(kept) = &who.auth_state else { return Ok(Refresh::Stale) };
        assert!(kept.get("refreshing").is_none(), "the mark is the hub's own");
        if kept["until"].as_i64().unwrap() > SystemClock.now().timestamp_millis() {
            return Ok(Refresh::Valid);
        }
        if !alone {
            return Ok(Refresh::Alone);
        }
        let given = usize::try_from(kept["token"].as_u64().unwrap()).unwrap();
        if self.0.token.compare_exchange(given, given + 1, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            self.0.misused.fetch_add(1, Ordering::SeqCst);
            return Ok(Refresh::Stale);
        }
        self.0.refreshes.fetch_add(1, Ordering::SeqCst);
        let hold = self.0.hold.lock().unwrap().clone();
        if let Some(hold) = hold {
            hold.notified().await;
        }
        // others have time to come in between
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let mut newer = state(given + 1);
        newer["session"] = kept["session"].clone();
        let auth_state = Some(newer);
        Ok(Refresh::Updated(Box::new(Identity { name: who.name.clone(), auth_state, ..Identity::default() })))
    }

    fn refresh_takes(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn fresh_until(&self, who: &Identity) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(who.auth_state.as_ref()?["until"].as_i64()?)
    }

    fn account(&self, who: &Identity) -> Option<Account> {
        let session = who.auth_state.as_ref()?["session"].as_str().map(str::to_owned);
        Some(Account { issuer: "service".to_owned(), subject: who.name.clone(), session })
    }
}

pub(crate) async fn hub(service: &str, database: &str) -> TestHub {
    hub_with(service, database, None).await
}

pub(crate) async fn hub_with(service: &str, database: &str, audit: Option<PathBuf>) -> TestHub {
    let service = service.to_owned();
    let database = database.to_owned();
    TestHub::with_authenticator(
        AuthenticatorPlugin { name: "scripted", build, describe: hub_core::plugin::options_schema::<()> },
        move |config| {
            config.audit.file = audit;
            config.db.url = database.as_str().into();
            config.hub.crypt_keys = vec!["cd".repeat(32).into()];
            config.authenticator.kind = String::from("scripted");
            config.authenticator.enable_auth_state = true;
            config.authenticator.manage_roles = true;
            let mut table = Map::new();
            table.insert("service".to_owned(), json!(service));
            config.authenticator.plugins.insert("scripted", table);
        },
    )
    .await
}

/// Posts the login form.
pub(crate) async fn log_in(hub: &TestHub, user: &str, password: &str) -> Answer {
    log_in_with(hub, user, password, &[]).await
}

pub(crate) async fn log_in_with(hub: &TestHub, user: &str, password: &str, more: &[(&str, &str)]) -> Answer {
    let page = hub.anonymous().send(Method::GET, "/hub/login", None).await;
    let xsrf = page.cookie("_xsrf").unwrap();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("username", user), ("password", password), ("_xsrf", &xsrf)])
        .extend_pairs(more)
        .finish();
    hub.anonymous()
        .header("Cookie", &format!("_xsrf={xsrf}"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .send(Method::POST, "/hub/login", Some(form.as_bytes()))
        .await
}

pub(crate) fn browser(hub: &TestHub, login: &Answer) -> Client {
    let cookie = login.cookie("jupyterhub-hub-login").unwrap();
    hub.anonymous().header("Cookie", &format!("jupyterhub-hub-login=\"{cookie}\"; jupyterhub-session-id=s"))
}

pub(crate) async fn is_in(client: &Client) -> bool {
    client.send(Method::GET, "/hub/token", None).await.code() == 200
}
