//! Two hubs on one database.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hub_config::RoleSection;
use hub_db::repo;
use serde_json::json;

use crate::database::{Fresh, MARIADB, POSTGRESQL};
use crate::fake_spawner::gate;
use crate::support::TestHub;

async fn hub(file: &std::path::Path) -> TestHub {
    let url = format!("sqlite:///{}", file.display());
    TestHub::with(|config| {
        config.db.url = url.into();
        config.hub.slow_spawn_timeout = Duration::ZERO;
        // A start that another hub is at work on is not waited for.
        config.hub.init_spawners_timeout = Some(Duration::ZERO);
    })
    .await
}

/// Hubs that begin at the same moment on an empty database make the rows of their configuration once.
async fn begin_at_once(url: &str) {
    let begun = (0..6).map(|_| {
        TestHub::with(|config| {
            config.db.url = url.into();
            config.authenticator.allowed_users = ["ada", "bob", "cyd"].map(String::from).to_vec();
            config.roles.push(RoleSection {
                name: "reader".to_owned(),
                scopes: Some(vec!["read:users".to_owned()]),
                users: Some(vec!["bob".to_owned()]),
                ..RoleSection::default()
            });
        })
    });
    for hub in join_all(begun).await {
        let users = hub.root().get("/users").await.json();
        let mut names: Vec<&str> =
            users.as_array().unwrap().iter().filter_map(|user| user["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["ada", "bob", "cyd", "root"]);
        assert_eq!(hub.root().get("/groups/maths").await.json()["users"], json!(["ada"]));
        let bob = hub.root().get("/users/bob").await.json();
        assert_eq!(bob["roles"], json!(["reader", "user"]));
    }
}

#[actix_web::test]
async fn hubs_begin_at_once_on_postgresql() {
    Fresh::during(POSTGRESQL, begin_at_once).await;
}

#[actix_web::test]
async fn hubs_begin_at_once_on_mariadb() {
    Fresh::during(MARIADB, begin_at_once).await;
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

#[actix_web::test]
async fn a_start_under_way_is_left_alone_by_a_hub_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let one = hub(&file).await;
    one.user("ada").await;
    let held = json!({"user_options": {"hold": "late-hub"}});
    one.root().post("/users/ada/server", held).await.is_empty(202, "text/plain");
    let user = repo::users::by_name(one.hub.db.conn(), "ada").await.unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while repo::spawners::by_name(one.hub.db.conn(), user.id, "").await.unwrap().unwrap().server.is_none() {
        assert!(Instant::now() < deadline, "the start does not begin");
        tokio::task::yield_now().await;
    }
    let other = hub(&file).await;
    let seen = other.root().get("/users/ada/server").await.json();
    assert_eq!(seen["ready"], false, "{seen}");
    gate("late-hub").cancel();
    let (here, there) = (until_ready(&one).await, until_ready(&other).await);
    assert_eq!(here["started"], there["started"], "the start of the first hub is the one");
    assert_eq!(there["state"], here["state"]);
    let row = repo::spawners::by_name(one.hub.db.conn(), user.id, "").await.unwrap().unwrap().row;
    let state = row.state.unwrap().0;
    assert!(state.get("himalia_start").is_none(), "what is over is not noted any more: {state}");
    one.root().delete("/users/ada/server", None).await;
}

#[actix_web::test]
async fn a_server_is_ready_in_no_hub_before_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let (one, other) = (hub(&file).await, hub(&file).await);
    one.user("ada").await;
    let mute = json!({"user_options": {"mute": "no-answer-yet"}});
    one.root().post("/users/ada/server", mute).await.is_empty(202, "text/plain");
    let user = repo::users::by_name(one.hub.db.conn(), "ada").await.unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let row = repo::spawners::by_name(one.hub.db.conn(), user.id, "").await.unwrap().unwrap();
        if row.server.is_some_and(|server| server.port.is_some_and(|port| port > 0)) {
            break;
        }
        assert!(Instant::now() < deadline, "the address is never known");
        tokio::task::yield_now().await;
    }
    let seen = other.root().get("/users/ada/server").await.json();
    assert_eq!((&seen["ready"], &seen["pending"]), (&json!(false), &json!("spawn")), "{seen}");
    other.hub.check_routes().await.unwrap();
    let routes = other.root().get("/proxy").await.json();
    assert!(routes.get("/user/ada/").is_none(), "{routes}");
    gate("no-answer-yet").cancel();
    until_ready(&one).await;
    until_ready(&other).await;
    one.root().delete("/users/ada/server", None).await;
}

