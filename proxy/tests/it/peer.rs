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

/// Status and body of one API request; moments are masked, as they differ by nature.
async fn answer(address: SocketAddr, method: &str, path: &str, token: bool, body: &str) -> (u16, String) {
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
    (answer.status(), text)
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

#[tokio::test]
async fn the_api_answers_as_the_original_does() {
    let Some(peer) = peer().await else { return };
    let shutdown = CancellationToken::new();
    let _stop = shutdown.clone().drop_guard();
    let routes = RouteTable::new(false);
    let api = Api::bind(&any_port(), Some(TOKEN.to_owned()), Arc::clone(&routes), Metrics::new()).unwrap();
    let ours = api.local_addr().unwrap();
    tokio::spawn(api.run(shutdown));
    let target = r#"{"target": "http://127.0.0.1:9", "user": "x", "n": {"a": [1]}}"#;
    for (method, path, token, body) in [
        ("GET", "/api/routes", true, ""),
        ("GET", "/api/routes", false, ""),
        ("POST", "/api/routes/user/x", true, target),
        ("POST", "/api/routes/user/x", false, target),
        ("POST", "/api/routes/user/a%20b/", true, target),
        ("POST", "/api/routes/user/%40%2F%C3%A9", true, target),
        ("POST", "/api/routes/a/../b/./c", true, target),
        ("POST", "/api/routes", true, target),
        ("POST", "/api/routes/x", true, "{}"),
        ("POST", "/api/routes/x", true, "null"),
        ("POST", "/api/routes/x", true, "[]"),
        ("POST", "/api/routes/x", true, "3"),
        ("POST", "/api/routes/x", true, r#"{"target": 3}"#),
        ("POST", "/api/routes/x", true, "{"),
        ("POST", "/api/routes/x", false, "{"),
        ("POST", "/api/routes/x", true, ""),
        ("POST", "/api/routes/user/x", true, r#"{"last_activity": "x", "target": "http://127.0.0.1:10"}"#),
        ("GET", "/api/routes", true, ""),
        ("GET", "/api/routes/", true, ""),
        ("GET", "/api/routes/user/x", true, ""),
        ("GET", "/api/routes/user/x/", true, ""),
        ("GET", "/api/routes/user/a%20b", true, ""),
        ("GET", "/api/routes/nothing", true, ""),
        ("GET", "/api/routes?inactiveSince=2001-01-01", true, ""),
        ("GET", "/api/routes?inactive_since=2101-01-01T00:00:00Z", true, ""),
        ("GET", "/api/routes?inactiveSince=2101&inactive_since=2001", true, ""),
        ("GET", "/api/routes?inactiveSince=nonsense", true, ""),
        ("GET", "/api/routes?inactive_since=nonsense%20x", true, ""),
        ("GET", "/api/routes?inactiveSince=", true, ""),
        ("PUT", "/api/routes", true, ""),
        ("PATCH", "/api/routes/x", false, ""),
        ("HEAD", "/api/routes", true, ""),
        ("GET", "/", true, ""),
        ("GET", "/api", true, ""),
        ("GET", "/api/routesx", true, ""),
        ("DELETE", "/api/other", true, ""),
        ("DELETE", "/api/routes/user/x", false, ""),
        ("DELETE", "/api/routes/user/x", true, ""),
        ("DELETE", "/api/routes/user/x", true, ""),
        ("DELETE", "/api/routes/", true, ""),
        ("GET", "/api/routes", true, ""),
    ] {
        let theirs = answer(peer.api, method, path, token, body).await;
        let own = answer(ours, method, path, token, body).await;
        assert_eq!(own, theirs, "{method} {path} {body}");
    }
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

#[tokio::test]
async fn requests_are_routed_and_rewritten_as_the_original_does() {
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
    let close = "Connection: close\r\n";
    for request in [
        format!("GET / HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("GET /user/a%20b HTTP/1.1\r\nHost: h:81\r\n{close}\r\n"),
        format!("GET /user/a%20b/x?q=%20&r HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("GET /user/a%20bc HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("GET /user/x/../a%20b/./y HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("GET /user/%61%20b/%2f HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("GET //user/a%20b/y HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("GET /user//a%20b HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("GET /%zz HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("GET http://h/user/a%20b/z HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("DELETE / HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n{close}\r\nabc"),
        format!(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n{close}\r\n3\r\nabc\r\n0\r\n\r\n"
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n{close}\r\n"
        ),
        format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: y\r\nX-Forwarded-Port: 1\r\n{close}\r\n"),
        format!("GET / HTTP/1.1\r\n{close}\r\n"),
        format!("GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n{close}\r\n"),
    ] {
        let theirs = forwarded(peer.public, &request).await;
        let own = forwarded(proxy.address, &request).await;
        assert_eq!(own, theirs, "{request}");
    }
}
