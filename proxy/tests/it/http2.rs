//! Clients that speak HTTP/2, with and without TLS.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use hub_proxy::{
    ProxyOptions,
    options::{Limits, TlsFiles},
};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::SendRequest,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    support::{Raw, Target, TestProxy, options, patiently, until},
    tls_client::fixture,
};

pub(crate) type Sender = SendRequest<BoxBody<Bytes, std::convert::Infallible>>;

pub(crate) fn cleartext() -> ProxyOptions {
    ProxyOptions { http2_cleartext: true, ..options() }
}

pub(crate) async fn speak<S>(stream: S) -> Sender
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn connect(proxy: &TestProxy) -> Sender {
    speak(tokio::net::TcpStream::connect(proxy.address).await.unwrap()).await
}

pub(crate) fn empty() -> BoxBody<Bytes, std::convert::Infallible> {
    Empty::new().boxed()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = patiently(response.into_body().collect()).await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

pub(crate) fn get(path: &str) -> Request<BoxBody<Bytes, std::convert::Infallible>> {
    Request::get(format!("http://proxy.test:8000{path}")).body(empty()).unwrap()
}

#[tokio::test]
async fn requests_reach_the_target_as_ordinary_ones() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::with(cleartext(), target.address);
    let mut sender = connect(&proxy).await;
    let mut request = get("/a%20b?c=d");
    request.headers_mut().append("cookie", "a=1".parse().unwrap());
    request.headers_mut().append("cookie", "b=2".parse().unwrap());
    let response = patiently(sender.send_request(request)).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    let seen = text(response).await;
    for line in [
        "GET /a%20b?c=d HTTP/1.1",
        "host: proxy.test:8000",
        "cookie: a=1; b=2",
        "x-forwarded-proto: http",
        "x-forwarded-port: 8000",
        "x-forwarded-host: proxy.test:8000",
    ] {
        assert!(seen.lines().any(|found| found == line), "{line} is missing in {seen}");
    }
    assert_eq!(proxy.metric("proxy_http2_requests").as_deref(), Some("1"));
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n\
                 {:x}\r\n{}\r\n0\r\nX-End: {:?}\r\n\r\n",
                request.body.len(),
                request.text(),
                request.trailers
            );
            raw.send(answer).await;
        }
    })
    .await;
    let proxy = TestProxy::with(cleartext(), target.address);
    let mut sender = connect(&proxy).await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    let frames =
        [Frame::data(Bytes::from("hello ")), Frame::data(Bytes::from("there")), Frame::trailers(trailers)];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, std::convert::Infallible>)));
    let request = Request::post("http://h/")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(BodyExt::boxed(body))
        .unwrap();
    let response = patiently(sender.send_request(request)).await.unwrap();
    let body = patiently(response.into_body().collect()).await.unwrap();
    let end = body.trailers().unwrap().get("x-end").unwrap().clone();
    assert_eq!(body.to_bytes(), "hello there");
    assert_eq!(end, r#"[("x-sum", "7")]"#);

    let body = Full::new(Bytes::from(vec![b'x'; 3_000_000])).boxed();
    let response = sender.send_request(Request::put("http://h/").body(body).unwrap());
    assert_eq!(text(patiently(response).await.unwrap()).await.len(), 3_000_000);
}

#[tokio::test]
async fn requests_overlap_on_one_connection() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            if request.target() == "/slow" {
                std::future::pending::<()>().await;
            }
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let proxy = TestProxy::with(cleartext(), target.address);
    let sender = connect(&proxy).await;
    let slow = tokio::spawn(sender.clone().send_request(get("/slow")));
    let quick = (0..100).map(|_| sender.clone().send_request(get("/quick")));
    for response in patiently(futures_util::future::join_all(quick)).await {
        assert_eq!(text(response.unwrap()).await, "ok");
    }
    assert!(!slow.is_finished());
}

