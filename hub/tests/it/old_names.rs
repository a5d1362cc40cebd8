//! Names of servers that JupyterHub 5 allowed.

use hub_config::ServerNames;
use hub_core::names::escape_segment;
use hub_db::repo;
use serde_json::{Value, json};

use crate::support::TestHub;

/// Capitals, dots, white space, other scripts, signs with a meaning in addresses, and as long as can be.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "Lab",
        "v1.2.3",
        "a b",
        "été",
        "服务器",
        "50%",
        "a%2Fb",
        "x?y=z&w",
        "#1",
        "a@b~c",
        "-dash-",
        "under_score",
        "a--b",
        "semi;colon",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("n".repeat(63));
    names.push("é".repeat(255));
    names
}

fn path(name: &str) -> String {
    format!("/users/ada/servers/{}", escape_segment(name))
}

/// Starts, looks at and stops a server; it keeps its name.
async fn live(test: &TestHub, name: &str) {
    let root = test.root();
    root.post(&path(name), None).await.is_empty(201, "text/plain");
    let server = root.get(&path(name)).await.holds(200);
    assert_eq!((&server["name"], &server["ready"]), (&json!(name), &json!(true)));
    assert_eq!(server["url"], json!(format!("/user/ada/{}/", escape_segment(name))));
    assert_eq!(server["full_name"], json!(format!("ada/{name}")));
    let user = root.get("/users/ada").await.holds(200);
    assert_eq!(user["servers"][name]["ready"], json!(true), "{name}");
    let activity = json!({ "servers": { name: { "last_activity": "2026-01-01T00:00:00Z" } } });
    assert_eq!(root.post("/users/ada/activity", activity).await.code(), 200, "{name}");
    let own = format!("read:servers!server=ada/{name}");
    let narrow = test.token("root", &[&own]).await;
    narrow.get(&path(name)).await.holds(200);
    assert_eq!(narrow.get("/users/ada/server").await.code(), 404);
    let progress = root.get(&format!("{}/progress", path(name))).await;
    assert!(progress.text.contains("\"ready\": true"), "{}", progress.text);
    root.delete(&path(name), None).await.is_empty(204, "");
}

#[actix_web::test]
async fn new_servers_have_any_name_where_any_is_allowed() {
    let test = TestHub::with(|config| config.hub.server_names = ServerNames::Any).await;
    let root = test.root();
    for name in names() {
        let made = root.put(&path(&name), None).await.holds(201);
        assert_eq!(made["name"], json!(name));
        live(&test, &name).await;
        root.delete(&path(&name), json!({ "remove": true })).await.is_empty(204, "");
        assert_eq!(root.get(&path(&name)).await.code(), 404, "{name}");
    }
    for bad in ["a/b", "..", " x", "x ", "a\u{7}b", &"n".repeat(256)] {
        let answer = root.put(&path(bad), None).await;
        assert_eq!(answer.code(), 400, "{bad:?}: {answer:?}");
        let message = answer.message();
        assert!(message.as_str().unwrap().starts_with("Invalid server_name"), "{message}");
    }
}

#[actix_web::test]
async fn old_servers_keep_working_where_new_names_are_safe() {
    let test = TestHub::start().await;
    let root = test.root();
    let ada = repo::users::by_name(test.hub.db.conn(), "ada").await.unwrap().unwrap();
    for name in names() {
        assert_eq!(root.put(&path(&name), None).await.code(), 400, "{name} is not for new servers");
        repo::spawners::create(test.hub.db.conn(), ada.id, &name).await.unwrap();
        live(&test, &name).await;
        let server = root.get(&path(&name)).await.holds(200);
        assert_eq!(
            server["display_name"],
            Value::Null,
            "stock does not start with a display name on such a row"
        );
    }
    let renamed = root.patch(&path("v1.2.3"), json!({ "name": "v1-2-3" })).await;
    assert_eq!(renamed.code(), 200, "{renamed:?}");
    live(&test, "v1-2-3").await;
}
