//! The stream of events where several hubs share a database.

use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use chrono::TimeDelta;
use futures_util::future::join_all;
use hub_core::{ServerKey, ServerName, UserName};
use hub_db::ConnectionTrait as _;
use hub_db::repo::events::{self, KEPT, NewEvent};
use hub_db::repo::{self, purge};
use serde_json::{Value, json};

use crate::api_extensions::{data, read_until};
use crate::database::{Fresh, MARIADB, POSTGRESQL};
use crate::fake_spawner::gate;
use crate::support::{Client, TestHub};

async fn hub(url: &str) -> TestHub {
    TestHub::with(|config| config.db.url = url.into()).await
}

/// What a listener is greeted with, and the rest.
async fn listen(client: Client, last: Option<&str>) -> (String, BoxBody) {
    let client = match last {
        Some(id) => client.header("Last-Event-ID", id),
        None => client,
    };
    let (status, _, mut body) = client.open("/events").await;
    assert_eq!(status.as_u16(), 200);
    (read_until(&mut body, "\n\n").await, body)
}

/// What a stream tells up to so many stops, however many come at once.
async fn until_stops(count: usize, body: &mut BoxBody) -> String {
    let mut text = String::new();
    while text.matches("event: stop\n").count() < count {
        text += &read_until(body, "\n\n").await;
    }
    text
}

fn ids(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
}

/// Whose server was started or stopped, whatever may be missing.
fn told(text: &str) -> Vec<(String, String)> {
    let text_of = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let events = data(text).into_iter().filter(|event| event.get("reason").is_none());
    events.map(|event| (text_of(&event, "action"), text_of(&event, "user"))).collect()
}

fn wanted(events: &[(&str, &str)]) -> Vec<(String, String)> {
    events.iter().map(|(action, user)| ((*action).to_owned(), (*user).to_owned())).collect()
}

async fn start(hub: &TestHub, user: &str) {
    let path = format!("/users/{user}/server");
    hub.root().post(&path, json!({"user_options": {}})).await.is_empty(201, "text/plain");
}

async fn stop(hub: &TestHub, user: &str) {
    hub.root().delete(&format!("/users/{user}/server"), None).await.is_empty(204, "");
}

/// Everybody hears of everything once, in the same order, whichever hub they listen to.
async fn all_hear_all(url: &str) {
    let (one, other) = (hub(url).await, hub(url).await);
    one.user("ada").await;
    one.user("bob").await;
    let (first, mut at_one) = listen(one.root(), None).await;
    let (second, mut at_other) = listen(other.root(), None).await;
    assert_eq!(first, second, "where it begins is the same place for both");
    let bobs = other.token("root", &["read:servers!user=bob"]).await;
    let (_, mut of_bob) = listen(bobs, None).await;
    start(&one, "ada").await;
    start(&other, "bob").await;
    stop(&other, "bob").await;
    stop(&one, "ada").await;
    let (here, there) = (until_stops(2, &mut at_one).await, until_stops(2, &mut at_other).await);
    let all = [("start", "ada"), ("start", "bob"), ("stop", "bob"), ("stop", "ada")];
    // What two hubs tell at the same time may come in either order.
    assert_eq!(told(&here), told(&there));
    assert_eq!(ids(&here), ids(&there));
    let sorted = |mut events: Vec<(String, String)>| {
        events.sort_unstable();
        events
    };
    assert_eq!(sorted(told(&here)), sorted(wanted(&all)));
    let of_bob = until_stops(1, &mut of_bob).await;
    assert_eq!(told(&of_bob), wanted(&[("start", "bob"), ("stop", "bob")]));
}

#[actix_web::test]
async fn listeners_to_any_hub_on_postgresql_hear_of_all_hubs() {
    let Some(database) = Fresh::on(POSTGRESQL).await else { return };
    all_hear_all(database.url.as_str()).await;
    database.drop().await;
}

#[actix_web::test]
async fn listeners_to_any_hub_on_mariadb_hear_of_all_hubs() {
    let Some(database) = Fresh::on(MARIADB).await else { return };
    all_hear_all(database.url.as_str()).await;
    database.drop().await;
}

