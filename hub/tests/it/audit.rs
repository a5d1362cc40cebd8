//! The audit log of a hub.

use std::path::Path;
use std::sync::Arc;

use actix_web::http::Method;
use async_trait::async_trait;
use himalia::audit::verify::verify;
use hub_config::ServiceSection;
use hub_core::{
    AuthError, AuthRoute, Authenticator, AuthenticatorContext, AuthenticatorPlugin, Identity, LoginMethod,
    LoginRequest, LoginStep, PluginError,
};
use serde_json::{Value, json};

use crate::support::{Answer, Client, ROOT, TestHub, WATCH};

/// Logs in whom the address names, as the redirect of an identity provider does.
#[derive(Debug)]
struct Provider;

#[expect(clippy::unnecessary_wraps, reason = "the signature of plugins")]
fn provider(_: Value, _: &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError> {
    Ok(Arc::new(Provider))
}

#[async_trait]
impl Authenticator for Provider {
    fn class_name(&self) -> &'static str {
        "Provider"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Redirect { label: "somebody".to_owned(), path: "callback".to_owned() }
    }

    async fn begin(&self, _: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Redirect { location: "https://id.example/".to_owned(), cookies: Vec::new() })
    }

    async fn finish(&self, _: &LoginRequest) -> Result<LoginStep, AuthError> {
        Err(AuthError::Invalid("there is no form".to_owned()))
    }

    fn routes(&self) -> Vec<AuthRoute> {
        vec![AuthRoute { path: "callback".to_owned(), xsrf: false }]
    }

    async fn handle(&self, _: &str, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        let name = rq.query.get("who").cloned().ok_or_else(|| AuthError::Invalid("nobody".to_owned()))?;
        Ok(LoginStep::Identity(Box::new(Identity { name, ..Identity::default() })))
    }
}

fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn open(client: &Client, path: &str, status: u16) -> Answer {
    let answer = client.send(Method::GET, path, None).await;
    assert_eq!(answer.code(), status, "{path}: {answer:?}");
    answer
}

#[actix_web::test]
async fn what_a_read_changes_is_recorded_and_what_only_reads_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let file = Some(path.clone());
    let plugin = AuthenticatorPlugin {
        name: "provider",
        build: provider,
        describe: hub_core::plugin::options_schema::<()>,
    };
    let test = TestHub::with_authenticator(plugin, |config| {
        config.audit.file = file;
        config.authenticator.kind = "provider".to_owned();
        config.authenticator.blocked_users = vec!["eve".to_owned()];
        config.services.push(ServiceSection {
            name: "docs".to_owned(),
            api_token: Some("token-of-the-docs".into()),
            oauth_redirect_uri: Some("http://127.0.0.1:9/back".to_owned()),
            oauth_no_confirm: true,
            ..ServiceSection::default()
        });
    })
    .await;
    let stranger = test.anonymous();
    open(&stranger, "/hub/login", 302).await;
    open(&stranger, "/hub/spawn", 302).await;
    open(&stranger, "/hub/logout", 302).await;
    open(&stranger, "/hub/nowhere", 404).await;
    assert_eq!(records(&path), [] as [Value; 0]);

    open(&stranger, "/hub/callback?who=root&state=hidden", 302).await;
    test.user("eve").await;
    open(&stranger, "/hub/callback?who=eve", 403).await;
    // The provider itself has refused.
    open(&test.anonymous(), "/hub/callback?state=hidden", 403).await;
    let root = test.browser("root", true).await;
    open(&root, "/hub/home", 200).await;
    open(&root, "/hub/spawn", 302).await;
    open(&root, "/hub/spawn", 302).await;
    let authorize = "/hub/api/oauth2/authorize?client_id=service-docs&response_type=code";
    open(&root, &format!("{authorize}&scope=nonsense"), 302).await;
    open(&root, authorize, 302).await;
    open(&root, "/hub/logout", 302).await;

    let all = records(&path);
    let texts = |key: &str| -> Vec<Value> { all.iter().map(|record| record[key].clone()).collect() };
    let (callback, authorize) = ("/hub/callback", "/hub/api/oauth2/authorize");
    assert_eq!(texts("path"), [callback, callback, callback, "/hub/spawn", authorize, "/hub/logout"]);
    assert_eq!(texts("method"), ["GET"; 6]);
    assert_eq!(texts("status"), [302, 403, 403, 302, 302, 302]);
    let names: Vec<&Value> = all.iter().map(|record| &record["actor"]["name"]).collect();
    let (root, nobody) = (&json!("root"), &Value::Null);
    assert_eq!(names, [root, nobody, nobody, root, root, root]);
    assert_eq!((&all[0]["for"], &all[1]["for"]), (&json!("root"), &json!("eve")));
    assert_eq!(all[4]["handler"], "jupyterhub.apihandlers.auth.OAuthAuthorizeHandler");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("hidden"));
}

#[actix_web::test]
async fn every_call_that_changes_something_is_recorded_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let file = Some(path.clone());
    let test = TestHub::with(|config| {
        config.audit.file = file;
        config.hub.slow_spawn_timeout = std::time::Duration::from_secs(20);
    })
    .await;
    let ada = test.user("ada").await;
    test.root().get("/users").await.holds(200);
    let made = test.root().post("/users/ada/tokens?note=x", json!({"note": "hidden-note"})).await.holds(201);
    let secret = made["token"].as_str().unwrap();
    ada.post("/users/ada/server", json!({"user_options": {"password": "hidden-option"}})).await;
    test.bearer(WATCH).delete("/groups/maths", None).await;
    test.anonymous().post("/users", json!({"usernames": ["x"]})).await;
    test.root().post(&format!("/authorizations/token/{secret}"), None).await;
    test.browser("bob", false).await.send(actix_web::http::Method::GET, "/hub/logout", None).await;

    let text = std::fs::read_to_string(&path).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<(&str, &str, u64)> = records
        .iter()
        .map(|r| (r["method"].as_str().unwrap(), r["path"].as_str().unwrap(), r["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("POST", "/hub/api/users/ada/tokens", 201),
            ("POST", "/hub/api/users/ada/server", 201),
            ("DELETE", "/hub/api/groups/maths", 403),
            ("POST", "/hub/api/users", 403),
            ("POST", "/hub/api/authorizations/token/[secret]", 404),
            ("GET", "/hub/logout", 302),
        ]
    );
    assert_eq!(records[0]["actor"]["name"], "root");
    assert_eq!(records[0]["for"], "ada");
    assert_eq!(records[1]["actor"]["via"], "token");
    assert_eq!(records[1]["handler"], "jupyterhub.apihandlers.users.UserServerAPIHandler");
    assert_eq!((&records[2]["actor"]["kind"], &records[2]["for"]), (&json!("service"), &Value::Null));
    assert_eq!(records[3]["actor"], Value::Null);
    assert_eq!(
        (&records[5]["actor"]["name"], &records[5]["actor"]["via"]),
        (&json!("bob"), &json!("cookie"))
    );
    for hidden in [secret, ROOT, WATCH, "hidden-note", "hidden-option"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    assert_eq!(verify(&[path]).unwrap().lines, 6);
}
