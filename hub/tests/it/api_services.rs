//! Services.

use serde_json::json;

use crate::support::TestHub;

#[actix_web::test]
async fn services_are_listed_by_name() {
    let test = TestHub::start().await;
    let all = test.root().get("/services").await.holds(200);
    let watch = json!({
        "kind": "service", "name": "watch", "roles": [], "admin": false, "url": "", "prefix": "", "command": [],
        "pid": 0, "info": {}, "display": true,
    });
    assert_eq!(all, json!({ "watch": watch }));
    assert_eq!(test.root().get("/services/watch").await.holds(200), watch);
    test.root().get("/services/none").await.fails(404, "No such service: none");
    let some = test.user_with("watcher", &["list:services!service=other"]).await;
    assert_eq!(some.get("/services").await.holds(200), json!({}));
}

#[actix_web::test]
async fn a_service_is_made_and_deleted_at_run_time() {
    let test = TestHub::start().await;
    let root = test.root();
    let body = json!({
        "url": "http://127.0.0.1:9", "api_token": "a-token-of-a-service", "info": {"a": 1}, "display": false,
        "oauth_client_allowed_scopes": ["read:users:name"],
    });
    let made = root.post("/services/extra", body).await.holds(201);
    assert_eq!((&made["prefix"], &made["url"]), (&json!("/services/extra/"), &json!("http://127.0.0.1:9")));
    assert_eq!((&made["info"], &made["display"]), (&json!({"a": 1}), &json!(false)));
    assert_eq!(test.bearer("a-token-of-a-service").get("/user").await.holds(200)["name"], "extra");
    assert!(root.get("/proxy").await.json().get("/services/extra/").is_some());
    let client = hub_db::repo::oauth::client(test.hub.db.conn(), "service-extra").await.unwrap().unwrap();
    assert_eq!(client.redirect_uri.as_deref(), Some("/services/extra/oauth_callback"));
    root.post("/services/extra", json!({"info": {}})).await.fails(409, "Service extra already exists");
    root.delete("/services/extra", None).await.is_empty(200, "application/json");
    test.bearer("a-token-of-a-service").get("/user").await.fails(403, None::<String>);
    assert!(root.get("/proxy").await.json().get("/services/extra/").is_none());
    root.delete("/services/extra", None).await.fails(404, "Service extra does not exist");
    root.delete("/services/watch", None).await.fails(405, "Service watch is not modifiable at runtime");
}

#[actix_web::test]
async fn a_service_gets_nothing_that_its_maker_lacks() {
    let test = TestHub::start().await;
    let maker = test.user_with("maker", &["admin:services"]).await;
    let admin = maker.post("/services/extra", json!({"admin": true})).await;
    assert!(admin.message().as_str().unwrap().starts_with("Not assigning requested scopes "), "{admin:?}");
    assert_eq!(admin.code(), 400);
    let scopes = maker.post("/services/extra", json!({"oauth_client_allowed_scopes": ["proxy"]})).await;
    scopes.fails(400, "Not assigning requested scopes proxy not held by User maker");
    let plain = maker.post("/services/extra", json!({"display": true})).await.holds(201);
    assert_eq!((&plain["admin"], &plain["roles"]), (&json!(false), &json!([])));
    assert_eq!(
        test.root().post("/services/boss", json!({"admin": true})).await.holds(201)["roles"],
        json!(["admin"])
    );
}

#[actix_web::test]
async fn a_bad_service_is_refused_with_a_reason() {
    let test = TestHub::start().await;
    let root = test.root();
    root.post("/services/x", None).await.fails(400, "Invalid service data");
    root.post("/services/x", json!({"y": 1})).await.fails(400, "Invalid JSON keys: {'y': 1, 'name': 'x'}");
    root.post("/services/x", json!({"command": ["z"]}))
        .await
        .fails(400, "Can not create managed service x at runtime");
    let short = root.post("/services/x", json!({"api_token": "short"})).await;
    short.fails(400, "Failed to create service x: a token has at least 8 characters");
    let url = root.post("/services/x", json!({"url": "ftp://x"})).await;
    url.fails(400, "Failed to create service x: url must be a URL that begins with http:// or https://");
    root.get("/services/x").await.fails(404, "No such service: x");
}
