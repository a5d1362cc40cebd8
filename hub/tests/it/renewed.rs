//! Credentials of running servers that a browser's request renews.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use async_trait::async_trait;
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, AuthenticatorPlugin, LoginForm, LoginMethod,
    LoginRequest, LoginStep, PluginError, ServerKey,
};
use serde_json::{Value, json};

use crate::fake_spawner;
use crate::support::{Client, TestHub};

static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
static AWAY: Mutex<bool> = Mutex::new(false);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Gives a new token for each question, to browsers that bring the cookie `app`.
#[derive(Debug)]
struct Application;

#[expect(clippy::unnecessary_wraps, reason = "the signature of plugins")]
fn build(_: Value, _: &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError> {
    Ok(Arc::new(Application))
}

#[async_trait]
impl Authenticator for Application {
    fn class_name(&self) -> &'static str {
        "Application"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Form
    }

    async fn begin(&self, _: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Form(LoginForm::default()))
    }

    async fn finish(&self, _: &LoginRequest) -> Result<LoginStep, AuthError> {
        Err(AuthError::Invalid("nobody logs in here".to_owned()))
    }

    fn credentials_max_age(&self) -> Option<Duration> {
        Some(Duration::from_millis(10))
    }

    async fn fresh_environment(
        &self,
        server: &ServerKey,
        rq: &LoginRequest,
    ) -> Result<Option<BTreeMap<String, String>>, AuthError> {
        if !rq.cookies.contains_key("app") {
            return Ok(None);
        }
        if *AWAY.lock().unwrap() {
            return Err(AuthError::Unavailable("away".to_owned()));
        }
        ASKED.lock().unwrap().push(server.to_string());
        let token = format!("{}-{}", server.server, COUNT.fetch_add(1, Ordering::SeqCst));
        Ok(Some(BTreeMap::from([("HEXA_TOKEN".to_owned(), token)])))
    }
}

async fn hub() -> TestHub {
    let plugin =
        AuthenticatorPlugin { name: "application", build, describe: hub_core::plugin::options_schema::<()> };
    TestHub::with_authenticator(plugin, |config| {
        config.authenticator.kind = String::from("application");
        config.hub.crypt_keys = vec!["ef".repeat(32).into()];
    })
    .await
}

async fn given(client: &Client) -> Option<String> {
    let answer = client.get("/user").await.holds(200);
    answer.get("environment").map(|found| found["HEXA_TOKEN"].as_str().unwrap().to_owned())
}

/// The browser comes again until the server gets something else.
async fn until_renewed(browser: &Client, server: &Client, before: Option<String>) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert_eq!(browser.send(Method::GET, "/hub/home", None).await.code(), 200);
        match given(server).await {
            Some(now) if Some(&now) != before.as_ref() => return now,
            _ => assert!(Instant::now() < deadline, "nothing is renewed"),
        }
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn a_running_server_gets_what_its_owners_browser_renewed_and_no_other_server_does() {
    let test = hub().await;
    let browser = test.browser("hexa-ada", false).await;
    let cookies = browser.sent("Cookie").unwrap().to_owned();
    let with_app = browser.clone().without("Cookie").header("Cookie", &format!("{cookies}; app=s"));
    let script = test.user("hexa-ada").await;
    for server in ["alpha", "beta"] {
        assert_eq!(script.post(&format!("/users/hexa-ada/servers/{server}"), None).await.code(), 201);
    }
    let own = |server: &str| test.bearer(&fake_spawner::token(&format!("hexa-ada/{server}")));
    let (alpha, beta) = (own("alpha"), own("beta"));
    // A browser without the application's session renews nothing, and is not kept waiting for anything.
    assert_eq!(browser.send(Method::GET, "/hub/home", None).await.code(), 200);
    assert_eq!(given(&alpha).await, None);

    let first = until_renewed(&with_app, &alpha, None).await;
    assert!(first.starts_with("alpha-"), "{first}");
    let of_beta = until_renewed(&with_app, &beta, None).await;
    assert!(of_beta.starts_with("beta-"), "{of_beta}");
    assert!(given(&alpha).await.unwrap().starts_with("alpha-"));
    assert!(until_renewed(&with_app, &alpha, Some(first)).await.starts_with("alpha-"));
    // Neither the person's other tokens nor other people's get any of it.
    assert_eq!(given(&script).await, None);
    let forged = script.post("/users/hexa-ada/tokens", json!({"note": "Server at /user/hexa-ada/alpha/"}));
    let forged = forged.await.holds(201)["token"].as_str().unwrap().to_owned();
    assert_eq!(given(&test.bearer(&forged)).await, None);

    // What is kept is kept for that run, in no readable form.
    let known = given(&alpha).await.unwrap();
    let rows = hub_db::repo::environments::find(
        test.hub.db.conn(),
        user_id(&test).await,
        spawner_id(&test, "alpha").await,
        test.hub.clock.now(),
    );
    assert!(!rows.await.unwrap().unwrap().encrypted.contains(&known));
    *AWAY.lock().unwrap() = true;
    assert_eq!(script.post("/users/hexa-ada/servers/alpha/restart", None).await.code(), 201);
    let restarted = own("alpha");
    assert_eq!(given(&restarted).await, None, "the new run has those of its start");
    for _ in 0..20 {
        assert_eq!(with_app.send(Method::GET, "/hub/home", None).await.code(), 200);
    }
    assert_eq!(given(&restarted).await, None);
    assert!(ASKED.lock().unwrap().iter().all(|server| server.starts_with("hexa-ada")));
}

async fn user_id(test: &TestHub) -> i32 {
    hub_db::repo::users::by_name(test.hub.db.conn(), "hexa-ada").await.unwrap().unwrap().id
}

async fn spawner_id(test: &TestHub, server: &str) -> i32 {
    let rows = hub_db::repo::spawners::of_user(test.hub.db.conn(), user_id(test).await).await.unwrap();
    rows.into_iter().find(|row| row.row.name == server).unwrap().row.id
}
