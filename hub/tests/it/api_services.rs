//! Services.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hub_config::ServiceSection;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::TestHub;

/// A service that is not ready for its first requests. Its address, and how often it was asked.
async fn service(unready: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/else/where", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            assert!(head.starts_with("GET /services/"), "{head}");
            let ready = count.fetch_add(1, Ordering::SeqCst) >= unready;
            // Where a ready one sends people to is not asked.
            let answer = if ready { "302 Found\r\nLocation: http://127.0.0.1:1/" } else { "503 Unavailable" };
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

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
    let (url, asked) = service(2).await;
    let body = json!({
        "url": url, "api_token": "a-token-of-a-service", "info": {"a": 1}, "display": false,
        "oauth_client_allowed_scopes": ["read:users:name"],
    });
    let made = root.post("/services/extra", body).await.holds(201);
    assert_eq!(asked.load(Ordering::SeqCst), 3, "the answer waits until the service answers");
    assert_eq!((&made["prefix"], &made["url"]), (&json!("/services/extra/"), &json!(url)));
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
async fn services_of_the_configuration_and_of_run_time_are_looked_at_again() {
    let ((fixed, fixed_asked), (added, added_asked)) = (service(0).await, service(0).await);
    let test = TestHub::with(|config| {
        config.services.push(ServiceSection {
            name: "fixed".to_owned(),
            url: Some(fixed),
            ..ServiceSection::default()
        });
    })
    .await;
    test.root().post("/services/added", json!({"url": added})).await.holds(201);
    assert_eq!(added_asked.load(Ordering::SeqCst), 1);
    himalia::services::answers::check_all(&test.hub).await;
    assert_eq!((fixed_asked.load(Ordering::SeqCst), added_asked.load(Ordering::SeqCst)), (1, 2));
    test.root().delete("/services/added", None).await.is_empty(200, "application/json");
    himalia::services::answers::check_all(&test.hub).await;
    assert_eq!((fixed_asked.load(Ordering::SeqCst), added_asked.load(Ordering::SeqCst)), (2, 2));
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