/// A listener goes on at another hub, and at one that was started since, where it was at the first.
async fn listeners_go_on(url: &str) {
    let one = hub(url).await;
    let other = hub(url).await;
    one.user("ada").await;
    let (greeting, stream) = listen(one.root(), None).await;
    drop(stream);
    start(&one, "ada").await;
    // Nothing has told the other hub yet.
    one.hub.events.exchange().written().await;
    let (same, mut stream) = listen(other.root(), Some(ids(&greeting)[0])).await;
    assert_eq!(same, greeting);
    let text = read_until(&mut stream, "\"server\": \"\"}").await;
    assert_eq!(told(&text), wanted(&[("start", "ada")]));
    let after_start = ids(&text)[0].to_owned();
    drop(stream);

    stop(&one, "ada").await;
    one.hub.events.exchange().written().await;
    drop(one);
    let next = hub(url).await;
    for (hub, from, expected) in [
        (&next, ids(&greeting)[0], &[("start", "ada"), ("stop", "ada")][..]),
        (&next, &after_start, &[("stop", "ada")]),
        (&other, &after_start, &[("stop", "ada")]),
    ] {
        let (same, mut stream) = listen(hub.root(), Some(from)).await;
        assert_eq!(same, format!("id: {from}\n\n"));
        // The hub that has started does not know what another one had not told yet.
        let text = read_until(&mut stream, "event: reset\n").await;
        assert_eq!(told(&text), wanted(expected));
    }
}

#[actix_web::test]
async fn a_listener_goes_on_at_another_hub_and_after_a_restart_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    listeners_go_on(&format!("sqlite:///{}/hub.sqlite", folder.path().display())).await;
}

#[actix_web::test]
async fn a_listener_goes_on_at_another_hub_and_after_a_restart_on_postgresql() {
    let Some(database) = Fresh::on(POSTGRESQL).await else { return };
    listeners_go_on(database.url.as_str()).await;
    database.drop().await;
}

#[actix_web::test]
async fn a_listener_goes_on_at_another_hub_and_after_a_restart_on_mariadb() {
    let Some(database) = Fresh::on(MARIADB).await else { return };
    listeners_go_on(database.url.as_str()).await;
    database.drop().await;
}

/// A hub that waits for no server.
async fn impatient(url: &str) -> TestHub {
    TestHub::with(|config| {
        config.db.url = url.into();
        config.hub.slow_spawn_timeout = Duration::ZERO;
        config.hub.init_spawners_timeout = Some(Duration::ZERO);
    })
    .await
}

/// Asks for the server of ada until it is so.
async fn until(hub: &TestHub, is_so: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let server = hub.root().get("/users/ada/server").await.json();
        if is_so(&server) {
            return;
        }
        assert!(Instant::now() < deadline, "{server}");
        tokio::task::yield_now().await;
    }
}

/// What was told until something else is.
async fn told_until_bobs(hub: &TestHub, stream: &mut BoxBody) -> String {
    hub.hub.events.started(&ServerKey::new(UserName::stored("bob"), ServerName::default()));
    let text = read_until(stream, "\"user\": \"bob\", \"server\": \"\"}").await;
    assert_eq!(told(&text).pop(), wanted(&[("start", "bob")]).pop());
    text
}

#[actix_web::test]
async fn an_end_that_two_hubs_see_is_told_once() {
    // SQLite gives the number of a run again.
    let Some(database) = Fresh::on(POSTGRESQL).await else { return };
    let url = database.url.to_string();
    let (one, other) = (impatient(&url).await, impatient(&url).await);
    one.user("ada").await;
    let (_, mut stream) = listen(one.root(), None).await;
    let options = json!({"user_options": {"dead": "dead-twice", "hold_stop": "end-twice"}});
    one.root().post("/users/ada/server", options).await.is_empty(202, "text/plain");
    until(&one, |server| server["ready"] == true).await;
    until(&other, |server| server["ready"] == true).await;
    gate("dead-twice").cancel();
    // Both look because somebody wants it to start. One takes longer over the end than the other.
    let again = json!({"user_options": {}});
    one.root().post("/users/ada/server", again.clone()).await.is_empty(202, "text/plain");
    gate("end-twice reached").cancelled().await;
    other.root().post("/users/ada/server", again).await.is_empty(202, "text/plain");
    until(&other, |server| server["ready"] == true).await;
    gate("end-twice").cancel();
    until(&one, |server| server["ready"] == true).await;
    let text = told_until_bobs(&one, &mut stream).await;
    let all = [("start", "ada"), ("stop", "ada"), ("start", "ada"), ("start", "bob")];
    assert_eq!(told(&text), wanted(&all));
    other.root().delete("/users/ada/server", None).await;
    database.drop().await;
}

