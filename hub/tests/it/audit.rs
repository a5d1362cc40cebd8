//! The audit log of a hub.

use himalia::audit::verify::verify;
use serde_json::{Value, json};

use crate::support::{ROOT, TestHub, WATCH};

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
