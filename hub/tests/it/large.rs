//! Many users: lists in a fixed number of statements, and a start that does not wait for what it checks.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hub_db::ConnectionTrait as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake_spawner::{ADOPTING, MOST_ADOPTING, gate};
use crate::support::{Client, TestHub};

const USERS: usize = 10_000;
const RUNNING: usize = 1_000;
/// Most servers that are looked for at once.
const AT_ONCE: usize = 64;

/// A hub on a file, with short patience for servers that ran before.
async fn hub(folder: &TempDir) -> TestHub {
    let url = format!("sqlite:///{}/hub.sqlite", folder.path().display());
    TestHub::with(|config| {
        config.db.url = url.as_str().into();
        config.hub.init_spawners_timeout = Some(Duration::ZERO);
        // A hub that was dropped must not look at what the next one finds.
        config.spawner.poll_interval = Duration::ZERO;
    })
    .await
}

/// [`USERS`] users with a default server, a role and a group each, as stock would have them.
async fn fill(test: &TestHub) {
    let db = test.hub.db.conn();
    let numbers =
        format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {USERS})");
    let now = "2026-03-04 12:00:00.000000";
    for statement in [
        format!(
            "INSERT INTO users (name, admin, created, cookie_id) {numbers} \
             SELECT printf('u%05d', i), 0, '{now}', 'cookie' || i FROM n"
        ),
        "INSERT INTO spawners (user_id, name) SELECT id, '' FROM users WHERE name LIKE 'u%'".to_owned(),
        "INSERT INTO user_role_map (user_id, role_id, managed_by_auth) \
         SELECT users.id, roles.id, 0 FROM users, roles WHERE users.name LIKE 'u%' AND roles.name = 'user'"
            .to_owned(),
        "INSERT INTO user_group_map (user_id, group_id) \
         SELECT users.id, groups.id FROM users, groups WHERE users.name LIKE 'u%' AND groups.name = 'maths'"
            .to_owned(),
    ] {
        db.execute_unprepared(&statement).await.unwrap();
    }
}

/// Servers of the first users, as if they had run when the last hub ended.
async fn record_running(test: &TestHub, gate: &str) {
    let db = test.hub.db.conn();
    let state = json!({ "gate": gate });
    for statement in [
        format!(
            "INSERT INTO servers (id, proto, ip, port, base_url) SELECT id, 'http', '127.0.0.1', 1, \
             '/user/' || name || '/' FROM users WHERE name LIKE 'u%' LIMIT {RUNNING}"
        ),
        format!(
            "UPDATE spawners SET server_id = user_id, state = '{state}' WHERE user_id IN (SELECT id FROM servers)"
        ),
    ] {
        db.execute_unprepared(&statement).await.unwrap();
    }
}

/// How many statements a request takes when nothing is remembered.
async fn statements(test: &TestHub, client: &Client, path: &str) -> (u64, Value) {
    // A change, for the hub to forget what it has read.
    test.hub.db.conn().execute_unprepared("UPDATE roles SET name = name").await.unwrap();
    let before = test.hub.db.statements();
    let list = client.get(path).await.holds(200);
    (test.hub.db.statements() - before, list)
}

/// How many items a page holds.
fn items(page: &Value) -> usize {
    page["items"].as_array().unwrap().len()
}

#[actix_web::test]
async fn a_page_of_ten_thousand_users_takes_as_many_statements_as_a_page_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let test = hub(&folder).await;
    fill(&test).await;
    let paged = test.root().header("Accept", "application/jupyterhub-pagination+json");
    // The first request of a token writes down when it was used.
    paged.get("/users?limit=1").await.holds(200);
    let (one, page) = statements(&test, &paged, "/users?limit=1").await;
    assert_eq!(items(&page), 1);
    let mut path = "/users?limit=200".to_owned();
    let mut seen = 0;
    loop {
        let (all, page) = statements(&test, &paged, &path).await;
        assert_eq!(all, one, "{path}");
        seen += items(&page);
        let Value::String(url) = &page["_pagination"]["next"]["url"] else { break };
        path = url.split_once("/hub/api").unwrap().1.to_owned();
    }
    assert_eq!(seen, USERS + 2);
    assert!(one <= 20, "{one} statements");
    let narrow = test.user_with("watcher", &["list:users!group=maths", "read:servers!group=maths"]).await;
    let narrow = narrow.header("Accept", "application/jupyterhub-pagination+json");
    narrow.get("/users?limit=1").await.holds(200);
    let (few, _) = statements(&test, &narrow, "/users?limit=1").await;
    let (many, page) = statements(&test, &narrow, "/users?limit=200&include_stopped_servers=1").await;
    assert_eq!((many, items(&page)), (few, 200));
}

#[actix_web::test]
async fn a_hub_serves_while_it_looks_for_a_thousand_servers_a_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let before = hub(&folder).await;
    fill(&before).await;
    record_running(&before, "large-start").await;
    drop(before);

    let test = hub(&folder).await;
    let root = test.root();
    let deadline = Instant::now() + Duration::from_mins(1);
    while ADOPTING.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "nothing is looked for");
        tokio::task::yield_now().await;
    }
    // Nothing has been found yet, and everything is answered.
    root.get("/").await.holds(200);
    let list = root.get("/users?state=active&limit=200&sort=name").await.holds(200);
    assert_eq!(list.as_array().unwrap().len(), 200);
    for user in list.as_array().unwrap() {
        assert_eq!((&user["pending"], &user["server"]), (&json!("check"), &Value::Null), "{user}");
    }
    root.post("/users/u09999/tokens", json!({ "note": "while it looks" })).await.holds(201);
    let looked_for = ADOPTING.load(Ordering::SeqCst);
    assert!((1..=AT_ONCE).contains(&looked_for), "{looked_for} at once");

    gate("large-start").cancel();
    // The others follow, never more than before.
    let deadline = Instant::now() + Duration::from_mins(1);
    let gone = "/users?state=active&name_filter=u00001";
    while !root.get(gone).await.holds(200).as_array().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the first server is still being looked for");
        tokio::task::yield_now().await;
    }
    let most = MOST_ADOPTING.load(Ordering::SeqCst);
    assert!(most <= AT_ONCE, "{most} at once");
}
