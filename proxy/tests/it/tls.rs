//! TLS towards clients and targets. One proxy is the TLS target of another.

use std::path::PathBuf;

use hub_proxy::{Proxy, ProxyOptions, RouteTable, options::TlsFiles};
use serde_json::Map;

use super::support::{Target, TestProxy, options};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name)
}

fn tls() -> ProxyOptions {
    let files = TlsFiles::new(fixture("key.pem"), fixture("cert.pem"));
    ProxyOptions { tls: Some(files), ..options() }
}

#[tokio::test]
async fn https_clients_are_served_and_told_apart() {
    let target = Target::echo("one").await;
    let secure = TestProxy::with(tls(), target.address);
    let plain = TestProxy::start(ProxyOptions { insecure: true, ..options() });
    plain.routes.add("/", &format!("https://{}", secure.address), Map::new()).unwrap();
    for _ in 0..2 {
        let text = plain.get("/x").await.text();
        assert!(text.contains("\nx-forwarded-proto: http,https\n"), "{text}");
        assert!(text.contains("\nx-forwarded-port: 80,443\n"), "{text}");
    }
    // Plain HTTP on the TLS port gets nowhere.
    let mut raw = secure.connect().await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    raw.fill().await;
    while raw.fill().await > 0 {}
}

#[tokio::test]
async fn large_bodies_and_websockets_pass_through_tls() {
    let target = Target::start(|mut raw, _| async move {
        let request = raw.request().await.unwrap();
        raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        assert_eq!(request.header("x-forwarded-proto"), Some("ws,wss"));
        let (mut reader, mut writer) = raw.stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await;
    let secure = TestProxy::with(tls(), target.address);
    let plain = TestProxy::start(ProxyOptions { insecure: true, ..options() });
    plain.routes.add("/", &format!("https://{}", secure.address), Map::new()).unwrap();
    let mut raw = plain.connect().await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    for size in [1, 1000, 100_000, 1_000_000] {
        let block: Vec<u8> = (0..=255u8).cycle().take(size).collect();
        raw.send(&block).await;
        assert!(raw.take(size).await == block, "{size} bytes came back changed");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let secure = TestProxy::start(tls());
    let plain = TestProxy::start(options());
    plain.routes.add("/", &format!("https://{}", secure.address), Map::new()).unwrap();
    assert_eq!(plain.get("/_x").await.status(), 503);
}

#[tokio::test]
async fn unusable_certificates_are_errors_that_name_the_file() {
    for (key, certificate, name) in [
        ("cert.pem", "cert.pem", "cert.pem"),
        ("key.pem", "key.pem", "key.pem"),
        ("none.pem", "cert.pem", "none.pem"),
    ] {
        let files = TlsFiles::new(fixture(key), fixture(certificate));
        let bad = ProxyOptions { tls: Some(files), ..options() };
        let error = Proxy::bind(bad, RouteTable::new(false)).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
