//! Who a client is: told by the PROXY protocol, by trusted proxies, by nobody else.

use hub_proxy::{
    ProxyOptions,
    options::{Limits, TlsFiles},
};

use super::{
    support::{Target, TestProxy, options},
    tls_client::{TlsClient, fixture},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn the_proxy_protocol_tells_the_client() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::with(ProxyOptions { proxy_protocol: true, ..options() }, target.address);
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([198, 51, 100, 7, 127, 0, 0, 1, 0x10, 0, 0x1f, 0x90]);
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 56324 443\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n".to_vec(), "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2, "198.51.100.7"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1"),
    ] {
        let mut raw = proxy.connect().await;
        // In two pieces, as networks may cut it.
        let (one, two) = header.split_at(header.len() / 2);
        raw.send(one).await;
        raw.send([two, GET.as_bytes()].concat()).await;
        let text = raw.response().await.text();
        assert!(text.contains(&format!("\nx-forwarded-for: {client}\n")), "{client}: {text}");
    }
    let mut raw = proxy.connect().await;
    raw.send(GET).await;
    assert!(raw.is_closed().await, "without the header nobody is served");
}

#[tokio::test]
async fn the_proxy_protocol_goes_before_tls() {
    let target = Target::echo("one").await;
    let tls = Some(TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem")));
    let proxy = TestProxy::with(ProxyOptions { tls, proxy_protocol: true, ..options() }, target.address);
    let client = TlsClient::showing(None);
    let mut raw = proxy.connect().await;
    raw.send("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n").await;
    let answer = client.get_over(raw.stream, "/", "").await.unwrap();
    for line in ["x-forwarded-for: 192.0.2.1", "x-forwarded-proto: https"] {
        assert!(answer.text.lines().any(|found| found == line), "{line} is missing in {}", answer.text);
    }
    assert!(client.get(proxy.address, "/", "").await.is_none(), "without the header there is no TLS");
}

const FORGED: &str = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=192.0.2.9\r\n\
                      X-Real-IP: 192.0.2.9\r\nX-Scheme: evil\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn only_trusted_proxies_are_believed_where_some_are_named() {
    let target = Target::echo("one").await;
    let with = |ranges: &[&str]| {
        let ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
        TestProxy::with(ProxyOptions { trusted_proxies: Some(ranges), ..options() }, target.address)
    };
    let text = with(&["10.0.0.0/8"]).ask(FORGED).await.text();
    assert!(!text.contains("192.0.2.9") && !text.contains("evil"), "{text}");
    assert!(text.contains("\nx-forwarded-for: 127.0.0.1\n"), "{text}");
    assert!(text.contains("\nx-forwarded-proto: http\n"), "{text}");
    let text = with(&["10.0.0.0/8", "127.0.0.1"]).ask(FORGED).await.text();
    assert!(text.contains("\nx-forwarded-for: 192.0.2.9,127.0.0.1\n"), "{text}");
    assert!(text.contains("\nx-forwarded-host: evil\n"), "{text}");
    assert!(text.contains("\nx-real-ip: 192.0.2.9\n"), "{text}");
}

#[tokio::test]
async fn one_client_cannot_take_all_connections() {
    let limits = Limits { connections_per_client: Some(3), ..Limits::default() };
    let proxy = TestProxy::start(ProxyOptions { proxy_protocol: true, limits, ..options() });
    let open = async |client: &str, request: &str| {
        let mut raw = proxy.connect().await;
        raw.send(format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\n{request} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let method = request.split(' ').next().unwrap();
        let answer = raw.response_to(method).await;
        (raw, answer.status(), answer.text())
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        let (raw, status, _) = open("192.0.2.1", "GET /").await;
        assert_eq!(status, 404, "there is no route");
        held.push(raw);
    }
    assert_eq!(open("192.0.2.1", "GET /").await.1, 503);
    assert_eq!(open("192.0.2.1", "GET /x/_chp_healthz").await.1, 503);
    assert_eq!(open("192.0.2.2", "GET /").await.1, 404);
    // A balancer stands for all of its clients, and would send nobody to a proxy that it takes for ill.
    for (request, body) in [
        ("GET /_chp_healthz", r#"{"status":"OK"}"#),
        ("GET /_chp_healthz?x=y", r#"{"status":"OK"}"#),
        ("HEAD /_chp_healthz", ""),
    ] {
        let (_, status, text) = open("192.0.2.1", request).await;
        assert_eq!((status, text.as_str()), (200, body), "{request}");
    }
    assert_eq!(proxy.metric("proxy_refused_client_connections").as_deref(), Some("5"));
    held.pop();
    super::support::patiently(async { while open("192.0.2.1", "GET /").await.1 != 404 {} }).await;
}
