//! Websockets of clients that speak HTTP/2 (RFC 8441), with and without TLS.

use std::net::SocketAddr;

use http::{Method, Request, Response};
use hub_proxy::{Cut, ProxyOptions, options::TlsFiles};
use hyper::{body::Incoming, ext::Protocol, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    http2::{Sender, cleartext, connect, empty, get, speak, text, tls_client},
    support::{Raw, Target, TestProxy, options, patiently, until},
    tls_client::fixture,
};

/// A websocket as its client sees it.
pub(crate) type Websocket = TokioIo<Upgraded>;

/// Opens a websocket with this cookie; the answer, and what comes after it.
pub(crate) async fn websocket(
    sender: &mut Sender,
    path: &str,
    cookie: &str,
) -> (Response<Incoming>, Websocket) {
    // The proxy's settings, which allow this kind of request, have arrived with the first answer.
    let first = patiently(sender.send_request(get("/_chp_healthz"))).await.unwrap();
    assert_eq!(text(first).await, r#"{"status":"OK"}"#);
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://h{path}"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("cookie", cookie)
        .body(empty())
        .unwrap();
    let mut response = patiently(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    let upgraded = patiently(hyper::upgrade::on(&mut response)).await.unwrap();
    (response, TokioIo::new(upgraded))
}

/// A client that speaks HTTP/2 over TLS.
pub(crate) async fn connect_tls(address: SocketAddr) -> Sender {
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let stream = patiently(tls_client(&["h2"]).connect(name, tcp)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    speak(stream).await
}

/// Says hello, then sends back whatever comes.
async fn echoing(scheme: &'static str) -> Target {
    Target::start(move |mut raw: Raw, _| async move {
        let request = raw.request().await.unwrap();
        assert_eq!(request.first, "GET /ws?x HTTP/1.1");
        assert_eq!(request.header("upgrade"), Some("websocket"));
        assert_eq!(request.header("sec-websocket-version"), Some("13"));
        assert_eq!(request.header("sec-websocket-key").map(str::len), Some(24));
        assert_eq!(request.header("x-forwarded-proto"), Some(scheme));
        raw.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: p\r\n\r\nhello",
        )
        .await;
        let (mut reader, mut writer) = raw.stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await
}

/// Takes the target's hello, then sends blocks of several sizes there and back.
async fn carries_bytes_both_ways(websocket: &mut Websocket) {
    let mut back = [0; 5];
    patiently(websocket.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"hello");
    for size in [1, 1000, 300_000] {
        let block: Vec<u8> = (0..=255u8).cycle().take(size).collect();
        let mut back = vec![0; size];
        let (mut reader, mut writer) = tokio::io::split(&mut *websocket);
        let (sent, read) = patiently(async {
            tokio::join!(
                async {
                    writer.write_all(&block).await?;
                    writer.flush().await
                },
                reader.read_exact(&mut back)
            )
        })
        .await;
        sent.unwrap();
        read.unwrap();
        assert!(back == block, "{size} bytes came back changed");
    }
}

#[tokio::test]
async fn a_websocket_opens_by_extended_connect() {
    let target = echoing("ws").await;
    let proxy = TestProxy::with(cleartext(), target.address);
    let mut sender = connect(&proxy).await;
    let (response, mut opened) = websocket(&mut sender, "/ws?x", "").await;
    assert_eq!(response.headers().get("sec-websocket-protocol").unwrap(), "p");
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    carries_bytes_both_ways(&mut opened).await;
    assert_eq!(proxy.metric("proxy_open_websockets").as_deref(), Some("1"));
    drop(opened);
    until(|| proxy.metric("proxy_open_websockets").as_deref() == Some("0")).await;
}

#[tokio::test]
async fn a_websocket_opens_by_extended_connect_over_tls() {
    let target = echoing("wss").await;
    let tls = Some(TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem")));
    let proxy = TestProxy::with(ProxyOptions { tls, ..options() }, target.address);
    let mut sender = connect_tls(proxy.address).await;
    let (_, mut opened) = websocket(&mut sender, "/ws?x", "").await;
    carries_bytes_both_ways(&mut opened).await;
    // Beside it the connection serves requests.
    let other = patiently(sender.send_request(get("/_chp_healthz"))).await.unwrap();
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn the_websocket_of_a_session_is_cut_and_another_one_of_its_connection_is_not() {
    let target = echoing("ws").await;
    let proxy = TestProxy::with(cleartext(), target.address);
    let mut sender = connect(&proxy).await;
    let (_, mut ended) = websocket(&mut sender, "/ws?x", "jupyterhub-session-id=s1").await;
    let (_, mut other) = websocket(&mut sender, "/ws?x", "jupyterhub-session-id=s2").await;
    for opened in [&mut ended, &mut other] {
        carries_bytes_both_ways(opened).await;
    }
    assert_eq!(proxy.scissors.cut(&Cut { session: Some("s1".to_owned()), ..Cut::default() }), 1);
    // Whether it ends by an error or in order is the same to a browser.
    assert_eq!(patiently(ended.read(&mut [0; 16])).await.unwrap_or(0), 0);
    patiently(other.write_all(b"still here")).await.unwrap();
    patiently(other.flush()).await.unwrap();
    let mut back = [0; 10];
    patiently(other.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"still here");
    until(|| proxy.metric("proxy_open_websockets").as_deref() == Some("1")).await;
}
