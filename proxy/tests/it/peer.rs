//! The same API requests to configurable-http-proxy and to us, with the same answers.
//!
//! Runs when `HIMALIA_TEST_CHP_BIN` names the original's executable; in CI (`CI` is set) it must.

use std::{net::SocketAddr, process::Stdio, sync::Arc};

use hub_proxy::{RouteTable, api::Api, metrics::Metrics};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::support::{Raw, Target, TestProxy, any_port, dead_address, options, patiently};

const TOKEN: &str = "a-test-token";

struct Peer {
    _process: Child,
    api: SocketAddr,
    public: SocketAddr,
}

async fn peer() -> Option<Peer> {
    let Some(program) = std::env::var_os("HIMALIA_TEST_CHP_BIN") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "HIMALIA_TEST_CHP_BIN must name configurable-http-proxy in CI"
        );
        return None;
    };
    let (api, public) = (dead_address().await, dead_address().await);
    let process = Command::new(program)
        .args(["--ip", "127.0.0.1", "--port", &public.port().to_string()])
        .args(["--api-ip", "127.0.0.1", "--api-port", &api.port().to_string()])
        .env("CONFIGPROXY_AUTH_TOKEN", TOKEN)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("HIMALIA_TEST_CHP_BIN can be run");
    patiently(async {
        for address in [api, public] {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    })
    .await;
    Some(Peer { _process: process, api, public })
}

/// Status, type and body of one API request; moments are masked, as they differ by nature.
async fn answer(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: bool,
    body: &str,
) -> (u16, Option<String>, String) {
    let mut raw = Raw::connect(address).await;
    let auth = if token { format!("Authorization: token {TOKEN}\r\n") } else { String::new() };
    let length = body.len();
    raw.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\n{auth}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
    .await;
    let answer = raw.response_to(method).await;
    let text = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(mut value) => {
            mask(&mut value);
            value.to_string()
        }
        // The parsers' own words differ.
        Err(_) => answer.text().split("JSON:").next().unwrap_or_default().to_owned(),
    };
    (answer.status(), answer.header("content-type").map(str::to_owned), text)
}

fn mask(value: &mut Value) {
    if let Value::Object(map) = value {
        map.sort_keys();
        for (key, value) in map.iter_mut() {
            if key == "last_activity" {
                let text = value.as_str().unwrap();
                assert!(text.len() == 24 && text.ends_with('Z'), "{text}");
                *value = "masked".into();
            }
            mask(value);
        }
    }
}

/// One request to the API: method, path, whether with the token, body.
type Asked = (&'static str, &'static str, bool, &'static str);

/// The same requests in the same order to a fresh original and a fresh one of ours.
async fn same_answers(requests: &[Asked]) {
    let Some(peer) = peer().await else { return };
    let shutdown = CancellationToken::new();
    let _stop = shutdown.clone().drop_guard();
    let routes = RouteTable::new(false);
    let api = Api::bind(&any_port(), Some(TOKEN.to_owned()), Arc::clone(&routes), Metrics::new()).unwrap();
    let ours = api.local_addr().unwrap();
    tokio::spawn(api.run(shutdown));
    for (method, path, token, body) in requests {
        let theirs = answer(peer.api, method, path, *token, body).await;
        let own = answer(ours, method, path, *token, body).await;
        assert_eq!(own, theirs, "{method} {path} {body}");
    }
}

/// A test for each behaviour of the API.
macro_rules! behaviours {
    ($($name:ident: $requests:expr;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                same_answers(&$requests).await;
            }
        )+
    };
}

const TARGET: &str = r#"{"target": "http://127.0.0.1:9", "user": "x", "n": {"a": [1]}}"#;
const OTHER: &str = r#"{"last_activity": "x", "target": "http://127.0.0.1:10"}"#;

