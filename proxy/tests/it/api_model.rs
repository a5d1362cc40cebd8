//! The API against the simplest model of it: whatever is asked in whatever order, both say the same. And whatever
//! nonsense comes in between, the next answer is right.

use std::{collections::BTreeMap, sync::Arc};

use hub_proxy::{RouteTable, api::Api, metrics::Metrics};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::support::{Raw, any_port};

#[derive(Debug, Clone)]
enum Call {
    Add(Vec<&'static str>, u16),
    AddNothing(Vec<&'static str>),
    Get(Vec<&'static str>),
    Delete(Vec<&'static str>),
    List,
    /// Method and path as they come.
    Nonsense(String, String),
}

fn key() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b c", "é", "user", "%41", "x?y#z"]), 0..4)
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (key(), 1u16..9).prop_map(|(key, port)| Call::Add(key, port)),
        1 => key().prop_map(Call::AddNothing),
        2 => key().prop_map(Call::Get),
        2 => key().prop_map(Call::Delete),
        1 => Just(Call::List),
        // POST without a body changes nothing.
        1 => ("[A-Z]{1,5}|POST|CONNECT|OPTIONS", "/(api/routes)?[!-~]{0,20}")
            .prop_map(|(method, path)| Call::Nonsense(method, path)),
    ]
}

fn bounded() -> ProptestConfig {
    ProptestConfig {
        cases: 48,
        rng_seed: RngSeed::Fixed(12),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn address(key: &[&str]) -> String {
    let segments: Vec<_> =
        key.iter().map(|segment| utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()).collect();
    format!("/api/routes/{}", segments.join("/"))
}

async fn ask(raw: &mut Raw, method: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    raw.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")).await;
    let answer = raw.response_to(method).await;
    (answer.status(), serde_json::from_slice(&answer.body).unwrap_or_default())
}

async fn agree(calls: Vec<Call>) {
    let routes = RouteTable::new(false);
    let api = Api::bind(&any_port(), None, Arc::clone(&routes), Metrics::new()).unwrap();
    let at = api.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let _stop = shutdown.clone().drop_guard();
    tokio::spawn(api.run(shutdown));
    let mut raw = Raw::connect(at).await;
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    for call in calls {
        let known = |key: &[&str]| format!("/{}", key.join("/"));
        match &call {
            Call::Add(key, port) => {
                let target = format!("http://127.0.0.1:{port}");
                let body = serde_json::json!({ "target": target }).to_string();
                assert_eq!(ask(&mut raw, "POST", &address(key), &body).await.0, 201, "{call:?}");
                model.insert(known(key), target);
            }
            Call::AddNothing(key) => {
                assert_eq!(ask(&mut raw, "POST", &address(key), "{}").await.0, 400, "{call:?}");
            }
            // The root is the list.
            Call::Get(key) if !key.is_empty() => {
                let (status, route) = ask(&mut raw, "GET", &address(key), "").await;
                let expected = model.get(&known(key));
                assert_eq!(status, if expected.is_some() { 200 } else { 404 }, "{call:?}");
                assert_eq!(route["target"].as_str(), expected.map(String::as_str), "{call:?}");
            }
            Call::Delete(key) => {
                let expected = if model.remove(&known(key)).is_some() { 204 } else { 404 };
                assert_eq!(ask(&mut raw, "DELETE", &address(key), "").await.0, expected, "{call:?}");
            }
            Call::Get(_) | Call::List => {
                let (status, all) = ask(&mut raw, "GET", "/api/routes", "").await;
                let found: BTreeMap<String, String> = all
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(key, route)| (key.clone(), route["target"].as_str().unwrap().to_owned()))
                    .collect();
                assert_eq!((status, &found), (200, &model));
            }
            Call::Nonsense(method, path) => {
                let mut other = Raw::connect(at).await;
                other.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
                let status = other.response_to(method).await.status();
                assert!((200..500).contains(&status), "{call:?} was answered {status}");
            }
        }
    }
}

#[test]
fn the_api_agrees_with_a_plain_map_of_its_routes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    proptest!(bounded(), |(calls in prop::collection::vec(call(), 0..40))| {
        runtime.block_on(agree(calls));
    });
}
