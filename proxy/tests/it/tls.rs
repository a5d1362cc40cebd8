//! TLS towards clients and targets. One proxy is the TLS target of another.

use std::time::Duration;

use hub_proxy::{
    Proxy, ProxyOptions, RouteTable,
    api::ApiOptions,
    options::{ClientTls, Passphrase, Timeouts, TlsFiles},
};
use serde_json::Map;

use super::{
    support::{Target, TestProxy, dead_address, options, patiently},
    tls_client::{TlsClient, fixture},
};

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
async fn hsts_is_on_answers_over_tls_that_have_none_of_their_own() {
    let target = Target::start(|mut raw, _| async move {
        while let Some(request) = raw.request().await {
            let own = match request.target() {
                "/own" => "Strict-Transport-Security: max-age=5\r\n",
                _ => "",
            };
            raw.send(format!("HTTP/1.1 200 OK\r\n{own}Content-Length: 0\r\n\r\n")).await;
        }
    })
    .await;
    let hsts = Some(Duration::from_mins(1));
    let files = TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem"));
    let secure = TestProxy::with(ProxyOptions { tls: Some(files), hsts, ..options() }, target.address);
    let client = TlsClient::showing(None);
    for (path, age) in [("/", "max-age=60"), ("/_chp_healthz", "max-age=60"), ("/own", "max-age=5")] {
        let text = client.get(secure.address, path, "").await.unwrap().text.to_lowercase();
        let found: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("strict-transport-security: ")).collect();
        assert_eq!(found, [age], "{path}");
    }
    let plain = TestProxy::with(ProxyOptions { hsts, ..options() }, target.address);
    assert_eq!(plain.get("/").await.header("strict-transport-security"), None);
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
        ("leaf-key-encrypted.pem", "leaf.pem", "leaf-key-encrypted.pem"),
        ("second-key.pem", "leaf.pem", "second-key.pem"),
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

/// A proxy that asks `secure` with a certificate, or none, believing the test authority.
fn asking(secure: &TestProxy, identity: Option<&str>) -> TestProxy {
    let identity =
        identity.map(|name| (fixture(&format!("{name}.pem")), fixture(&format!("{name}-key.pem"))));
    let client_tls = ClientTls { identity, authorities: Some(fixture("ca.pem")) };
    let proxy = TestProxy::start(ProxyOptions { client_tls, ..options() });
    proxy.routes.add("/", &format!("https://{}", secure.address), Map::new()).unwrap();
    proxy
}

#[tokio::test]
async fn both_sides_can_demand_certificates() {
    let target = Target::echo("one").await;
    let files = TlsFiles {
        authorities: Some(fixture("ca.pem")),
        require_client_certificate: true,
        ..TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem"))
    };
    let secure = TestProxy::with(ProxyOptions { tls: Some(files), ..options() }, target.address);
    assert_eq!(asking(&secure, Some("second")).get("/").await.status(), 200);
    assert_eq!(asking(&secure, None).get("/").await.status(), 503);
}

#[tokio::test]
async fn an_encrypted_key_is_opened_by_its_passphrase() {
    let files = |passphrase: &str| TlsFiles {
        passphrase: Some(Passphrase::new(passphrase.to_owned())),
        ..TlsFiles::new(fixture("leaf-key-encrypted.pem"), fixture("leaf.pem"))
    };
    let target = Target::echo("one").await;
    let secure = ProxyOptions { tls: Some(files("opensesame")), ..options() };
    let secure = TestProxy::with(secure, target.address);
    assert_eq!(asking(&secure, None).get("/").await.status(), 200);
    let wrong = ProxyOptions { tls: Some(files("guessed")), ..options() };
    let error = Proxy::bind(wrong, RouteTable::new(false)).unwrap_err().to_string();
    assert!(error.contains("leaf-key-encrypted.pem") && !error.contains("guessed"), "{error}");
}

#[tokio::test]
async fn protocol_versions_and_ciphers_can_be_chosen() {
    let target = Target::echo("one").await;
    let plain = TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem"));
    let ciphers = |list: &str| Some(list.split(':').map(str::to_owned).collect());
    for (files, status) in [
        (TlsFiles { only_tls12: Some(true), ..plain.clone() }, 200),
        (TlsFiles { only_tls12: Some(false), ..plain.clone() }, 200),
        (
            TlsFiles {
                only_tls12: Some(true),
                ciphers: ciphers("ECDHE-ECDSA-AES128-GCM-SHA256"),
                ..plain.clone()
            },
            200,
        ),
        // The key is no RSA key, so these two have nothing in common.
        (
            TlsFiles {
                only_tls12: Some(true),
                ciphers: ciphers("ECDHE-RSA-AES128-GCM-SHA256"),
                ..plain.clone()
            },
            503,
        ),
    ] {
        let shown = format!("{files:?}");
        let secure = TestProxy::with(ProxyOptions { tls: Some(files), ..options() }, target.address);
        assert_eq!(asking(&secure, None).get("/").await.status(), status, "{shown}");
    }
}

