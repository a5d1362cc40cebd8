//! Access log, statistics, metrics, and cutting websockets.

use std::{net::SocketAddr, sync::Arc};

use hub_proxy::{
    Cut,
    api::{Api, ApiOptions},
    metrics::Metrics,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpSocket,
};
use tokio_util::sync::CancellationToken;

use super::{
    program::{DESCRIPTORS, Process, Which},
    support::{Raw, Target, TestProxy, any_port, dead_address, options, patiently, until},
};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";

async fn opened(proxy: &TestProxy, more: &str) -> Raw {
    let mut raw = proxy.connect().await;
    raw.send(format!(
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{more}\r\n"
    ))
    .await;
    let answer = raw.head().await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("x-jupyterhub-token-id"), None);
    raw
}

#[tokio::test]
async fn the_websockets_of_a_session_or_token_are_cut_and_no_others() {
    let target = Target::start(|mut raw: Raw, number| async move {
        raw.request().await;
        raw.send(format!("{SWITCH}X-JupyterHub-Token-Id: a{number}\r\n\r\n")).await;
        let (mut reader, mut writer) = raw.stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut by_session = opened(&proxy, "Cookie: jupyterhub-session-id=s1; x=y\r\n").await;
    let mut by_token = opened(&proxy, "Authorization: token t1\r\n").await;
    let mut by_id = opened(&proxy, "").await;
    let mut other = opened(&proxy, "Cookie: jupyterhub-session-id=s2\r\n").await;
    until(|| proxy.metric("proxy_open_websockets").as_deref() == Some("4")).await;

    let shutdown = CancellationToken::new();
    let _stop = shutdown.clone().drop_guard();
    let api_options = ApiOptions { listen: any_port(), token: Some("secret".to_owned()), tls: None };
    let api = Api::bind_inheriting(
        &api_options,
        Some(proxy.scissors.clone()),
        Arc::clone(&proxy.routes),
        Arc::<Metrics>::clone(&proxy.metrics),
        &mut hub_proxy::Sockets::default(),
    )
    .unwrap();
    let address = api.local_addr().unwrap();
    tokio::spawn(api.run(shutdown));
    let ask = async |token: &str, body: &str| {
        let mut raw = Raw::connect(address).await;
        raw.send(format!(
            "POST /api/websockets/cut HTTP/1.1\r\nHost: h\r\nAuthorization: token {token}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        let answer = raw.response().await;
        (answer.status(), answer.text())
    };
    assert_eq!(ask("wrong", r#"{"session": "s1"}"#).await.0, 403);
    for body in ["{}", "{", "[]", r#"{"session": 3}"#, r#"{"user": "x"}"#] {
        assert_eq!(ask("secret", body).await.0, 400, "{body}");
    }
    assert_eq!(ask("secret", r#"{"session": "s1"}"#).await, (200, r#"{"cut":1}"#.to_owned()));
    assert!(by_session.is_closed().await);
    assert_eq!(ask("secret", r#"{"token": "t1"}"#).await, (200, r#"{"cut":1}"#.to_owned()));
    assert!(by_token.is_closed().await);
    assert_eq!(ask("secret", r#"{"token_id": "a3"}"#).await, (200, r#"{"cut":1}"#.to_owned()));
    assert!(by_id.is_closed().await);
    other.send("still here").await;
    assert_eq!(other.take(10).await, b"still here");
    assert_eq!(proxy.scissors.cut(&Cut { route: Some("/".to_owned()), ..Cut::default() }), 1);
    assert!(other.is_closed().await);
}

#[tokio::test]
async fn requests_bytes_and_latencies_are_counted() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::start(options());
    let data = serde_json::Map::from_iter([("user".to_owned(), "x".into())]);
    proxy.routes.add("/user/x", &format!("http://{}", target.address), data).unwrap();
    for _ in 0..3 {
        assert_eq!(proxy.get("/user/x/y").await.status(), 200);
    }
    assert_eq!(proxy.get("/nothing").await.status(), 404);
    assert_eq!(proxy.metric(r#"proxy_route_requests{kind="user"}"#).as_deref(), Some("3"));
    assert_eq!(proxy.metric(r#"proxy_route_requests{kind="hub"}"#).as_deref(), Some("0"));
    assert_eq!(proxy.metric("proxy_connections").as_deref(), Some("4"));
    assert_eq!(proxy.metric("proxy_request_duration_seconds_count").as_deref(), Some("4"));
    assert_eq!(proxy.metric(r#"proxy_request_duration_seconds_bucket{le="+Inf"}"#).as_deref(), Some("4"));
    let number = |name: &str| proxy.metric(name).unwrap().parse::<u64>().unwrap();
    assert!(number("proxy_received_bytes") > 200);
    assert!(number("proxy_sent_bytes") > 400);
    assert!(number("proxy_descriptor_limit") > 0);
    until(|| proxy.metric("proxy_open_connections").as_deref() == Some("0")).await;
}

#[tokio::test]
async fn statistics_name_the_busiest_routes() {
    let target = Target::echo("one").await;
    let process = Process::start(&Which::Ours, &["--log-level", "error"]).await;
    for path in ["/a", "/b", "/c"] {
        process.route(path, &format!("http://{}", target.address)).await;
    }
    for path in ["/b", "/b", "/a/x"] {
        let mut raw = Raw::connect(process.public).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(raw.response().await.status(), 200);
    }
    let (status, text) = process.ask_api("GET", "/api/statistics?limit=2", "").await;
    assert_eq!(status, 200);
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["count"], 3);
    let routes: Vec<_> = found["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| (&route["route"], &route["requests"]))
        .collect();
    assert_eq!(routes, [(&"/b".into(), &2.into()), (&"/a".into(), &1.into())]);
    assert_eq!(process.ask_api("GET", "/api/statistics?limit=x", "").await.0, 400);
}

/// The line about a path, from a process that logs.
async fn line_about(
    lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    path: &str,
) -> String {
    patiently(async {
        loop {
            // The test harness writes lines of its own.
            let line = lines.next_line().await.unwrap().expect("the log goes on");
            if line.contains(path) {
                return line;
            }
        }
    })
    .await
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request_and_no_secret() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while raw.request().await.is_some() {
            raw.send(format!("HTTP/1.1 201 Created\r\nContent-Length: 1234\r\n\r\n{}", "x".repeat(1234)))
                .await;
        }
    })
    .await;
    let mut logged = Vec::new();
    for format in ["common", "json"] {
        let mut process =
            Process::start(&Which::Ours, &["--access-log", format, "--log-level", "error"]).await;
        process.route("/user/a", &format!("http://{}", target.address)).await;
        let mut lines = BufReader::new(process.output()).lines();
        for path in ["/user/a/x", "/nothing"] {
            let mut raw = Raw::connect(process.public).await;
            raw.send(format!(
                "GET {path}?token=secret HTTP/1.1\r\nHost: h\r\nUser-Agent: tester/1 \"x\"\r\n\
                 Authorization: token secret\r\nCookie: a=secret\r\nConnection: close\r\n\r\n"
            ))
            .await;
            raw.response().await;
            let line = line_about(&mut lines, path).await;
            assert!(!line.contains("secret"), "{line}");
            logged.push(line);
        }
    }
    assert!(logged[0].starts_with("127.0.0.1 - - ["), "{}", logged[0]);
    assert!(logged[0].contains("\"GET /user/a/x HTTP/1.1\" 201 "), "{}", logged[0]);
    assert!(logged[1].contains("\"GET /nothing HTTP/1.1\" 404 "), "{}", logged[1]);
    for (line, path, status, route) in
        [(&logged[2], "/user/a/x", 201, Some("/user/a")), (&logged[3], "/nothing", 404, None)]
    {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        let took = line["duration_ms"].take().as_u64().unwrap();
        assert!(took < 60_000, "{took}");
        let time = line["time"].take();
        assert!(chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).is_ok(), "{time}");
        let bytes = line["bytes"].take().as_u64().unwrap();
        assert!(status != 201 || bytes == 1234, "{bytes}");
        let expected = serde_json::json!({
            "time": null, "client": "127.0.0.1", "method": "GET", "path": path, "protocol": "HTTP/1.1",
            "status": status, "bytes": null, "duration_ms": null, "route": route, "user_agent": "tester/1 \"x\"",
        });
        assert_eq!(line, expected);
    }
}

#[tokio::test]
async fn a_websocket_is_logged_when_it_ends_with_all_that_went_through_it() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send(format!("{SWITCH}\r\n")).await;
        raw.send("hello").await;
        raw.is_closed().await;
    })
    .await;
    let base = format!("http://{}", target.address);
    let flags = ["--access-log", "json", "--log-level", "error", "--default-target", &base];
    let mut process = Process::start(&Which::Ours, &flags).await;
    let mut lines = BufReader::new(process.output()).lines();
    let mut raw = Raw::connect(process.public).await;
    raw.send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    assert_eq!(raw.take(5).await, b"hello");
    drop(raw);
    let line = line_about(&mut lines, "/ws").await;
    assert!(line.contains(r#""status":101,"bytes":5,"#), "{line}");
}

#[tokio::test]
async fn connections_beyond_the_system_s_descriptors_are_told_so() {
    let (public, api, metrics) = (dead_address().await, dead_address().await, dead_address().await);
    let port = metrics.port().to_string();
    let flags = ["--metrics-ip", "127.0.0.1", "--metrics-port", &port, "--log-level", "error"];
    let few = [(DESCRIPTORS, "256")];
    let _process = Process::start_at(&Which::Ours, public, api, &flags, &few).await;
    // From several addresses, so that the bound of one client is not met before.
    let mut open = Vec::new();
    let refusal = patiently(async {
        loop {
            assert!(open.len() < 256, "there are more connections than descriptors");
            let socket = TcpSocket::new_v4().unwrap();
            let last = 1 + u8::try_from(open.len() % 4).unwrap();
            socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
            let mut raw = Raw::new(socket.connect(public).await.unwrap());
            raw.send("GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
            let answer = raw.response().await;
            if answer.status() != 200 {
                break answer;
            }
            open.push(raw);
        }
    })
    .await;
    assert_eq!((refusal.status(), refusal.header("connection")), (503, Some("close")));
    assert!(refusal.text().contains("too many open connections"), "{}", refusal.text());
    assert!(open.len() > 32, "{} connections are few for 256 descriptors", open.len());
    let mut raw = Raw::connect(metrics).await;
    raw.send("GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    let text = raw.response().await.text();
    for line in ["proxy_descriptor_limit 256", "proxy_refused_connections 1"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    // There is room again when others have gone.
    drop(open);
    patiently(async {
        loop {
            let mut raw = Raw::connect(public).await;
            raw.send("GET /_chp_healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
            if raw.response().await.status() == 200 {
                break;
            }
        }
    })
    .await;
}
