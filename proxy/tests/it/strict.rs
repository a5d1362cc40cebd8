//! Requests that two servers could read in two ways.

use super::support::{Raw, Target, TestProxy, options};

/// Sends bytes, closes the sending side and collects all that comes back.
async fn exchange(proxy: &TestProxy, bytes: impl AsRef<[u8]>) -> String {
    let mut raw = proxy.connect().await;
    let _ = raw.try_send(bytes).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await;
    let mut all = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut raw.stream, &mut all);
    let _ = super::support::patiently(reading).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// A target that tells what it was asked, and fails the test when it was asked for the smuggled path.
async fn guarded() -> (Target, TestProxy) {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            assert!(!request.target().contains("smuggled"), "{request:?}");
            if raw.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err() {
                return;
            }
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    (target, proxy)
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn a_fault_in_a_later_request_leaves_the_earlier_answers_alone() {
    let (_target, proxy) = guarded().await;
    let answer = exchange(
        &proxy,
        format!(
            "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
             POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}"
        ),
    )
    .await;
    let statuses: Vec<_> = answer
        .split("\r\n")
        .filter_map(|line| line.strip_prefix("HTTP/1.1 "))
        .map(|line| &line[..3])
        .collect();
    assert_eq!(statuses, ["200", "200", "400"], "{answer}");
}

#[tokio::test]
async fn oversized_heads_are_refused() {
    let (_target, proxy) = guarded().await;
    let answer =
        exchange(&proxy, format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(100_000))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = "X: y\r\n".repeat(500);
    let answer = exchange(&proxy, format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = exchange(&proxy, format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(66_000))).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    // A cookie jar of respectable size passes.
    let answer =
        exchange(&proxy, format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {}\r\n\r\n", "a".repeat(30_000)))
            .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn an_answer_may_have_as_many_header_lines_as_a_request() {
    for (lines, status) in [(127, 200), (128, 503)] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}\r\nok", "X: y\r\n".repeat(lines));
        let target = Target::fixed(answer.leak()).await;
        let proxy = TestProxy::to(target.address);
        assert_eq!(proxy.get("/").await.status(), status, "{lines}");
    }
}

#[tokio::test]
async fn a_target_with_an_ambiguous_answer_is_not_trusted() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        let target = Target::fixed(answer).await;
        let proxy = TestProxy::to(target.address);
        assert_eq!(proxy.get("/").await.status(), 503, "{answer:?}");
    }
    for (lengths, answer) in [
        (
            "Content-Length: 3\r\nContent-Length: 3",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        ),
        ("Content-Length: 3, 3", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc"),
    ] {
        let target = Target::fixed(answer).await;
        let proxy = TestProxy::to(target.address);
        let answer = proxy.get("/").await;
        let told: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "content-length").collect();
        assert_eq!((answer.text().as_str(), told.len(), told[0].1.as_str()), ("abc", 1, "3"), "{lengths}");
    }
    // A length beside chunks is dropped, as HTTP demands, and the client sees one framing only.
    let target = Target::fixed(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    let proxy = TestProxy::to(target.address);
    let answer = proxy.get("/").await;
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("abc", None));
}

#[tokio::test]
async fn a_slow_head_ends_the_connection() {
    let timeouts = hub_proxy::options::Timeouts {
        request_head: std::time::Duration::from_millis(100),
        ..Default::default()
    };
    let proxy = TestProxy::start(hub_proxy::ProxyOptions { timeouts, ..options() });
    let mut raw = proxy.connect().await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\n").await;
    assert!(raw.is_closed().await);
}
