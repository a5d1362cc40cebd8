//! Progress of starts as events.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody as _};
use serde_json::{Value, json};

use crate::fake_spawner::gate;
use crate::support::{Client, TestHub};

const PATH: &str = "/users/ada/server/progress";

/// Reads a stream until it holds `wanted` or ends.
async fn read_until(body: &mut BoxBody, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            match poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await {
                Some(chunk) => text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap()),
                None => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap();
    text
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|json| serde_json::from_str(json).unwrap()).collect()
}

async fn slow_hub() -> (TestHub, Client) {
    let test = TestHub::with(|config| config.hub.slow_spawn_timeout = Duration::ZERO).await;
    let ada = test.user("ada").await;
    (test, ada)
}

#[actix_web::test]
async fn a_start_is_told_from_the_request_to_the_url() {
    let (_test, ada) = slow_hub().await;
    ada.post("/users/ada/server", json!({"user_options": {"hold": "told"}}))
        .await
        .is_empty(202, "text/plain");
    let (status, headers, mut body) = ada.open(PATH).await;
    assert_eq!(status, 200);
    for (name, value) in
        [("content-type", "text/event-stream"), ("cache-control", "no-cache"), ("x-accel-buffering", "no")]
    {
        assert_eq!(headers.get(name).unwrap(), value);
    }
    let begin = read_until(&mut body, "Spawning server...").await;
    assert!(begin.starts_with("\n\n"), "{begin:?}");
    gate("told").cancel();
    let all = begin + &read_until(&mut body, "\"ready\"").await;
    let events = events(&all);
    assert_eq!((&events[0]["progress"], &events[0]["message"]), (&json!(0), &json!("Server requested")));
    assert_eq!((&events[1]["progress"], &events[1]["message"]), (&json!(50), &json!("Spawning server...")));
    let last = events.last().unwrap();
    assert_eq!((&last["ready"], &last["url"]), (&json!(true), &json!("/user/ada/")));
    assert!(
        all.contains(
            "data: {\"progress\": 100, \"ready\": true, \"message\": \"Server ready at /user/ada/\""
        ),
        "{all}"
    );
    assert_eq!(read_until(&mut body, "nothing more").await, "");
}

#[actix_web::test]
async fn a_reader_that_comes_back_goes_on_where_it_was() {
    let (_test, ada) = slow_hub().await;
    ada.post("/users/ada/server", json!({"user_options": {"hold": "comes-back"}}))
        .await
        .is_empty(202, "text/plain");
    let (_, _, mut body) = ada.open(PATH).await;
    let text = read_until(&mut body, "Spawning server...").await;
    let id = text.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    drop(body);
    gate("comes-back").cancel();
    let (_, _, mut body) = ada.clone().header("Last-Event-ID", &id).open(PATH).await;
    let rest = read_until(&mut body, "\"ready\"").await;
    assert!(!rest.contains("Spawning server..."), "{rest}");
}

#[actix_web::test]
async fn a_ready_server_and_a_failed_start_are_one_event_each() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    ada.get(PATH).await.fails(404, None::<String>);
    ada.post("/users/ada/server", json!({"user_options": {"fail": "It broke."}}))
        .await
        .fails(500, "It broke.");
    let failed = ada.get(PATH).await;
    assert_eq!((failed.code(), failed.kind()), (200, "text/event-stream"));
    let events = events(&failed.text);
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["failed"], &events[0]["message"]),
        (&json!(true), &json!("Spawn failed: It broke."))
    );
    assert!(!failed.text.contains("only for the log"), "{failed:?}");
    ada.post("/users/ada/server", json!({"user_options": {}})).await.is_empty(201, "text/plain");
    assert_eq!(
        ada.get(PATH).await.text,
        "data: {\"progress\": 100, \"ready\": true, \"message\": \"Server ready at /user/ada/\", \"html_message\": \
         \"Server ready at <a href=\\\"/user/ada/\\\">/user/ada/</a>\", \"url\": \"/user/ada/\"}\n\n"
    );
    ada.get("/users/ada/servers/none/progress").await.fails(404, None::<String>);
}

#[actix_web::test]
async fn a_cancelled_start_is_told_so() {
    let (_test, ada) = slow_hub().await;
    ada.post("/users/ada/server", json!({"user_options": {"hold": "cancelled"}}))
        .await
        .is_empty(202, "text/plain");
    let (_, _, mut body) = ada.open(PATH).await;
    read_until(&mut body, "Spawning server...").await;
    ada.delete("/users/ada/server", None).await.is_empty(204, "");
    let end = read_until(&mut body, "\"failed\"").await;
    assert_eq!(events(&end).last().unwrap()["message"], "Spawn cancelled");
}

#[actix_web::test]
async fn a_restart_can_be_watched_from_its_stop_on() {
    let test = TestHub::with(|config| config.hub.slow_spawn_timeout = Duration::ZERO).await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server", json!({"user_options": {"hold_stop": "watched"}}))
        .await
        .is_empty(202, "text/plain");
    let (_, _, mut body) = ada.open(PATH).await;
    read_until(&mut body, "\"ready\"").await;
    ada.post("/users/ada/server/restart", json!({"user_options": {}})).await.is_empty(202, "text/plain");
    let (status, _, mut body) = ada.open(PATH).await;
    assert_eq!(status, 200);
    assert_eq!(read_until(&mut body, "\n\n").await, "\n\n");
    gate("watched").cancel();
    let text = read_until(&mut body, "\"ready\"").await;
    assert_eq!(events(&text)[0]["message"], "Server requested");
}
