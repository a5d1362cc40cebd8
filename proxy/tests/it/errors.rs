//! What clients get when there is no target, or none that answers.

use std::time::Duration;

use hub_proxy::{ProxyOptions, options::Timeouts};

use super::support::{Raw, Target, TestProxy, dead_address, options};

#[tokio::test]
async fn no_route_is_404_and_a_dead_target_503_with_a_page() {
    let proxy = TestProxy::start(options());
    let answer = proxy.get("/x").await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().contains("404 Not Found"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    proxy.route("/", dead_address().await);
    let answer = proxy.get("/x").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("503 Service Unavailable"));
    assert_eq!(proxy.metric(r#"requests_proxy{status="404"}"#).as_deref(), Some("1"));
    assert_eq!(proxy.metric(r#"requests_proxy{status="503"}"#).as_deref(), Some("1"));
    assert_eq!(proxy.metric(r#"proxy_upstream_errors{class="connect"}"#).as_deref(), Some("1"));
}

#[tokio::test]
async fn malformed_percent_encoding_is_500() {
    let proxy = TestProxy::start(options());
    for path in ["/%", "/%zz", "/user/%ff", "/../%2"] {
        assert_eq!(proxy.get(path).await.status(), 500, "{path}");
    }
}

#[tokio::test]
async fn the_error_target_is_asked_for_the_page() {
    let errors = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            let body = request.first;
            raw.send(format!(
                "HTTP/1.1 299 Fine\r\nContent-Type: text/x-error\r\nX-Private: 1\r\nSet-Cookie: a=b\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        }
    })
    .await;
    for base in ["", "/", "/hub/error", "/hub/error/"] {
        let proxy = TestProxy::start(ProxyOptions {
            error_target: Some(format!("http://{}{base}", errors.address)),
            ..options()
        });
        for _ in 0..2 {
            let answer = proxy.get("/user/a%20b?x=1&y=%2F").await;
            assert_eq!(answer.status(), 404);
            assert_eq!(answer.header("content-type"), Some("text/x-error"));
            assert_eq!((answer.header("x-private"), answer.header("set-cookie")), (None, None));
            let path = base.trim_end_matches('/');
            let url = "url=%2Fuser%2Fa%2520b%3Fx%3D1%26y%3D%252F";
            assert_eq!(answer.text(), format!("GET {path}/404?{url} HTTP/1.1"));
        }
        proxy.route("/", dead_address().await);
        let answer = proxy.get("/z").await;
        assert_eq!(answer.status(), 503);
        assert!(answer.text().contains("/503?url=%2Fz "), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_dead_or_slow_error_target_leaves_plain_text() {
    let dead = dead_address().await;
    let proxy = TestProxy::start(ProxyOptions { error_target: Some(format!("http://{dead}")), ..options() });
    assert_eq!(proxy.get("/x").await.text(), "Not Found");

    let silent = Target::start(|raw: Raw, _| async move {
        std::future::pending::<()>().await;
        drop(raw);
    })
    .await;
    let timeouts = Timeouts { error_page: Duration::from_millis(50), ..Timeouts::default() };
    let proxy = TestProxy::start(ProxyOptions {
        error_target: Some(format!("http://{}", silent.address)),
        timeouts,
        ..options()
    });
    assert_eq!(proxy.get("/x").await.text(), "Not Found");
}

#[tokio::test]
async fn error_pages_come_from_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("404.html"), "<p>nothing here</p>").unwrap();
    let proxy = TestProxy::start(ProxyOptions { error_path: Some(folder.path().to_path_buf()), ..options() });
    let answer = proxy.get("/x").await;
    assert_eq!((answer.status(), answer.text().as_str()), (404, "<p>nothing here</p>"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    proxy.route("/", dead_address().await);
    assert_eq!(proxy.get("/x").await.text(), "Service Unavailable");
    std::fs::write(folder.path().join("error.html"), "<p>oh</p>").unwrap();
    assert_eq!(proxy.get("/x").await.text(), "<p>oh</p>");
}

#[tokio::test]
async fn a_silent_target_is_given_up_when_a_time_is_set() {
    let target = Target::start(|mut raw: Raw, _| async move {
        let request = raw.request().await.unwrap();
        if request.target() == "/half" {
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let timeouts = Timeouts { response: Some(Duration::from_millis(100)), ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, target.address);
    assert_eq!(proxy.get("/").await.status(), 503);
    assert_eq!(proxy.metric(r#"proxy_upstream_errors{class="response_timeout"}"#).as_deref(), Some("1"));
    let mut raw = proxy.connect().await;
    raw.send("GET /half HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.head().await.unwrap().status(), 200);
    assert_eq!(raw.take(4).await, b"half");
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn an_upload_that_goes_on_after_the_answer_has_begun_is_no_silence() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.head().await.unwrap();
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nea").await;
        // Reads for longer than the limit, then says the rest; or hears nothing more, and does not.
        raw.take(30).await;
        raw.send("rly").await;
    })
    .await;
    let limit = Duration::from_secs(4);
    let timeouts = Timeouts { response: Some(limit), ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, target.address);
    let begin = std::time::Instant::now();
    let mut raw = proxy.connect().await;
    raw.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n").await;
    assert_eq!(raw.head().await.unwrap().status(), 200);
    for _ in 0..30 {
        raw.send("x").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(begin.elapsed() > limit);
    assert_eq!(raw.take(4).await, b"earl");

    let mut raw = proxy.connect().await;
    raw.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nx").await;
    assert_eq!(raw.head().await.unwrap().status(), 200);
    assert_eq!(raw.take(2).await, b"ea");
    assert!(raw.is_closed().await, "neither side sends anything");
}

#[tokio::test]
async fn a_silent_client_is_dropped_when_a_time_is_set() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let timeouts = Timeouts { client: Some(Duration::from_millis(100)), ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, target.address);
    let mut raw = proxy.connect().await;
    raw.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc").await;
    assert!(raw.is_closed().await);
}
