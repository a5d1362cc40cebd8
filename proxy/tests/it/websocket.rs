//! Upgrades, byte by byte.

use std::time::Duration;

use hub_proxy::{
    ProxyOptions,
    options::{Limits, Timeouts},
};

use super::support::{Raw, Target, TestProxy, dead_address, options, patiently, until};

const UPGRADE: &str = "GET /ws?x=1 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                       Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: xyz\r\n\r\n";

/// Switches protocols, then sends back whatever comes until the client ends.
async fn echoing() -> Target {
    Target::start(|mut raw: Raw, _| async move {
        let Some(request) = raw.request().await else { return };
        raw.send(format!(
            "{}X-Seen: {:?}\r\n\r\n",
            SWITCH.trim_end_matches("\r\n").to_owned() + "\r\n",
            request.headers
        ))
        .await;
        let (mut reader, mut writer) = raw.stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut writer).await;
    })
    .await
}

#[tokio::test]
async fn a_websocket_is_opened_and_carries_bytes_both_ways() {
    let target = echoing().await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send(UPGRADE).await;
    let answer = raw.head().await.unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("xyz"));
    assert_eq!(answer.header("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    let seen = answer.header("x-seen").unwrap();
    for part in [
        r#"("sec-websocket-key", "abc")"#,
        r#"("upgrade", "websocket")"#,
        r#"("connection", "Upgrade")"#,
        r#"("x-forwarded-proto", "ws")"#,
    ] {
        assert!(seen.contains(part), "{part} is missing in {seen}");
    }
    assert!(!seen.contains("x-forwarded-host"), "as the original, only web requests tell the host");
    for number in 0..100u32 {
        let message = format!("message {number}").repeat(1 + number as usize);
        raw.send(&message).await;
        assert_eq!(raw.take(message.len()).await, message.as_bytes());
    }
    assert_eq!(proxy.metric("proxy_open_websockets").as_deref(), Some("1"));
    raw.half_close().await;
    assert!(raw.is_closed().await);
    until(|| proxy.metric("proxy_open_websockets").as_deref() == Some("0")).await;
}

#[tokio::test]
async fn bytes_sent_together_with_the_upgrade_are_not_lost() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send(format!("{SWITCH}early")).await;
        let got = raw.take(5).await;
        raw.send(got).await;
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send(format!("{UPGRADE}first")).await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    assert_eq!(raw.take(10).await, b"earlyfirst");
}

#[tokio::test]
async fn bytes_that_come_with_the_answer_count_as_sent() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send(format!("{SWITCH}{}", "early".repeat(20))).await;
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send(UPGRADE).await;
    let mut all = Vec::new();
    patiently(tokio::io::AsyncReadExt::read_to_end(&mut raw.stream, &mut all)).await.unwrap();
    assert!(all.ends_with(b"early"));
    assert_eq!(proxy.metric("proxy_sent_bytes"), Some(all.len().to_string()));
}

#[tokio::test]
async fn a_websocket_of_which_a_side_takes_nothing_any_more_ends_and_a_slow_one_does_not() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send(SWITCH).await;
        let block = vec![b'x'; 64 * 1024];
        while tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &block).await.is_ok() {}
    })
    .await;
    let stuck = Duration::from_secs(4);
    let timeouts = Timeouts { stuck, ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, target.address);
    let mut raw = proxy.connect().await;
    raw.send(UPGRADE).await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    let begin = std::time::Instant::now();
    while begin.elapsed() < 2 * stuck {
        raw.take(1024 * 1024).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(proxy.metric("proxy_open_websockets").as_deref(), Some("1"));
    // From here on nobody reads.
    until(|| proxy.metric("proxy_open_websockets").as_deref() == Some("0")).await;
    until(|| proxy.metric("proxy_open_upstream_connections").as_deref() == Some("0")).await;
}

