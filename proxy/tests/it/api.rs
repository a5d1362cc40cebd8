//! The REST API, behaviour by behaviour. What is asserted here was seen in the original; `peer.rs` asks it again.

use std::{net::SocketAddr, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use hub_proxy::{RouteTable, api::Api, metrics::Metrics};
use serde_json::{Map, Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::support::{Message, Raw, any_port};

/// A running API; it stops when dropped.
struct TestApi {
    address: SocketAddr,
    routes: Arc<RouteTable>,
    metrics: Arc<Metrics>,
    _running: DropGuard,
}

const TARGET: &str = "http://127.0.0.1:54321";

impl TestApi {
    fn start(token: Option<&str>, host_routing: bool) -> Self {
        let (routes, metrics) = (RouteTable::new(host_routing), Metrics::new());
        let api = Api::bind(&any_port(), token.map(str::to_owned), Arc::clone(&routes), Arc::clone(&metrics));
        let api = api.unwrap();
        let address = api.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(api.run(shutdown.clone()));
        Self { address, routes, metrics, _running: shutdown.drop_guard() }
    }

    fn open() -> Self {
        Self::start(None, false)
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Message {
        let mut raw = Raw::connect(self.address).await;
        let length = body.len();
        raw.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        raw.response_to(method).await
    }

    async fn get(&self, path: &str) -> Message {
        self.send("GET", path, "", "").await
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/json")));
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> Message {
        self.send("POST", path, "", body).await
    }
}

fn target() -> String {
    json!({ "target": TARGET }).to_string()
}

#[tokio::test]
async fn a_route_is_added_listed_and_deleted() {
    let api = TestApi::open();
    let before = now();
    let body = json!({"user": "x", "target": TARGET, "jupyterhub": true, "n": [1, null]}).to_string();
    let answer = api.post("/api/routes/user/x", &body).await;
    assert_eq!((answer.status(), answer.body.len()), (201, 0));

    let all = api.json("/api/routes").await;
    let route = &all["/user/x"];
    assert_eq!(all.as_object().unwrap().len(), 1);
    assert_eq!(route["target"], TARGET);
    assert_eq!(route["user"], "x");
    assert_eq!(route["jupyterhub"], true);
    assert_eq!(route["n"], json!([1, null]));
    let at = route["last_activity"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.len() == "2020-01-02T03:04:05.678Z".len(), "{at}");
    let at: DateTime<Utc> = at.parse().unwrap();
    assert!(at >= before - TimeDelta::milliseconds(1) && at <= now());
    let keys: Vec<_> = route.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["user", "target", "jupyterhub", "n", "last_activity"], "the order of the post is kept");

    assert_eq!(api.json("/api/routes/user/x").await, *route);
    assert_eq!(api.json("/api/routes/user/x/").await, *route);
    let answer = api.send("DELETE", "/api/routes/user/x", "", "").await;
    assert_eq!((answer.status(), answer.body.len()), (204, 0));
    let answer = api.send("DELETE", "/api/routes/user/x", "", "").await;
    assert_eq!((answer.status(), answer.body.len()), (404, 0));
    assert_eq!(api.json("/api/routes").await, json!({}));
}

fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

#[tokio::test]
async fn a_route_that_is_not_there_is_404() {
    let api = TestApi::open();
    let answer = api.get("/api/routes/user/x").await;
    assert_eq!((answer.status(), answer.body.len()), (404, 0));
    for path in ["/", "/api", "/api/", "/api/routesx", "/api/other", "/apix/routes", "/routes"] {
        let answer = api.get(path).await;
        assert_eq!((answer.status(), answer.text().as_str()), (404, "Not Found"), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_405() {
    let api = TestApi::start(Some("secret"), false);
    for method in ["PUT", "PATCH", "OPTIONS"] {
        for path in ["/api/routes", "/api/routes/", "/api/routes/x"] {
            let answer = api.send(method, path, "", "").await;
            assert_eq!((answer.status(), answer.text().as_str()), (405, "Method not supported"), "{method}");
        }
    }
    assert_eq!(api.send("HEAD", "/api/routes", "", "").await.status(), 405);
    assert_eq!(api.send("PUT", "/api/other", "", "").await.status(), 404);
}

#[tokio::test]
async fn without_the_token_everything_is_403() {
    let api = TestApi::start(Some("secret"), false);
    for headers in [
        "",
        "Authorization: token wrong\r\n",
        "Authorization: Bearer secret\r\n",
        "Authorization: Token secret\r\n",
        "Authorization: secret\r\n",
        "Authorization: token\r\n",
        "Authorization: token secretx\r\n",
    ] {
        for (method, body) in [("GET", ""), ("POST", r#"{"target": "http://h"}"#), ("DELETE", "")] {
            let answer = api.send(method, "/api/routes/x", headers, body).await;
            assert_eq!((answer.status(), answer.body.len()), (403, 0), "{method} {headers}");
        }
    }
    assert!(api.routes.is_empty());
    for headers in ["Authorization: token secret\r\n", "authorization: x token   secret y\r\n"] {
        assert_eq!(api.send("GET", "/api/routes", headers, "").await.status(), 200, "{headers}");
    }
}

#[tokio::test]
async fn a_broken_body_is_reported_even_before_the_token_is_looked_at() {
    let api = TestApi::start(Some("secret"), false);
    for body in ["", "{", "nonsense", "{'target': 1}", "{\"target\": \"x\"} x"] {
        let answer = api.post("/api/routes/x", body).await;
        assert_eq!(answer.status(), 400, "{body}");
        assert!(answer.text().starts_with("Body not valid JSON: "), "{}", answer.text());
    }
    assert_eq!(api.post("/api/routes/x", "{}").await.status(), 403);
}

#[tokio::test]
async fn a_missing_or_unusable_target_is_400() {
    let api = TestApi::open();
    for body in [
        "{}",
        "null",
        "[]",
        "1",
        "\"x\"",
        r#"{"target": 1}"#,
        r#"{"target": null}"#,
        r#"{"where": "http://h"}"#,
    ] {
        let answer = api.post("/api/routes/x", body).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (400, "Must specify 'target' as string"),
            "{body}"
        );
    }
    for bad in ["nonsense", "", "ftp://h/", "//h"] {
        let answer = api.post("/api/routes/x", &json!({ "target": bad }).to_string()).await;
        assert_eq!(answer.status(), 400, "{bad}");
        assert!(answer.text().contains("target"), "{}", answer.text());
    }
    assert!(api.routes.is_empty());
}

#[tokio::test]
async fn an_oversized_body_is_413() {
    let api = TestApi::open();
    let body = json!({"target": TARGET, "x": "y".repeat(1024 * 1024)}).to_string();
    assert_eq!(api.post("/api/routes/x", &body).await.status(), 413);
}

#[tokio::test]
async fn paths_are_decoded_once_and_cleaned() {
    let api = TestApi::open();
    for (posted, key) in [
        ("/api/routes/user/a%20b", "/user/a b"),
        ("/api/routes/user/%40x%2Fy/", "/user/@x/y"),
        ("/api/routes/%E4%BD%A0", "/你"),
        ("/api/routes/a%2525", "/a%25"),
        ("/api/routes/b/../c", "/c"),
        ("/api/routes", "/"),
        ("/api/routes/", "/"),
    ] {
        assert_eq!(api.post(posted, &target()).await.status(), 201, "{posted}");
        let keys: Vec<_> = api.json("/api/routes").await.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, [key], "{posted}");
        assert_eq!(api.send("DELETE", posted, "", "").await.status(), 204, "{posted}");
    }
    for bad in ["/api/routes/%", "/api/routes/%zz", "/api/routes/%ff"] {
        assert_eq!(api.get(bad).await.status(), 400, "{bad}");
        assert_eq!(api.post(bad, &target()).await.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn a_second_post_replaces_the_first() {
    let api = TestApi::open();
    api.post("/api/routes/x", r#"{"target": "http://127.0.0.1:1", "old": 1}"#).await;
    api.post("/api/routes/x/", r#"{"target": "http://127.0.0.1:2", "last_activity": "never"}"#).await;
    let route = api.json("/api/routes/x").await;
    assert_eq!((&route["target"], &route["old"]), (&json!("http://127.0.0.1:2"), &Value::Null));
    assert_ne!(route["last_activity"], "never");
}

#[tokio::test]
async fn host_routes_tell_their_host() {
    let api = TestApi::start(None, true);
    api.post("/api/routes/hub.test/user/x", &target()).await;
    api.post("/api/routes/", &target()).await;
    let all = api.json("/api/routes").await;
    assert_eq!(all["/hub.test/user/x"]["host"], "hub.test");
    assert_eq!(all["/"].get("host"), None);
}

#[tokio::test]
async fn the_list_can_be_limited_to_inactive_routes() {
    let api = TestApi::open();
    api.routes.add("/x", TARGET, Map::new()).unwrap();
    let start = now();
    let stamp =
        |delta| (start + TimeDelta::seconds(delta)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    for name in ["inactiveSince", "inactive_since"] {
        for (at, count) in
            [(stamp(-10), 0), (stamp(10), 1), ("2001-01-01".to_owned(), 0), ("2101".to_owned(), 1)]
        {
            let all = api.json(&format!("/api/routes?{name}={at}")).await;
            assert_eq!(all.as_object().unwrap().len(), count, "{name} {at}");
        }
        let answer = api.get(&format!("/api/routes?{name}=end%20of%20the%20world")).await;
        let message = "Invalid datestamp 'end of the world' must be ISO8601.";
        assert_eq!((answer.status(), answer.text().as_str()), (400, message));
    }
    assert_eq!(api.json("/api/routes?inactiveSince=").await.as_object().unwrap().len(), 1);
    let offset = (start + TimeDelta::seconds(10)).to_rfc3339();
    assert_eq!(api.json(&format!("/api/routes?inactive_since={offset}")).await.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn api_requests_are_counted() {
    let api = TestApi::open();
    api.post("/api/routes/x", &target()).await;
    api.get("/api/routes").await;
    api.get("/api/routes/x").await;
    api.get("/api/routes/y").await;
    api.send("DELETE", "/api/routes/x", "", "").await;
    let text = api.metrics.text();
    for line in [
        "api_route_add 1",
        "api_route_get 1",
        "api_route_delete 1",
        r#"requests_api{status="200"} 2"#,
        r#"requests_api{status="201"} 1"#,
        r#"requests_api{status="204"} 1"#,
        r#"requests_api{status="404"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
}
