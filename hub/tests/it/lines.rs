//! Starts that wait in line, the limit of active servers, and what is left of both when a hub ends.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use himalia::servers::live::Snapshot;
use hub_config::BeyondLimit;
use hub_core::{ServerKey, ServerName, UserName};
use hub_db::repo;
use jupyterhub_api_compat::Timestamp;
use serde_json::{Value, json};

use crate::api_extensions::{data, read_until};
use crate::fake_spawner::gate;
use crate::support::TestHub;

/// A hub on a database file that starts one server at a time.
async fn hub(file: &std::path::Path) -> TestHub {
    let url = format!("sqlite:///{}", file.display());
    TestHub::with(|config| {
        config.db.url = url.into();
        config.hub.slow_spawn_timeout = Duration::ZERO;
        config.hub.slow_stop_timeout = Duration::ZERO;
        config.hub.concurrent_spawn_limit = 1;
        config.hub.init_spawners_timeout = Some(Duration::ZERO);
    })
    .await
}

async fn state_of(test: &TestHub, name: &str) -> Value {
    let user = repo::users::by_name(test.hub.db.conn(), name).await.unwrap().unwrap();
    let row = repo::spawners::by_name(test.hub.db.conn(), user.id, "").await.unwrap();
    row.and_then(|row| row.row.state).map(|state| state.0).unwrap_or_default()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

/// Waits until it is ada whose start is under way, and whoever asks next has to wait.
async fn ada_has_begun(test: &TestHub) {
    until("ada's start has begun", async || {
        test.root().get("/users/ada").await.json()["servers"][""]["pending"] == "spawn"
            && state_of(test, "ada").await.get("himalia_start").is_some()
    })
    .await;
}

#[actix_web::test]
async fn a_start_that_waits_in_line_is_gone_on_with_by_the_next_hub() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let one = hub(&file).await;
    one.user("ada").await;
    one.user("bob").await;
    let first = json!({"user_options": {"hold": "head-of-the-line"}});
    one.root().post("/users/ada/server", first).await.is_empty(202, "text/plain");
    ada_has_begun(&one).await;
    let (_, _, mut events) = one.root().open("/events?user=bob").await;
    one.root()
        .post("/users/bob/server", json!({"user_options": {"kept": 1}}))
        .await
        .is_empty(202, "text/plain");
    until("bob's start is noted", async || state_of(&one, "bob").await.get("himalia_restart").is_some())
        .await;
    let waiting = one.root().get("/users/bob/server").await.json();
    assert_eq!((&waiting["pending"], &waiting["queue"]), (&json!("spawn"), &json!({"place": 1})));
    let told = data(&read_until(&mut events, "\"action\": \"queue\"").await);
    let told = told.last().expect("an event");
    assert_eq!((&told["user"], &told["queue"]), (&json!("bob"), &json!({"place": 1})), "{told}");

    let next = hub(&file).await;
    until("bob's server is ready", async || {
        next.root().get("/users/bob/server").await.json()["ready"] == true
    })
    .await;
    let server = next.root().get("/users/bob/server").await.json();
    assert_eq!(server["user_options"], json!({"kept": 1}));
    assert_eq!(server.get("queue"), None, "it waits no more");
    assert!(state_of(&next, "bob").await.get("himalia_restart").is_none(), "it is owed no more");
    gate("head-of-the-line").cancel();
}

#[actix_web::test]
async fn who_waits_in_line_reads_place_and_time_in_model_events_and_progress() {
    let folder = tempfile::tempdir().unwrap();
    let one = hub(&folder.path().join("hub.sqlite")).await;
    for name in ["ada", "bob", "cat"] {
        one.user(name).await;
    }
    one.root().post("/users/cat/server", None).await.is_empty(202, "text/plain");
    assert_eq!(one.root().get("/users/cat/server?wait=ready").await.holds(200)["ready"], true);
    let first = json!({"user_options": {"hold": "line-with-times"}});
    one.root().post("/users/ada/server", first).await.is_empty(202, "text/plain");
    ada_has_begun(&one).await;
    let (_, _, mut events) = one.root().open("/events?user=bob").await;
    one.root().post("/users/bob/server", None).await.is_empty(202, "text/plain");

    let event = data(&read_until(&mut events, "\"action\": \"queue\"").await).pop().expect("an event");
    let (_, _, mut progress) = one.root().open("/users/bob/server/progress?details").await;
    let told = data(&read_until(&mut progress, "\"queue\"").await).pop().expect("progress");
    let model = one.root().get("/users/bob/server").await.json();
    // One start went before, so that it is known how long one takes.
    let at = [&event, &told, &model].map(|told| {
        assert_eq!(told["queue"]["place"], 1, "{told}");
        Timestamp::parse(told["queue"]["expected_at"].as_str().unwrap()).unwrap().0.timestamp_millis()
    });
    assert!(at[0] == at[1] && at[1] == at[2], "{at:?}");
    let text = told["message"].as_str().unwrap();
    assert!(text.contains("Your place in line: 1, your turn in less than a minute"), "{text}");
    gate("line-with-times").cancel();
}