behaviours! {
    an_empty_table_is_an_empty_object: [
        ("GET", "/api/routes", true, ""),
        ("GET", "/api/routes/", true, ""),
    ];
    a_route_is_made_with_201_and_shown_with_its_data: [
        ("POST", "/api/routes/user/x", true, TARGET),
        ("GET", "/api/routes", true, ""),
        ("GET", "/api/routes/user/x", true, ""),
        ("GET", "/api/routes/user/x/", true, ""),
    ];
    a_route_is_replaced_with_all_its_data: [
        ("POST", "/api/routes/user/x", true, TARGET),
        ("POST", "/api/routes/user/x", true, OTHER),
        ("GET", "/api/routes/user/x", true, ""),
    ];
    a_route_is_deleted_once: [
        ("POST", "/api/routes/user/x", true, TARGET),
        ("DELETE", "/api/routes/user/x", true, ""),
        ("DELETE", "/api/routes/user/x", true, ""),
        ("GET", "/api/routes/user/x", true, ""),
    ];
    a_deleted_route_leaves_those_below_and_above: [
        ("POST", "/api/routes/user", true, TARGET),
        ("POST", "/api/routes/user/x", true, TARGET),
        ("POST", "/api/routes/user/x/y", true, TARGET),
        ("DELETE", "/api/routes/user/x", true, ""),
        ("GET", "/api/routes", true, ""),
    ];
    the_root_is_a_route: [
        ("POST", "/api/routes", true, TARGET),
        ("GET", "/api/routes", true, ""),
        ("POST", "/api/routes/", true, OTHER),
        ("GET", "/api/routes", true, ""),
        ("DELETE", "/api/routes/", true, ""),
        ("GET", "/api/routes", true, ""),
    ];
    what_is_not_there_is_404: [
        ("GET", "/api/routes/nothing", true, ""),
        ("DELETE", "/api/routes/nothing", true, ""),
        ("GET", "/", true, ""),
        ("GET", "/api", true, ""),
        ("GET", "/api/routesx", true, ""),
        ("DELETE", "/api/other", true, ""),
        ("POST", "/api/other", true, TARGET),
    ];
    methods_that_are_none_of_three_are_405: [
        ("PUT", "/api/routes", true, ""),
        ("PATCH", "/api/routes/x", true, ""),
        ("HEAD", "/api/routes", true, ""),
        ("OPTIONS", "/api/routes", true, ""),
    ];
    methods_are_looked_at_before_the_token: [
        ("PATCH", "/api/routes/x", false, ""),
        ("PUT", "/api/routes", false, ""),
    ];
    without_the_token_nothing_is_told_or_done: [
        ("POST", "/api/routes/user/x", false, TARGET),
        ("GET", "/api/routes", false, ""),
        ("GET", "/api/routes/user/x", false, ""),
        ("DELETE", "/api/routes/user/x", false, ""),
        ("GET", "/api/routes", true, ""),
    ];
    paths_are_decoded_once: [
        ("POST", "/api/routes/user/a%20b/", true, TARGET),
        ("POST", "/api/routes/user/%40%2F%C3%A9", true, TARGET),
        ("GET", "/api/routes", true, ""),
        ("GET", "/api/routes/user/a%20b", true, ""),
        ("DELETE", "/api/routes/user/%40%2F%C3%A9", true, ""),
        ("GET", "/api/routes", true, ""),
    ];
    dot_segments_are_resolved: [
        ("POST", "/api/routes/a/../b/./c", true, TARGET),
        ("GET", "/api/routes", true, ""),
    ];
    a_body_without_a_target_is_400: [
        ("POST", "/api/routes/x", true, "{}"),
        ("POST", "/api/routes/x", true, "null"),
        ("POST", "/api/routes/x", true, "[]"),
        ("POST", "/api/routes/x", true, "3"),
        ("POST", "/api/routes/x", true, r#"{"target": 3}"#),
        ("GET", "/api/routes", true, ""),
    ];
    a_body_that_is_no_json_is_400_even_without_the_token: [
        ("POST", "/api/routes/x", true, "{"),
        ("POST", "/api/routes/x", false, "{"),
        ("POST", "/api/routes/x", true, ""),
    ];
    inactive_routes_are_those_before_a_moment: [
        ("POST", "/api/routes/user/x", true, TARGET),
        ("GET", "/api/routes?inactiveSince=2001-01-01", true, ""),
        ("GET", "/api/routes?inactive_since=2101-01-01T00:00:00Z", true, ""),
        ("GET", "/api/routes?inactiveSince=2101&inactive_since=2001", true, ""),
        ("GET", "/api/routes?inactiveSince=", true, ""),
    ];
    a_moment_that_is_none_is_400: [
        ("GET", "/api/routes?inactiveSince=nonsense", true, ""),
        ("GET", "/api/routes?inactive_since=nonsense%20x", true, ""),
    ];
}

/// What a target was asked, less what names the proxies apart.
async fn forwarded(proxy: SocketAddr, request: &str) -> (u16, Vec<String>) {
    let mut raw = Raw::connect(proxy).await;
    raw.send(request).await;
    let answer = raw.response().await;
    let mut lines: Vec<_> =
        answer.text().lines().filter(|line| !line.starts_with("connection:")).map(str::to_owned).collect();
    if answer.status() != 200 {
        lines.clear();
    }
    lines.sort();
    (answer.status(), lines)
}

/// The same requests through the original and through ours: `/` leads to a target `hub`, `/user/a b` to a path of
/// another one.
async fn same_forwarding(requests: &[&str]) {
    let Some(peer) = peer().await else { return };
    let (hub, user) = (Target::echo("hub").await, Target::echo("user").await);
    let proxy = TestProxy::start(options());
    for (path, target) in
        [("/", format!("http://{}", hub.address)), ("/user/a%20b", format!("http://{}/base/", user.address))]
    {
        let body = format!(r#"{{"target": "{target}"}}"#);
        assert_eq!(answer(peer.api, "POST", &format!("/api/routes{path}"), true, &body).await.0, 201);
        let key = path.replace("%20", " ");
        proxy.routes.add(&key, &target, serde_json::Map::new()).unwrap();
    }
    for request in requests {
        let (line, rest) = request.split_once("\r\n").unwrap_or((request, ""));
        let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{rest}");
        let theirs = forwarded(peer.public, &request).await;
        let own = forwarded(proxy.address, &request).await;
        assert_eq!(own, theirs, "{request}");
    }
}

/// A test for each behaviour of the public side.
macro_rules! forwarding {
    ($($name:ident: $requests:expr;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                same_forwarding(&$requests).await;
            }
        )+
    };
}

forwarding! {
    the_longest_route_that_fits_is_taken: [
        "GET /\r\nHost: h\r\n\r\n",
        "GET /user/a%20b\r\nHost: h:81\r\n\r\n",
        "GET /user/a%20bc\r\nHost: h\r\n\r\n",
        "GET /user//a%20b\r\nHost: h\r\n\r\n",
    ];
    the_targets_path_comes_first_and_the_query_stays: [
        "GET /user/a%20b/x?q=%20&r\r\nHost: h\r\n\r\n",
        "GET /user/a%20b?\r\nHost: h\r\n\r\n",
    ];
    routes_are_found_by_the_decoded_path: [
        "GET /user/%61%20b/%2f\r\nHost: h\r\n\r\n",
        "GET /user/a%20b%2Fx\r\nHost: h\r\n\r\n",
    ];
    dot_segments_do_not_lead_to_others: [
        "GET /user/x/../a%20b/./y\r\nHost: h\r\n\r\n",
    ];
    two_slashes_begin_a_host: [
        "GET //user/a%20b/y\r\nHost: h\r\n\r\n",
    ];
    absolute_addresses_are_forwarded_as_paths: [
        "GET http://h/user/a%20b/z\r\nHost: h\r\n\r\n",
    ];
    a_broken_escape_is_500: [
        "GET /%zz\r\nHost: h\r\n\r\n",
        "GET /user/a%2\r\nHost: h\r\n\r\n",
    ];
    bodies_of_either_framing_arrive: [
        "POST /\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        "POST /\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST /\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    ];
    methods_without_a_body_say_so: [
        "DELETE /\r\nHost: h\r\n\r\n",
        "OPTIONS /\r\nHost: h\r\n\r\n",
    ];
    forwarded_headers_of_others_are_continued: [
        "GET /\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n",
        "GET /\r\nHost: h\r\nX-Forwarded-Host: y\r\nX-Forwarded-Port: 1\r\n\r\n",
        "GET /\r\nHost: h:81\r\n\r\n",
    ];
    a_request_without_host_gets_the_same_answer: [
        "GET /\r\n\r\n",
    ];
    the_health_check_needs_no_route: [
        "GET /_chp_healthz\r\nHost: h\r\n\r\n",
    ];
}