#[tokio::test]
async fn a_changed_certificate_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
    let install = |name: &str| {
        std::fs::copy(fixture(&format!("{name}-key.pem")), &key).unwrap();
        std::fs::copy(fixture(&format!("{name}.pem")), &certificate).unwrap();
    };
    // A certificate of an authority that the other side does not know, then one that it does.
    std::fs::copy(fixture("key.pem"), &key).unwrap();
    std::fs::copy(fixture("cert.pem"), &certificate).unwrap();
    let timeouts = Timeouts { certificate_check: Duration::from_millis(20), ..Timeouts::default() };
    let target = Target::echo("one").await;
    let tls = Some(TlsFiles::new(&key, &certificate));
    let secure = TestProxy::with(ProxyOptions { tls, timeouts, ..options() }, target.address);
    let asking = asking(&secure, None);
    assert_eq!(asking.get("/").await.status(), 503);
    install("second");
    patiently(async { while asking.get("/").await.status() != 200 {} }).await;
    // Half a change is no change.
    std::fs::write(&key, "nonsense").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asking.get("/").await.status(), 200);
}

#[tokio::test]
async fn changed_identities_and_authorities_are_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let install = |name: &str, file: &str| std::fs::copy(fixture(name), path(file)).map(|_| ()).unwrap();
    let timeouts = Timeouts { certificate_check: Duration::from_millis(20), ..Timeouts::default() };
    let target = Target::start(|mut raw, _| async move {
        // One request for each connection, so that each shows a certificate.
        raw.request().await;
        raw.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    // Nobody knows anybody at first.
    install("cert.pem", "clients.pem");
    let files = TlsFiles {
        authorities: Some(path("clients.pem")),
        require_client_certificate: true,
        ..TlsFiles::new(fixture("leaf-key.pem"), fixture("leaf.pem"))
    };
    let limits = hub_proxy::options::Limits { idle_per_target: 0, ..Default::default() };
    let own = || ProxyOptions { timeouts: timeouts.clone(), limits: limits.clone(), ..options() };
    let secure = TestProxy::with(ProxyOptions { tls: Some(files), ..own() }, target.address);
    install("cert.pem", "targets.pem");
    install("cert.pem", "own.pem");
    install("key.pem", "own-key.pem");
    let client_tls = ClientTls {
        identity: Some((path("own.pem"), path("own-key.pem"))),
        authorities: Some(path("targets.pem")),
    };
    let asking = TestProxy::start(ProxyOptions { client_tls, ..own() });
    asking.routes.add("/", &format!("https://{}", secure.address), Map::new()).unwrap();
    let becomes = async |status: u16| {
        patiently(async { while asking.get("/").await.status() != status {} }).await;
    };
    becomes(503).await;
    install("ca.pem", "targets.pem");
    install("second.pem", "own.pem");
    install("second-key.pem", "own-key.pem");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(asking.get("/").await.status(), 503, "the other side does not know the authority yet");
    install("ca.pem", "clients.pem");
    becomes(200).await;
    install("cert.pem", "clients.pem");
    becomes(503).await;
    install("ca.pem", "clients.pem");
    becomes(200).await;
    install("cert.pem", "targets.pem");
    becomes(503).await;
}

#[tokio::test]
async fn a_changed_certificate_of_the_api_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
    std::fs::copy(fixture("key.pem"), &key).unwrap();
    std::fs::copy(fixture("cert.pem"), &certificate).unwrap();
    let timeouts = Timeouts { certificate_check: Duration::from_millis(20), ..Timeouts::default() };
    let address = dead_address().await;
    let program = hub_proxy::Program {
        proxy: ProxyOptions { timeouts, ..options() },
        api: ApiOptions {
            listen: hub_proxy::Listen::Tcp(address),
            token: None,
            tls: Some(TlsFiles::new(&key, &certificate)),
        },
        host_routing: false,
        metrics: None,
        pid_file: None,
        state_file: None,
        handover: None,
    };
    let running = tokio::spawn(program.run());
    let client = TlsClient::showing(None);
    let status = async || client.get(address, "/api/routes", "").await.map(|answer| answer.status);
    patiently(async { while tokio::net::TcpStream::connect(address).await.is_err() {} }).await;
    assert_eq!(status().await, None, "nobody vouches for the certificate");
    std::fs::copy(fixture("leaf-key.pem"), &key).unwrap();
    std::fs::copy(fixture("leaf.pem"), &certificate).unwrap();
    patiently(async { while status().await != Some(200) {} }).await;
    running.abort();
}
