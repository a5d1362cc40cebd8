//! Why a start failed is told by the next hub as well.

use actix_web::http::Method;
use serde_json::json;

use crate::support::TestHub;

async fn hub(file: &std::path::Path) -> TestHub {
    let url = format!("sqlite:///{}", file.display());
    TestHub::with(|config| {
        config.db.url = url.into();
        config.hub.use_legacy_stopped_server_status_code = false;
    })
    .await
}

#[actix_web::test]
async fn the_next_hub_tells_why_a_start_failed_until_another_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let first = hub(&file).await;
    let failing = json!({"user_options": {"fail": "The disk of ada is full."}});
    first.user("ada").await.post("/users/ada/server", failing).await.fails(500, "The disk of ada is full.");
    drop(first);

    let next = hub(&file).await;
    let browser = next.browser("ada", false).await;
    for path in ["/hub/spawn-pending/ada", "/hub/user/ada/lab"] {
        let page = browser.send(Method::GET, path, None).await;
        assert_eq!(page.code(), 500, "{path}");
        assert!(page.text.contains("The disk of ada is full."), "{path}: {}", page.text);
    }
    let events = browser.get("/users/ada/server/progress").await;
    assert!(events.text.contains("Spawn failed: The disk of ada is full."), "{}", events.text);
    let shown =
        async || next.root().get("/users/ada?include_stopped_servers=1").await.json()["servers"][""].clone();
    let server = shown().await;
    assert_eq!(
        (&server["stopped"], &server["state"]),
        (&json!(true), &json!({})),
        "stock shows its own alone"
    );

    let ada = next.user("ada").await;
    ada.post("/users/ada/server", json!({"user_options": {}})).await.is_empty(201, "text/plain");
    assert_eq!(shown().await["state"].as_object().unwrap().keys().collect::<Vec<_>>(), ["launch"]);
    ada.delete("/users/ada/server", None).await.is_empty(204, "");
    assert_eq!(shown().await["state"], json!({}));
    let page = browser.send(Method::GET, "/hub/spawn-pending/ada", None).await;
    assert_eq!(page.code(), 200);
    assert!(!page.text.contains("The disk of ada"));
    assert_eq!(ada.get("/users/ada/server/progress").await.code(), 404);
}