#[actix_web::test]
async fn a_start_that_is_taken_back_while_it_waits_is_not_owed() {
    let folder = tempfile::tempdir().unwrap();
    let one = hub(&folder.path().join("hub.sqlite")).await;
    one.user("ada").await;
    one.user("bob").await;
    let first = json!({"user_options": {"hold": "line-of-two"}});
    one.root().post("/users/ada/server", first).await.is_empty(202, "text/plain");
    ada_has_begun(&one).await;
    one.root().post("/users/bob/server", None).await.is_empty(202, "text/plain");
    until("bob's start is noted", async || state_of(&one, "bob").await.get("himalia_restart").is_some())
        .await;
    one.root().delete("/users/bob/server", None).await;
    until("bob's start is owed no more", async || {
        state_of(&one, "bob").await.get("himalia_restart").is_none()
    })
    .await;
    gate("line-of-two").cancel();
}

#[actix_web::test]
async fn of_many_who_start_at_once_no_more_get_in_than_may() {
    let test = TestHub::with(|config| {
        config.hub.active_server_limit = 2;
        config.hub.concurrent_spawn_limit = 1;
        config.hub.slow_spawn_timeout = Duration::ZERO;
    })
    .await;
    let names: Vec<String> = (0..8).map(|number| format!("user{number}")).collect();
    for name in &names {
        test.user(name).await;
    }
    let starts = names.iter().map(|name| {
        let root = test.root();
        async move {
            let options = json!({"user_options": {"hold": "all-at-once"}});
            root.post(&format!("/users/{name}/server"), options).await.code()
        }
    });
    let mut codes = join_all(starts).await;
    codes.sort_unstable();
    assert_eq!(codes, [202, 202, 429, 429, 429, 429, 429, 429]);
    gate("all-at-once").cancel();
}

/// A hub that ends while ada's server, which stops when the gate opens, is asked to stop.
async fn ends_during_a_stop(file: &std::path::Path, gate: &str, ask: impl AsyncFnOnce(&TestHub)) {
    let one = hub(file).await;
    one.user("ada").await;
    let options = json!({"user_options": {"hold_stop": gate}});
    one.root().post("/users/ada/server", options).await;
    until("ada's server is ready", async || {
        one.root().get("/users/ada/server").await.json()["ready"] == true
    })
    .await;
    ask(&one).await;
    until("the stop is noted", async || state_of(&one, "ada").await.get("himalia_stop").is_some()).await;
    assert!(one.hub.tasks.stop(Duration::from_secs(20)).await);
    one.hub.servers.let_go().await;
}

#[actix_web::test]
async fn a_restart_under_way_is_gone_on_with_by_the_next_hub() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    ends_during_a_stop(&file, "restart-left", async |one| {
        let options = json!({"user_options": {"kept": 2}});
        one.root().post("/users/ada/server/restart", options).await.is_empty(202, "text/plain");
    })
    .await;
    let next = hub(&file).await;
    until("ada's server is there again", async || {
        let server = next.root().get("/users/ada/server").await.json();
        server["ready"] == true && server["user_options"] == json!({"kept": 2})
    })
    .await;
    let state = state_of(&next, "ada").await;
    assert!(state.get("himalia_stop").is_none() && state.get("himalia_restart").is_none(), "{state}");
    gate("restart-left").cancel();
}