#[tokio::test]
async fn large_amounts_pass_both_ways_at_once() {
    const SIZE: usize = 20 * 1024 * 1024;
    let target = echoing().await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send(UPGRADE).await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    let (mut reader, mut writer) = raw.stream.split();
    let sending = async {
        let block: Vec<u8> = (0..=255u8).cycle().take(64 * 1024).collect();
        for _ in 0..SIZE / block.len() {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &block).await.unwrap();
        }
    };
    let receiving = async {
        let mut seen = 0usize;
        let mut buffer = vec![0; 64 * 1024];
        while seen < SIZE {
            let count = tokio::io::AsyncReadExt::read(&mut reader, &mut buffer).await.unwrap();
            assert!(count > 0);
            for (offset, byte) in buffer[..count].iter().enumerate() {
                assert_eq!(usize::from(*byte), (seen + offset) % 256);
            }
            seen += count;
        }
    };
    patiently(async { tokio::join!(sending, receiving) }).await;
}

#[tokio::test]
async fn another_answer_to_an_upgrade_is_relayed() {
    let target =
        Target::fixed("HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nContent-Length: 4\r\n\r\nnope").await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send(UPGRADE).await;
    let answer = raw.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (403, "nope"));
    assert_eq!(answer.header("x-why"), Some("because"));
}

#[tokio::test]
async fn a_websocket_without_route_or_target_gets_a_bare_status() {
    let proxy = TestProxy::start(super::support::options());
    let answer = proxy.ask(UPGRADE).await;
    assert_eq!((answer.status(), answer.header("content-length")), (404, Some("0")));
    proxy.route("/", dead_address().await);
    let answer = proxy.ask(UPGRADE).await;
    assert_eq!((answer.status(), answer.header("content-length")), (503, Some("0")));
}

#[tokio::test]
async fn the_client_learns_when_the_target_breaks_off() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send(SWITCH).await;
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send(UPGRADE).await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn websocket_bytes_count_as_activity() {
    let target = echoing().await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send(UPGRADE).await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    let before = proxy.routes.get("/").unwrap().last_activity;
    until(|| {
        std::time::SystemTime::now()
            > std::time::SystemTime::from(before) + std::time::Duration::from_millis(2)
    })
    .await;
    raw.send("x").await;
    raw.take(1).await;
    assert!(proxy.routes.get("/").unwrap().last_activity > before);
}

#[tokio::test]
async fn an_upgrade_to_something_else_is_an_ordinary_request() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::to(target.address);
    let answer = proxy
        .ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.text().contains("upgrade"), "{}", answer.text());
    assert!(!answer.text().contains("http2-settings"), "{}", answer.text());
}

#[tokio::test]
async fn a_websocket_counts_in_the_bounds_of_clients_for_as_long_as_it_lives() {
    let target = echoing().await;
    for limits in [
        Limits { client_connections: 1, ..Limits::default() },
        Limits { connections_per_client: Some(1), ..Limits::default() },
    ] {
        let proxy = TestProxy::with(ProxyOptions { limits, ..options() }, target.address);
        let mut websocket = proxy.connect().await;
        websocket.send(UPGRADE).await;
        assert_eq!(websocket.head().await.unwrap().status(), 101);
        websocket.send("x").await;
        assert_eq!(websocket.take(1).await, b"x");
        assert_eq!(proxy.connect().await.response().await.status(), 503);
        until(|| proxy.metric("proxy_open_connections").as_deref() == Some("1")).await;
        drop(websocket);
        until(|| proxy.metric("proxy_open_connections").as_deref() == Some("0")).await;
        assert_eq!(proxy.get("/_chp_healthz").await.status(), 200);
    }
}

#[tokio::test]
async fn a_websocket_whose_client_has_left_ends_when_its_target_stays_silent() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send(SWITCH).await;
        // As a stopped process: neither reads nor writes, nor notices that the other side has ended.
        std::future::pending::<()>().await;
    })
    .await;
    let timeouts = Timeouts { half_closed: Duration::from_millis(100), ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, target.address);
    let mut raw = proxy.connect().await;
    raw.send(UPGRADE).await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    until(|| proxy.metric("proxy_open_websockets").as_deref() == Some("1")).await;
    raw.half_close().await;
    assert!(raw.is_closed().await);
    until(|| proxy.metric("proxy_open_websockets").as_deref() == Some("0")).await;
    until(|| proxy.metric("proxy_open_upstream_connections").as_deref() == Some("0")).await;
}