#[actix_web::test]
async fn a_server_of_another_hub_is_ready_here_once_its_route_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let (one, other) = (hub(&file).await, hub(&file).await);
    one.user("ada").await;
    one.root().post("/users/ada/server", json!({"user_options": {}})).await;
    until_ready(&one).await;
    // Nobody has asked the other hub for anything.
    until_ready(&other).await;
    let routes = other.root().get("/proxy").await.json();
    assert!(routes.get("/user/ada/").is_some(), "{routes}");
    one.root().delete("/users/ada/server", None).await;
}

#[actix_web::test]
async fn a_restart_that_the_end_of_a_hub_cut_in_two_is_finished_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let one = hub(&file).await;
    one.user("ada").await;
    one.root().post("/users/ada/server", json!({"user_options": {"kept": 1}})).await;
    until_ready(&one).await;
    one.root().delete("/users/ada/server", None).await;
    let user = repo::users::by_name(one.hub.db.conn(), "ada").await.unwrap().unwrap();
    let stopped = async || repo::spawners::by_name(one.hub.db.conn(), user.id, "").await.unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while stopped().await.server.is_some() {
        assert!(Instant::now() < deadline, "the server does not stop");
        tokio::task::yield_now().await;
    }
    // What a hub leaves that ends after the stop and before the start.
    let owed = json!({ "himalia_restart": one.hub.clock.now() + chrono::TimeDelta::minutes(5) });
    let id = stopped().await.row.id;
    repo::spawners::set_state(one.hub.db.conn(), id, Some(owed)).await.unwrap();
    let next = hub(&file).await;
    let server = until_ready(&next).await;
    assert_eq!(server["user_options"], json!({"kept": 1}), "with the options that it had");
    assert_eq!(server["state"].as_object().unwrap().len(), 1, "{server}");
    next.root().delete("/users/ada/server", None).await;
}

#[actix_web::test]
async fn a_server_that_speaks_tls_with_others_is_kept_and_others_that_do_not_answer_are_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let one = hub(&file).await;
    one.user("ada").await;
    one.user("bob").await;
    let mut rows = Vec::new();
    for (name, scheme) in [("ada", "https"), ("bob", "http")] {
        let db = one.hub.db.conn();
        let user = repo::users::by_name(db, name).await.unwrap().unwrap();
        let row = repo::spawners::create(db, user.id, "").await.unwrap();
        let address = repo::spawners::Address {
            proto: "http".to_owned(),
            ip: "127.0.0.1".to_owned(),
            port: 9,
            base_url: format!("/user/{name}/"),
        };
        repo::spawners::set_server(db, row.id, &address).await.unwrap();
        let state = json!({"runs_at": format!("{scheme}://127.0.0.1:9")});
        repo::spawners::set_state(db, row.id, Some(state)).await.unwrap();
        rows.push(row.id);
    }
    let url = format!("sqlite:///{}", file.display());
    let other = TestHub::with(|config| {
        config.db.url = url.into();
        config.spawner.http_timeout = Duration::from_secs(1);
    })
    .await;
    let db = other.hub.db.conn();
    let [ada, bob] = [rows[0], rows[1]];
    let kept = repo::spawners::by_id(db, ada).await.unwrap().unwrap();
    assert_eq!(kept.server.unwrap().proto.as_deref(), Some("https"));
    assert!(repo::spawners::by_id(db, bob).await.unwrap().unwrap().server.is_none());
}
