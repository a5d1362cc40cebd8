//! Two hubs on one database.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fake_spawner::gate;
use crate::support::TestHub;

async fn hub(file: &std::path::Path) -> TestHub {
    let url = format!("sqlite:///{}", file.display());
    TestHub::with(|config| {
        config.db.url = url.into();
        config.hub.slow_spawn_timeout = Duration::ZERO;
    })
    .await
}

/// Asks until the server of ada is ready.
async fn until_ready(test: &TestHub) -> serde_json::Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let server = test.root().get("/users/ada/server").await.json();
        if server["ready"] == true {
            return server;
        }
        assert!(Instant::now() < deadline, "{server}");
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn a_server_is_started_by_one_of_them_and_the_other_one_follows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let (one, other) = (hub(&file).await, hub(&file).await);
    one.user("ada").await;
    let held = json!({"user_options": {"hold": "two-hubs"}});
    one.root().post("/users/ada/server", held).await.is_empty(202, "text/plain");
    let deadline = Instant::now() + Duration::from_secs(20);
    while other.root().get("/users/ada/server").await.json()["pending"] != "spawn" {
        assert!(Instant::now() < deadline, "the other hub does not see the start");
        tokio::task::yield_now().await;
    }
    other.root().post("/users/ada/server", json!({"user_options": {}})).await.is_empty(202, "text/plain");
    gate("two-hubs").cancel();
    let (here, there) = (until_ready(&one).await, until_ready(&other).await);
    assert_eq!(here["started"], there["started"]);
    assert_eq!(there["user_options"], json!({"hold": "two-hubs"}), "the start of the first hub is the one");
    let routes = other.root().get("/proxy").await.json();
    assert!(routes.get("/user/ada/").is_some(), "{routes}");
    one.root().delete("/users/ada/server", None).await;
}