#[tokio::test]
async fn what_http1_would_read_differently_is_refused() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::with(cleartext(), target.address);
    let mut sender = connect(&proxy).await;
    let mut request = get("/");
    request.headers_mut().insert("host", "other".parse().unwrap());
    let response = patiently(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 400);
    let request = Request::builder().method(Method::CONNECT).uri("h:443").body(empty()).unwrap();
    let response = patiently(sender.send_request(request)).await.unwrap();
    assert!(matches!(response.status().as_u16(), 400 | 405), "{}", response.status());
    // The connection is as good as before.
    assert_eq!(patiently(sender.send_request(get("/"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn http2_without_tls_is_off_unless_asked_for() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(raw.is_closed().await);
    // Where it is on, everything else is HTTP/1.1 as before.
    let proxy = TestProxy::with(cleartext(), target.address);
    assert_eq!(proxy.get("/").await.status(), 200);
    let mut raw = proxy.connect().await;
    raw.send("P").await;
    raw.send("OST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(raw.response().await.status(), 200);
}

/// Believes the authority of the tests, and offers these protocols.
pub(crate) fn tls_client(protocols: &[&str]) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls::pki_types::pem::PemObject::pem_file_iter(fixture("ca.pem")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config).into()
}

#[tokio::test]
async fn over_tls_the_client_chooses_between_the_protocols() {
    let target = Target::echo("one").await;
    let tls = Some(TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem")));
    let hsts = Some(std::time::Duration::from_mins(1));
    let proxy = TestProxy::with(ProxyOptions { tls: tls.clone(), hsts, ..options() }, target.address);
    let name = || rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let tcp = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let stream = tls_client(&["h2", "http/1.1"]).connect(name(), tcp).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut sender = speak(stream).await;
    let response = patiently(sender.send_request(get("/"))).await.unwrap();
    assert_eq!(response.headers().get("strict-transport-security").unwrap(), "max-age=60");
    assert!(text(response).await.contains("\nx-forwarded-proto: https\n"));

    let off = TestProxy::with(ProxyOptions { tls, http2: false, ..options() }, target.address);
    for (proxy, offered) in [(&proxy, "http/1.1"), (&off, "h2,http/1.1")] {
        let offered: Vec<&str> = offered.split(',').collect();
        let tcp = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let mut stream = tls_client(&offered).connect(name(), tcp).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = patiently(stream.read_to_end(&mut answer)).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn connections_without_handshake_count_and_who_finds_no_room_is_told_in_its_protocol() {
    let tls = Some(TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem")));
    let name = || rustls::pki_types::ServerName::try_from("localhost").unwrap();
    for (limits, healthy) in [
        (Limits { client_connections: 1, ..Limits::default() }, 503),
        // The bound of one client is no illness of the proxy.
        (Limits { connections_per_client: Some(1), ..Limits::default() }, 200),
    ] {
        let proxy = TestProxy::start(ProxyOptions { tls: tls.clone(), limits, ..options() });
        let _silent = proxy.connect().await;
        until(|| proxy.metric("proxy_open_connections").as_deref() == Some("1")).await;

        let tcp = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let mut stream = patiently(tls_client(&["http/1.1"]).connect(name(), tcp)).await.unwrap();
        let mut answer = Vec::new();
        let _ = patiently(stream.read_to_end(&mut answer)).await;
        assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));

        let tcp = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let stream = patiently(tls_client(&["h2"]).connect(name(), tcp)).await.unwrap();
        let mut sender = speak(stream).await;
        let response = patiently(sender.send_request(get("/"))).await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(text(response).await.contains("too many"));
        until(|| sender.is_closed()).await;

        let tcp = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let stream = patiently(tls_client(&["h2"]).connect(name(), tcp)).await.unwrap();
        let mut sender = speak(stream).await;
        let response = patiently(sender.send_request(get("/_chp_healthz"))).await.unwrap();
        assert_eq!(response.status(), healthy);
    }
}

#[tokio::test]
async fn uploads_that_nobody_reads_do_not_stop_those_beside_them() {
    let target = Target::start(|mut raw: Raw, _| async move {
        let request = raw.head().await.unwrap();
        if request.target() == "/stuck" {
            std::future::pending::<()>().await;
        }
        assert_eq!(raw.take(3).await, b"abc");
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let proxy = TestProxy::with(cleartext(), target.address);
    let sender = connect(&proxy).await;
    let block = Bytes::from(vec![b'x'; 64 * 1024]);
    let stuck: Vec<_> = (0..8)
        .map(|_| {
            let frames = std::iter::repeat_with({
                let block = block.clone();
                move || Ok::<_, std::convert::Infallible>(Frame::data(block.clone()))
            });
            let body = BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)));
            tokio::spawn(sender.clone().send_request(Request::post("http://h/stuck").body(body).unwrap()))
        })
        .collect();
    // Until all buffers on the way are full: at least what each request may send before its target has taken it, and
    // what the system takes besides, which is more on some machines than on others.
    let windows = 8 * 256 * 1024;
    let mut seen = (0, 0);
    until(|| {
        let now = proxy.metric("proxy_received_bytes").and_then(|count| count.parse::<u64>().ok());
        let now = now.unwrap_or_default();
        seen = if now >= windows && now == seen.0 { (now, seen.1 + 1) } else { (now, 0) };
        seen.1 > 200
    })
    .await;
    let quick = Request::post("http://h/quick").body(Full::new(Bytes::from("abc")).boxed()).unwrap();
    let response = patiently(sender.clone().send_request(quick)).await.unwrap();
    assert_eq!(text(response).await, "ok");
    for stuck in stuck {
        stuck.abort();
    }
}

#[tokio::test]
async fn one_client_cannot_take_all_connections_to_targets_by_overlapping_requests() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            if request.target() == "/stuck" {
                std::future::pending::<()>().await;
            }
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let limits = Limits { upstream_connections: 8, ..Limits::default() };
    let proxy = TestProxy::with(ProxyOptions { limits, proxy_protocol: true, ..cleartext() }, target.address);
    let connect = async |client: &str| {
        let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\n").as_bytes()).await.unwrap();
        speak(stream).await
    };
    let (one, two) = (connect("192.0.2.1").await, connect("192.0.2.1").await);
    let mut held: futures_util::stream::FuturesUnordered<_> =
        (0..10).map(|number| [&one, &two][number % 2].clone().send_request(get("/stuck"))).collect();
    for _ in 0..4 {
        let response = patiently(futures_util::StreamExt::next(&mut held)).await.unwrap().unwrap();
        assert_eq!(response.status(), 503);
    }
    // The other six wait for their target, and leave two places for somebody else.
    let mut other = connect("192.0.2.2").await;
    assert_eq!(text(patiently(other.send_request(get("/quick"))).await.unwrap()).await, "ok");
    assert_eq!(held.len(), 6);
}

#[tokio::test]
async fn a_retiring_proxy_finishes_what_it_was_asked_and_takes_nothing_more() {
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&release);
    let target = Target::start(move |mut raw: Raw, _| {
        let gate = Arc::clone(&gate);
        async move {
            while raw.request().await.is_some() {
                gate.acquire().await.unwrap().forget();
                raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let proxy = TestProxy::with(cleartext(), target.address);
    let mut sender = connect(&proxy).await;
    let pending = tokio::spawn(sender.send_request(get("/")));
    until(|| proxy.metric("requests_web").as_deref() == Some("1")).await;
    proxy.phase.set(hub_proxy::Phase::Retired);
    release.add_permits(1);
    let response = patiently(pending).await.unwrap().unwrap();
    assert_eq!(text(response).await, "ok");
    until(|| sender.is_closed()).await;
    proxy.stopped().await;
}