#[actix_web::test]
async fn a_stop_under_way_is_gone_on_with_by_the_next_hub() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    ends_during_a_stop(&file, "stop-left", async |one| {
        one.root().delete("/users/ada/server", None).await.is_empty(202, "text/plain");
    })
    .await;
    let next = hub(&file).await;
    until("ada's server is stopped", async || {
        repo::spawners::active(next.hub.db.conn()).await.unwrap().is_empty()
    })
    .await;
    assert!(state_of(&next, "ada").await.get("himalia_restart").is_none());
    gate("stop-left").cancel();
}

#[actix_web::test]
async fn at_the_limit_a_server_that_is_stopping_may_be_started_again() {
    let test = TestHub::with(|config| {
        config.hub.active_server_limit = 1;
        config.hub.slow_stop_timeout = Duration::ZERO;
    })
    .await;
    test.user("ada").await;
    test.user("bob").await;
    let options = json!({"user_options": {"hold_stop": "stops-at-the-limit"}});
    test.root().post("/users/ada/server", options).await.is_empty(201, "text/plain");
    test.root().delete("/users/ada/server", None).await.is_empty(202, "text/plain");
    test.root().post("/users/ada/server", None).await.is_empty(202, "text/plain");
    assert_eq!(test.root().post("/users/bob/server", None).await.code(), 429);
    gate("stops-at-the-limit").cancel();
    until("ada's server is there again", async || {
        let server = test.root().get("/users/ada/server").await.json();
        server["ready"] == true && server["pending"].is_null()
    })
    .await;
}

#[actix_web::test]
async fn a_restart_that_is_taken_back_leaves_what_the_spawner_keeps() {
    let test = TestHub::start().await;
    let user = test.user("ada").await;
    user.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    user.delete("/users/ada/server", None).await;
    let ada = repo::users::by_name(test.hub.db.conn(), "ada").await.unwrap().unwrap();
    let row = repo::spawners::by_name(test.hub.db.conn(), ada.id, "").await.unwrap().unwrap().row;
    let owed = test.hub.clock.now() + chrono::TimeDelta::minutes(5);
    let kept = json!({"volume": "claim-ada", "himalia_restart": owed});
    repo::spawners::set_state(test.hub.db.conn(), row.id, Some(kept)).await.unwrap();
    let key = ServerKey::new(UserName::stored("ada"), ServerName::default());
    let entry = test.hub.servers.stop(row.id, &key, false);
    entry.live.wait(Duration::from_secs(20), Snapshot::is_settled).await;
    assert_eq!(state_of(&test, "ada").await, json!({"volume": "claim-ada"}));
}

#[actix_web::test]
async fn no_server_starts_while_all_are_being_stopped() {
    let test = TestHub::with(|config| config.hub.slow_spawn_timeout = Duration::ZERO).await;
    test.user("ada").await;
    test.user("bob").await;
    let held = json!({"user_options": {"hold": "never-opened"}});
    test.root().post("/users/ada/server", held).await.is_empty(202, "text/plain");
    test.hub.servers.stop_all(Duration::from_secs(20)).await.unwrap();
    let late = test.root().post("/users/bob/server", None).await;
    assert_eq!((late.code(), late.header("retry-after")), (503, Some("10")), "{late:?}");
    assert!(repo::spawners::active(test.hub.db.conn()).await.unwrap().is_empty());
}

#[actix_web::test]
async fn starts_beyond_the_limit_can_be_refused_as_stock_does() {
    let test = TestHub::with(|config| {
        config.hub.concurrent_spawn_limit = 1;
        config.hub.beyond_spawn_limit = BeyondLimit::Refuse;
        config.hub.slow_spawn_timeout = Duration::ZERO;
    })
    .await;
    for name in ["ada", "bob"] {
        test.user(name).await;
    }
    let root = test.root();
    let options = json!({"user_options": {"hold": "refused"}});
    assert_eq!(root.post("/users/ada/server", options.clone()).await.code(), 202);
    assert_eq!(root.post("/users/ada/server", options.clone()).await.code(), 202, "it is starting already");
    let refused = root.post("/users/bob/server", options.clone()).await;
    assert_eq!(refused.code(), 429);
    let retry: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((30..=60).contains(&retry), "{retry}");
    let text = format!(
        "Too many users trying to log in right now. Try again in {} seconds.",
        retry.next_multiple_of(10)
    );
    assert_eq!(refused.message(), text);
    gate("refused").cancel();
    until("ada's server runs", async || root.post("/users/bob/server", options.clone()).await.code() != 429)
        .await;
}
