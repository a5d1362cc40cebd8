//! A certificate from a real ACME authority: Pebble, which Let's Encrypt makes for tests.
//!
//! Runs when `HIMALIA_TEST_PEBBLE` names it; in CI (`CI` is set) it must.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use hub_proxy::{
    Listen, Proxy, ProxyOptions, RouteTable,
    options::{AcmeChallenge, AcmeOptions, ClientTls, TlsFiles},
};
use serde_json::{Map, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};
use tokio_rustls::client::TlsStream;

use super::{
    support::{Raw, Target, TestProxy, dead_address, options, patiently, until},
    tls_client::{TlsClient, fixture},
};

/// Where an authority listens, where it looks for those who want certificates, and how long these last.
struct Authority {
    listen: SocketAddr,
    tls_port: u16,
    http_port: u16,
    seconds: u64,
}

/// A running authority.
struct Pebble {
    listen: SocketAddr,
    management: SocketAddr,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Pebble {
    /// One that looks at a port where nobody is, unless told otherwise.
    async fn start(change: impl FnOnce(&mut Authority)) -> Option<Self> {
        let Some(program) = std::env::var_os("HIMALIA_TEST_PEBBLE") else {
            assert!(std::env::var_os("CI").is_none(), "HIMALIA_TEST_PEBBLE must name Pebble in CI");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let nowhere = dead_address().await.port();
        let mut authority = Authority {
            listen: dead_address().await,
            tls_port: nowhere,
            http_port: nowhere,
            seconds: 90 * 24 * 3600,
        };
        change(&mut authority);
        let (listen, management) = (authority.listen, dead_address().await);
        let config = json!({ "pebble": {
            "listenAddress": listen.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": fixture("leaf.pem"),
            "privateKey": fixture("leaf-key.pem"),
            "httpPort": authority.http_port,
            "tlsPort": authority.tls_port,
            "keyAlgorithm": "ecdsa",
            "profiles": { "default": { "description": "of the test", "validityPeriod": authority.seconds } },
        }});
        let file = folder.path().join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let output =
            if std::env::var_os("HIMALIA_TEST_SHOW").is_some() { Stdio::inherit() } else { Stdio::null() };
        let process = Command::new(program)
            .arg("-config")
            .arg(&file)
            // It looks at once, and what it refuses is not left to chance.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("HIMALIA_TEST_PEBBLE can be run");
        for address in [listen, management] {
            patiently(async {
                while TcpStream::connect(address).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        Some(Self { listen, management, process, _folder: folder })
    }

    async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }

    /// The authority that its certificates lead to, in PEM.
    async fn root(&self) -> String {
        // Its own pages are HTTPS, too.
        let client_tls = ClientTls { authorities: Some(fixture("ca.pem")), ..ClientTls::default() };
        let client = TestProxy::start(ProxyOptions { client_tls, ..options() });
        client.routes.add("/", &format!("https://localhost:{}", self.management.port()), Map::new()).unwrap();
        client.get("/roots/0").await.text()
    }

    /// A certificate of this authority for `localhost`.
    fn order(&self, folder: &Path, challenge: AcmeChallenge) -> AcmeOptions {
        AcmeOptions { challenge, ..order(self.listen, folder) }
    }
}

/// A certificate for `localhost` of whoever listens there, asked for without long pauses.
fn order(authority: SocketAddr, folder: &Path) -> AcmeOptions {
    AcmeOptions {
        accept_terms: true,
        directory: format!("https://localhost:{}/dir", authority.port()),
        ca_file: Some(fixture("ca.pem")),
        contact: Some("operator@example.org".to_owned()),
        pause: Duration::from_millis(20),
        ..AcmeOptions::new(vec!["localhost".to_owned()], folder.join("acme"))
    }
}

/// A proxy at `public` in front of `target`.
fn secure(public: SocketAddr, acme: AcmeOptions, target: SocketAddr) -> TestProxy {
    TestProxy::with(ProxyOptions { listen: vec![Listen::Tcp(public)], acme: Some(acme), ..options() }, target)
}

/// The same, where plain HTTP has an address of its own.
fn redirecting(public: SocketAddr, redirect: SocketAddr, acme: AcmeOptions, target: SocketAddr) -> TestProxy {
    let options = ProxyOptions {
        listen: vec![Listen::Tcp(public)],
        redirect: Some((Listen::Tcp(redirect), public.port())),
        acme: Some(acme),
        ..options()
    };
    TestProxy::with(options, target)
}

/// Tries until the proxy shows a certificate that the client believes.
async fn trusted(client: &TlsClient, public: SocketAddr) -> TlsStream<TcpStream> {
    patiently(async {
        loop {
            match client.connect(public).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await
}

fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// One request on a connection that stays open; the status line of its answer.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    patiently(async {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut seen = Vec::new();
        // The echo of a request ends with the length of its body.
        while !seen.ends_with(b"body \n") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "the connection ended within an answer");
        }
        String::from_utf8_lossy(&seen).lines().next().unwrap_or_default().to_owned()
    })
    .await
}

fn failures(proxy: &TestProxy) -> u64 {
    proxy.metric(r#"proxy_certificate_orders{outcome="failed"}"#).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_ordered_by_tls_and_kept_for_the_next_start() {
    let public = dead_address().await;
    let Some(pebble) = Pebble::start(|at| at.tls_port = public.port()).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = Target::echo("one").await;
    let client = TlsClient::believing(&pebble.root().await);
    let file = folder.path().join("acme/certificate.pem");
    let mut issued = Vec::new();
    for run in 0..2 {
        let acme = pebble.order(folder.path(), AcmeChallenge::TlsAlpn);
        let proxy = secure(public, acme, target.address);
        let mut stream = trusted(&client, public).await;
        assert_eq!(ask(&mut stream).await, "HTTP/1.1 200 OK");
        drop(stream);
        assert!(failures(&proxy) == 0);
        let end: u64 = proxy.metric("proxy_certificate_end_seconds").unwrap().parse().unwrap();
        assert!(end > 0);
        let found = std::fs::read(&file).unwrap();
        assert!(run == 0 || found == issued, "a good certificate was ordered again");
        issued = found;
        proxy.shutdown.cancel();
        proxy.stopped().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_ordered_by_http_where_plain_http_is_redirected() {
    let (public, redirect) = (dead_address().await, dead_address().await);
    let Some(pebble) = Pebble::start(|at| at.http_port = redirect.port()).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = Target::echo("one").await;
    let _proxy =
        redirecting(public, redirect, pebble.order(folder.path(), AcmeChallenge::Http), target.address);
    let client = TlsClient::believing(&pebble.root().await);
    let mut stream = trusted(&client, public).await;
    assert_eq!(ask(&mut stream).await, "HTTP/1.1 200 OK");
    // Everybody else is sent to HTTPS, and the answers of the order are gone.
    let mut raw = Raw::connect(redirect).await;
    raw.send("GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(raw.response().await.status(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_in_time_while_connections_go_on() {
    let public = dead_address().await;
    let lasts = |at: &mut Authority| (at.tls_port, at.seconds) = (public.port(), 12);
    let Some(pebble) = Pebble::start(lasts).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = Target::echo("one").await;
    let _proxy = secure(public, pebble.order(folder.path(), AcmeChallenge::TlsAlpn), target.address);
    let client = TlsClient::believing(&pebble.root().await);
    let mut old = trusted(&client, public).await;
    patiently(async {
        while shown(&trusted(&client, public).await) == shown(&old) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(ask(&mut old).await, "HTTP/1.1 200 OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_cannot_see_us_is_asked_again() {
    let (public, redirect, elsewhere) = (dead_address().await, dead_address().await, dead_address().await);
    let Some(pebble) = Pebble::start(|at| at.http_port = elsewhere.port()).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = Target::echo("one").await;
    let proxy =
        redirecting(public, redirect, pebble.order(folder.path(), AcmeChallenge::Http), target.address);
    until(|| failures(&proxy) > 1).await;
    let client = TlsClient::believing(&pebble.root().await);
    assert!(client.connect(public).await.is_err());
    // What was missing: whatever comes to the port that the authority knows is forwarded.
    let forwarder = TcpListener::bind(elsewhere).await.unwrap();
    let forwarding = tokio::spawn(async move {
        while let Ok((mut from, _)) = forwarder.accept().await {
            let mut to = TcpStream::connect(redirect).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    let mut stream = trusted(&client, public).await;
    assert_eq!(ask(&mut stream).await, "HTTP/1.1 200 OK");
    forwarding.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_forgot_the_account_gets_another_one() {
    let public = dead_address().await;
    let Some(first) = Pebble::start(|at| at.tls_port = public.port()).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = Target::echo("one").await;
    let proxy = secure(public, first.order(folder.path(), AcmeChallenge::TlsAlpn), target.address);
    drop(trusted(&TlsClient::believing(&first.root().await), public).await);
    proxy.shutdown.cancel();
    proxy.stopped().await;
    let listen = first.listen;
    first.stop().await;
    std::fs::remove_file(folder.path().join("acme/certificate.pem")).unwrap();
    let second = Pebble::start(|at| (at.listen, at.tls_port) = (listen, public.port())).await.unwrap();
    let proxy = secure(public, second.order(folder.path(), AcmeChallenge::TlsAlpn), target.address);
    drop(trusted(&TlsClient::believing(&second.root().await), public).await);
    assert_eq!(failures(&proxy), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_leave_the_proxy_as_it_is() {
    let nonsense = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnonsense";
    let other = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let failing = "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n";
    for answer in [nonsense, other, failing, endless, ""] {
        let script = Target::start(move |mut raw, _| async move {
            while raw.request().await.is_some() && !answer.is_empty() {
                if raw.try_send(answer).await.is_err() {
                    return;
                }
                while answer == endless && raw.try_send(vec![b'x'; 65536]).await.is_ok() {}
            }
        })
        .await;
        let files = TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem"));
        let authority = TestProxy::with(ProxyOptions { tls: Some(files), ..options() }, script.address);
        let folder = tempfile::tempdir().unwrap();
        let target = Target::echo("one").await;
        let public = dead_address().await;
        let proxy = secure(public, order(authority.address, folder.path()), target.address);
        until(|| failures(&proxy) > 1).await;
        // The certificate that stands in is one that has ended, but people who insist are served.
        let client = TestProxy::start(ProxyOptions { insecure: true, ..options() });
        client.routes.add("/", &format!("https://localhost:{}", public.port()), Map::new()).unwrap();
        assert_eq!(client.get("/").await.status(), 200, "{answer:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_ordered_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let good = || order(SocketAddr::from(([127, 0, 0, 1], 1)), folder.path());
    let refused = |proxy: ProxyOptions| Proxy::bind(proxy, RouteTable::new(false)).unwrap_err().to_string();
    let with = |acme: AcmeOptions| refused(ProxyOptions { acme: Some(acme), ..options() });
    let tls = Some(TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem")));
    let both = refused(ProxyOptions { tls, acme: Some(good()), ..options() });
    assert!(both.contains("either given or ordered"), "{both}");
    for (acme, key) in [
        (AcmeOptions { accept_terms: false, ..good() }, "acme.accept_terms: "),
        (AcmeOptions { domains: Vec::new(), ..good() }, "acme.domains: "),
        (AcmeOptions { directory: "ca.test".to_owned(), ..good() }, "acme.directory: "),
        (AcmeOptions { challenge: AcmeChallenge::Http, ..good() }, "acme.challenge: "),
    ] {
        let error = with(acme);
        assert!(error.starts_with(key), "{error}");
    }
    let error = with(AcmeOptions { ca_file: Some(fixture("none.pem")), ..good() });
    assert!(error.contains("none.pem"), "{error}");
    let error = with(AcmeOptions { folder: fixture("ca.pem"), ..good() });
    assert!(error.contains("ca.pem"), "{error}");
}
