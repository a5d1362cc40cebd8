//! Users by the dozen.

use serde_json::{Value, json};

use crate::support::{Client, TestHub};

async fn names(client: &Client, query: &str) -> Vec<String> {
    let list = client.get(&format!("/users{query}")).await.holds(200);
    list.as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn users_are_sorted_filtered_and_cut_into_pages() {
    let test = TestHub::start().await;
    let root = test.root();
    root.post("/users", json!({"usernames": ["Carol", "bob", "dave"]})).await.holds(201);
    root.post("/users/bob/activity", json!({"last_activity": "2026-01-01T00:00:00Z"})).await;
    root.post("/users/dave/activity", json!({"last_activity": "2025-01-01T00:00:00Z"})).await;
    assert_eq!(names(&root, "?sort=name").await, ["ada", "bob", "carol", "dave", "root"]);
    assert_eq!(names(&root, "?sort=-name&limit=2").await, ["root", "dave"]);
    assert_eq!(names(&root, "?sort=name&limit=2&offset=3").await, ["dave", "root"]);
    assert_eq!(names(&root, "?name_filter=A&sort=name").await, ["ada", "carol", "dave"]);
    let by_activity = names(&root, "?sort=last_activity").await;
    assert_eq!(by_activity[..2], ["ada", "carol"], "never active first");
    assert_eq!(by_activity[2..4], ["dave", "bob"]);
    assert_eq!(names(&root, "?sort=-last_activity&limit=2&offset=1").await, ["bob", "dave"]);
    root.get("/users?limit=x").await.fails(400, "Invalid argument type, offset and limit must be integers");
    root.get("/users?sort=foo").await.fails(400, "sort must be 'id', 'name', or 'last_activity', not 'foo'");
    root.get("/users?state=foo").await.fails(400, "Unrecognized state filter: 'foo'");
}

#[actix_web::test]
async fn pages_lead_to_the_next_one() {
    let test = TestHub::with(|config| config.hub.api_page_default_limit = 2).await;
    let root = test.root();
    root.post("/users", json!({"usernames": ["bob", "carol"]})).await.holds(201);
    let paged = root.clone().header("Accept", "application/json, application/jupyterhub-pagination+json");
    let first = paged.get("/users?sort=name&state=inactive").await.holds(200);
    let next = "http://hub.example/hub/api/users?sort=name&state=inactive&offset=2&limit=2";
    assert_eq!(
        first["_pagination"],
        json!({"offset": 0, "limit": 2, "total": 4, "next": {"offset": 2, "limit": 2, "url": next}})
    );
    let last = paged.get("/users?sort=name&state=inactive&offset=2&limit=2").await.holds(200);
    assert_eq!(last["_pagination"]["next"], Value::Null);
    assert_eq!(last["items"][1]["name"], "root");
    assert_eq!(names(&root, "").await.len(), 4, "clients that do not know pages get up to the maximum");
}

#[actix_web::test]
async fn the_state_of_servers_selects_users() {
    let test = TestHub::with(|config| config.hub.slow_spawn_timeout = std::time::Duration::ZERO).await;
    let root = test.root();
    root.post("/users", json!({"usernames": ["bob"]})).await.holds(201);
    root.post("/users/ada/server", json!({"user_options": {"hold": "state-of-servers"}}))
        .await
        .is_empty(202, "text/plain");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while names(&root, "?state=active").await != ["ada"] {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(names(&root, "?state=ready").await, Vec::<String>::new());
    assert_eq!(names(&root, "?state=inactive&sort=name").await, ["bob", "root"]);
    let ada = root.get("/users/ada").await.json();
    assert_eq!((&ada["pending"], &ada["server"]), (&json!("spawn"), &Value::Null));
    crate::fake_spawner::gate("state-of-servers").cancel();
    while names(&root, "?state=ready").await != ["ada"] {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let ada = root.get("/users/ada").await.json();
    assert_eq!((&ada["pending"], &ada["server"]), (&Value::Null, &json!("/user/ada/")));
    assert_eq!(ada["servers"][""]["ready"], true);
}

#[actix_web::test]
async fn filters_of_the_scope_limit_the_list() {
    let test = TestHub::start().await;
    test.root().post("/users", json!({"usernames": ["bob", "carol"]})).await.holds(201);
    let by_group = test.user_with("watcher", &["list:users!group=maths", "list:users!user=bob"]).await;
    assert_eq!(names(&by_group, "?sort=name").await, ["ada", "bob"]);
    let list = by_group.get("/users").await.holds(200);
    assert_eq!(
        list[0].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["kind", "name", "admin", "user_info"]
    );
    let by_server = test.user_with("strange", &["list:users!server=ada/"]).await;
    by_server.get("/users").await.fails(403, None::<String>);
}

#[actix_web::test]
async fn stopped_servers_are_listed_when_asked_for() {
    let test = TestHub::start().await;
    let root = test.root();
    root.put("/users/ada/servers/lab", json!({"display_name": "My Lab"})).await.holds(201);
    assert_eq!(root.get("/users/ada").await.json()["servers"], json!({}));
    for flag in ["0", "false", "False"] {
        let ada = root.get(&format!("/users/ada?include_stopped_servers={flag}")).await.json();
        assert_eq!(ada["servers"], json!({}), "{flag}");
    }
    let ada = root.get("/users/ada?include_stopped_servers=1").await.json();
    assert_eq!(ada["servers"]["lab"]["display_name"], "My Lab");
    assert_eq!(
        (&ada["servers"][""]["stopped"], &ada["servers"][""]["user_options"]),
        (&json!(true), &json!({}))
    );
}

#[actix_web::test]
async fn new_users_are_those_that_do_not_exist() {
    let test = TestHub::start().await;
    let root = test.root();
    let made = root.post("/users", json!({"usernames": ["Ada", "Bob", "bob"]})).await.holds(201);
    assert_eq!((made.as_array().unwrap().len(), &made[0]["name"]), (1, &json!("bob")));
    root.post("/users", json!({"usernames": ["ada"]})).await.fails(409, "All 1 users already exist");
    root.post("/users", json!({})).await.fails(400, "Must specify at least one user to create");
    root.post("/users", json!({"usernames": ["a/b"]})).await.fails(400, "Invalid username: a/b");
    let answer = root.post("/users", json!({"usernames": ["ok", "a/b", " "]})).await;
    answer.fails(400, "Invalid usernames: a/b,  ");
    root.get("/users/ok").await.fails(404, None::<String>);
    let answer = root.post("/users", json!({"usernames": ["x"], "foo": 1})).await;
    answer.fails(400, "Invalid JSON keys: {'foo': 1}");
    let admins = root.post("/users", json!({"usernames": ["x", "y"], "admin": true})).await.holds(201);
    assert_eq!(admins[1]["roles"], json!(["admin", "user"]));
}