#[actix_web::test]
async fn a_server_that_two_hubs_do_not_find_again_is_told_once() {
    // SQLite gives the number of a run again.
    let Some(database) = Fresh::on(POSTGRESQL).await else { return };
    let url = database.url.to_string();
    let before = impatient(&url).await;
    before.user("ada").await;
    let (_, mut stream) = listen(before.root(), None).await;
    let options = json!({"user_options": {}});
    before.root().post("/users/ada/server", options).await.is_empty(202, "text/plain");
    until(&before, |server| server["ready"] == true).await;
    let db = before.hub.db.conn();
    let user = repo::users::by_name(db, "ada").await.unwrap().unwrap();
    let id = repo::spawners::by_name(db, user.id, "").await.unwrap().unwrap().row.id;
    repo::spawners::set_state(db, id, Some(json!({"hold_adopt": "lost-twice"}))).await.unwrap();
    let slow = impatient(&url).await;
    gate("lost-twice reached").cancelled().await;
    repo::spawners::set_state(db, id, Some(json!({}))).await.unwrap();
    let fast = impatient(&url).await;
    until(&fast, |server| server["stopped"] == true && server["pending"].is_null()).await;
    until(&slow, |server| server["pending"] == "check").await;
    gate("lost-twice").cancel();
    until(&slow, |server| server["pending"].is_null()).await;
    let text = told_until_bobs(&slow, &mut stream).await;
    assert_eq!(told(&text), wanted(&[("start", "ada"), ("failure", "ada"), ("start", "bob")]));
    assert_eq!(text.matches("event: reset\n").count(), 2, "each hub that starts tells so: {text}");
    database.drop().await;
}

#[actix_web::test]
async fn what_the_database_refuses_is_dropped_and_listeners_are_told_so() {
    let test = TestHub::start().await;
    let (_, mut stream) = listen(test.root(), None).await;
    let exchange = test.hub.events.exchange();
    let rename = async |from: &str, to: &str| {
        test.hub.db.conn().execute_unprepared(&format!("ALTER TABLE {from} RENAME TO {to}")).await.unwrap();
    };
    rename("oauth_codes", "elsewhere").await;
    test.hub.events.stopped(&ada());
    let given_up = tokio::time::timeout(Duration::from_secs(30), exchange.written()).await;
    assert!(given_up.is_ok(), "it is tried for ever");
    rename("elsewhere", "oauth_codes").await;
    let text = told_until_bobs(&test, &mut stream).await;
    assert_eq!(told(&text), wanted(&[("start", "bob")]));
    let (reset, start) = (text.find("event: reset\n"), text.find("event: start\n"));
    assert!(reset.is_some() && reset < start, "{text}");
}

fn ada() -> ServerKey {
    ServerKey::new(UserName::stored("ada"), ServerName::default())
}

#[actix_web::test]
async fn so_many_events_are_kept_and_who_was_away_for_longer_is_told_so() {
    let test = TestHub::start().await;
    let (greeting, stream) = listen(test.root(), None).await;
    drop(stream);
    let exchange = test.hub.events.exchange();
    for _ in 0..5 {
        for _ in 0..300 {
            test.hub.events.stopped(&ada());
        }
        exchange.written().await;
    }
    let (reset, mut stream) = listen(test.root(), Some(ids(&greeting)[0])).await;
    assert!(reset.contains("event: reset\n") && reset.contains("is not kept"), "{reset}");
    // Who listens is told of what is missing, too, and of what there is.
    let text = {
        let tx = test.hub.db.begin().await.unwrap();
        let many: Vec<_> = (0..KEPT).map(|_| NewEvent::new("null".to_owned()).unwrap()).collect();
        events::put(&tx, &many, test.hub.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        test.hub.events.started(&ada());
        read_until(&mut stream, "\"action\": \"start\"").await
    };
    assert!(text.contains("event: reset\n"), "{text}");
    assert_eq!(data(&text).iter().filter(|event| event["action"] == "start").count(), 1);
    drop(stream);

    for _ in 0..5 {
        for _ in 0..100 {
            test.hub.events.stopped(&ada());
        }
        exchange.written().await;
    }
    let end = test.hub.clock.now() + TimeDelta::days(8);
    let rows = purge::expired(test.hub.db.conn(), end).await.unwrap().codes;
    assert!((KEPT..KEPT + 200).contains(&rows), "{rows}");
}

#[actix_web::test]
async fn an_event_takes_as_many_statements_for_many_listeners_as_for_one() {
    let test = TestHub::start().await;
    let (_, first) = listen(test.root(), None).await;
    let mut streams = vec![first];
    let mut counts = Vec::new();
    for _ in 0..3 {
        let before = test.hub.db.statements();
        test.hub.events.started(&ada());
        for stream in &mut streams {
            read_until(stream, "\"action\": \"start\"").await;
        }
        counts.push(test.hub.db.statements() - before);
        while streams.len() < 40 {
            streams.push(listen(test.root(), None).await.1);
        }
    }
    assert!(counts[1] == counts[2] && counts[2] <= 4, "{counts:?}");

    // Of many who come at once the first reads for itself and the second for all others; the hub may look, too.
    let before = test.hub.db.statements();
    let looks = (0..100).map(|_| test.hub.events.exchange().look());
    assert!(join_all(looks).await.iter().all(Result::is_ok));
    let count = test.hub.db.statements() - before;
    assert!(count <= 3, "{count}");
}
