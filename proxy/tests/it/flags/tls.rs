//! Flags about TLS: of clients, of the API's users, and towards targets.

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Process, Which, ask, fixture, get, original, refused, same};
use crate::{
    program::TOKEN,
    support::{Raw, Target, dead_address, patiently, until},
    tls_client::TlsClient,
};

/// Key and certificate of a listener, as flags with this prefix (`--ssl`, `--api-ssl`).
fn pair(prefix: &str) -> Vec<String> {
    vec![format!("{prefix}-key"), fixture("leaf-key.pem"), format!("{prefix}-cert"), fixture("leaf.pem")]
}

fn flags(parts: &[&[String]], more: &[&str]) -> Vec<String> {
    parts
        .iter()
        .flat_map(|part| part.iter().cloned())
        .chain(more.iter().map(|&flag| flag.to_owned()))
        .collect()
}

type Variables<'a> = &'a [(&'a str, &'a str)];

/// The status that clients get at the public side, in order; none for those that get no connection.
async fn public(own: &[String], variables: Variables<'_>, clients: &[TlsClient]) -> Vec<Option<u16>> {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    same(async |which| {
        let (public, api) = (dead_address().await, dead_address().await);
        let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
        all.extend(["--default-target", &base]);
        let process = Process::start_at(&which, public, api, &all, variables).await;
        let mut seen = Vec::new();
        for client in clients {
            let answer = client.get(process.public, "/x", "").await;
            if let Some(answer) = answer.as_ref().filter(|answer| answer.status == 200) {
                assert!(answer.text.contains("x-forwarded-proto: https"), "{}", answer.text);
            }
            seen.push(answer.map(|answer| answer.status));
        }
        seen
    })
    .await
}

/// The same at the API, with the token.
async fn api(own: &[String], variables: Variables<'_>, clients: &[TlsClient]) -> Vec<Option<u16>> {
    same(async |which| {
        let (public, api) = (dead_address().await, dead_address().await);
        let all: Vec<&str> = own.iter().map(String::as_str).collect();
        let process = Process::start_at(&which, public, api, &all, variables).await;
        let mut seen = Vec::new();
        for client in clients {
            let header = format!("Authorization: token {TOKEN}\r\n");
            seen.push(client.get(process.api, "/api/routes", &header).await.map(|answer| answer.status));
        }
        seen
    })
    .await
}

/// Clients without a certificate and with one.
fn both() -> [TlsClient; 2] {
    [TlsClient::showing(None), TlsClient::showing(Some("second"))]
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_key_and_ssl_cert_make_the_public_side_https() {
    assert_eq!(public(&pair("--ssl"), &[], &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_key_and_ssl_cert_must_be_readable() {
    refused(&["--ssl-key", "/nowhere.pem", "--ssl-cert", "/nowhere.pem"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_ca_alone_asks_nobody_for_a_certificate() {
    let all = flags(&[&pair("--ssl")], &["--ssl-ca", &fixture("ca.pem")]);
    assert_eq!(public(&all, &[], &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_request_cert_lets_only_clients_with_a_certificate_in() {
    let all = flags(&[&pair("--ssl")], &["--ssl-ca", &fixture("ca.pem"), "--ssl-request-cert"]);
    assert_eq!(public(&all, &[], &both()).await, [None, Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_reject_unauthorized_means_nothing_without_ssl_request_cert() {
    let all = flags(&[&pair("--ssl")], &["--ssl-ca", &fixture("ca.pem"), "--ssl-reject-unauthorized"]);
    assert_eq!(public(&all, &[], &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_reject_unauthorized_goes_with_ssl_request_cert() {
    let more = ["--ssl-ca", &fixture("ca.pem"), "--ssl-request-cert", "--ssl-reject-unauthorized"];
    assert_eq!(public(&flags(&[&pair("--ssl")], &more), &[], &both()).await, [None, Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_protocol_chooses_one_version() {
    let all = flags(&[&pair("--ssl")], &["--ssl-protocol", "TLSv1_2"]);
    let clients = [TlsClient::speaking(&TLS12), TlsClient::speaking(&TLS13)];
    assert_eq!(public(&all, &[], &clients).await, [Some(200), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_protocol_holds_for_the_api() {
    let all = flags(&[&pair("--api-ssl")], &["--ssl-protocol", "TLSv1_2"]);
    let clients = [TlsClient::speaking(&TLS12), TlsClient::speaking(&TLS13)];
    assert_eq!(api(&all, &[], &clients).await, [Some(200), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_protocol_tls_is_all_versions() {
    let all = flags(&[&pair("--ssl")], &["--ssl-protocol", "TLS"]);
    let clients = [TlsClient::speaking(&TLS12), TlsClient::speaking(&TLS13)];
    assert_eq!(public(&all, &[], &clients).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_ciphers_are_taken_in_their_order_for_clients_and_for_the_api() {
    let list = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384";
    let all = flags(&[&pair("--ssl"), &pair("--api-ssl")], &["--ssl-ciphers", list]);
    let seen = same(async |which| {
        let (public, api) = (dead_address().await, dead_address().await);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let process = Process::start_at(&which, public, api, &all, &[]).await;
        let client = TlsClient::speaking(&TLS12);
        let mut suites = Vec::new();
        for (address, path) in [(process.public, "/_chp_healthz"), (process.api, "/api/routes")] {
            let answer = client.get(address, path, "").await.unwrap();
            suites.push((answer.version, answer.suite));
        }
        suites
    })
    .await;
    let wanted = ("TLSv1_2".to_owned(), "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned());
    assert_eq!(seen, [wanted.clone(), wanted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_allow_rc4_changes_nothing_for_clients_of_today() {
    let all = flags(&[&pair("--ssl")], &["--ssl-allow-rc4"]);
    assert_eq!(public(&all, &[], &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_dhparam_changes_nothing_for_clients_of_today() {
    // RFC 7919's group ffdhe2048.
    let group = "-----BEGIN DH PARAMETERS-----\n\
        MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz\n\
        +8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a\n\
        87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7\n\
        YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi\n\
        7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD\n\
        ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==\n\
        -----END DH PARAMETERS-----\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dh.pem");
    std::fs::write(&file, group).unwrap();
    let all = flags(&[&pair("--ssl")], &["--ssl-dhparam", file.to_str().unwrap()]);
    assert_eq!(public(&all, &[], &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_key_passphrase_variable_opens_an_encrypted_key() {
    let all =
        flags(&[], &["--ssl-key", &fixture("leaf-key-encrypted.pem"), "--ssl-cert", &fixture("leaf.pem")]);
    let variables = [("CONFIGPROXY_SSL_KEY_PASSPHRASE", "opensesame")];
    assert_eq!(public(&all, &variables, &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_without_its_passphrase_is_refused() {
    refused(&["--ssl-key", &fixture("leaf-key-encrypted.pem"), "--ssl-cert", &fixture("leaf.pem")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn api_ssl_key_and_api_ssl_cert_make_the_api_https() {
    assert_eq!(api(&pair("--api-ssl"), &[], &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn api_ssl_ca_alone_asks_nobody_for_a_certificate() {
    let all = flags(&[&pair("--api-ssl")], &["--api-ssl-ca", &fixture("ca.pem")]);
    assert_eq!(api(&all, &[], &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn api_ssl_request_cert_lets_only_users_with_a_certificate_in() {
    let all = flags(&[&pair("--api-ssl")], &["--api-ssl-ca", &fixture("ca.pem"), "--api-ssl-request-cert"]);
    assert_eq!(api(&all, &[], &both()).await, [None, Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn api_ssl_reject_unauthorized_means_nothing_without_api_ssl_request_cert() {
    let more = ["--api-ssl-ca", &fixture("ca.pem"), "--api-ssl-reject-unauthorized"];
    assert_eq!(api(&flags(&[&pair("--api-ssl")], &more), &[], &both()).await, [Some(200), Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn api_ssl_reject_unauthorized_goes_with_api_ssl_request_cert() {
    let more =
        ["--api-ssl-ca", &fixture("ca.pem"), "--api-ssl-request-cert", "--api-ssl-reject-unauthorized"];
    assert_eq!(api(&flags(&[&pair("--api-ssl")], &more), &[], &both()).await, [None, Some(200)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn api_ssl_key_passphrase_variable_opens_an_encrypted_key() {
    let (key, certificate) = (fixture("leaf-key-encrypted.pem"), fixture("leaf.pem"));
    let all = flags(&[], &["--api-ssl-key", &key, "--api-ssl-cert", &certificate]);
    let variables = [("CONFIGPROXY_API_SSL_KEY_PASSPHRASE", "opensesame")];
    assert_eq!(api(&all, &variables, &both()).await, [Some(200), Some(200)]);
}

/// The status of requests to a TLS target that demands certificates, and to one that does not, through a proxy with
/// these flags.
async fn targets(own: &[&str]) -> [u16; 2] {
    same(async |which| targets_of(which, own).await).await
}

async fn targets_of(which: Which, own: &[&str]) -> [u16; 2] {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let ca = fixture("ca.pem");
    let demanding =
        flags(&[&pair("--ssl")], &["--ssl-ca", &ca, "--ssl-request-cert", "--default-target", &base]);
    let demanding: Vec<&str> = demanding.iter().map(String::as_str).collect();
    let demanding = Process::start(&Which::Ours, &demanding).await;
    let easy = flags(&[&pair("--ssl")], &["--default-target", &base]);
    let easy: Vec<&str> = easy.iter().map(String::as_str).collect();
    let easy = Process::start(&Which::Ours, &easy).await;
    let process = Process::start(&which, own).await;
    let mut statuses = [0; 2];
    for (status, server) in statuses.iter_mut().zip([&demanding, &easy]) {
        process.route("/", &format!("https://localhost:{}", server.public.port())).await;
        let mut raw = Raw::connect(process.public).await;
        // The original checks the certificate against the client's Host instead of the target's name.
        raw.send(get("/x").replace("proxy.test:8000", "localhost")).await;
        *status = raw.response().await.status();
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn client_ssl_ca_vouches_for_targets() {
    assert_eq!(targets(&["--client-ssl-ca", &fixture("ca.pem")]).await, [503, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_leaves_targets_as_they_are_that_an_authority_vouches_for() {
    assert_eq!(targets(&["--client-ssl-ca", &fixture("ca.pem"), "--insecure"]).await, [503, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_accepts_what_nobody_vouches_for_and_has_no_effect_in_the_original() {
    // It has signed its certificate itself.
    let own = ["--ssl-key", &fixture("key.pem"), "--ssl-cert", &fixture("cert.pem")];
    let server = Process::start(&Which::Ours, &own).await;
    let base = format!("https://localhost:{}", server.public.port());
    let status = async |which: &Which, flags: &[&str]| {
        let process = Process::start(which, &[flags, &["--default-target", &base]].concat()).await;
        // The server's answer, as it has no route. Were it not reached, that would be 503.
        ask(&process, &get("/x").replace("proxy.test:8000", "localhost")).await.status()
    };
    assert_eq!(status(&Which::Ours, &[]).await, 503);
    assert_eq!(status(&Which::Ours, &["--insecure"]).await, 404);
    if let Some(original) = original() {
        assert_eq!(status(&original, &[]).await, 503);
        assert_eq!(status(&original, &["--insecure"]).await, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_ssl_key_and_client_ssl_cert_are_shown_to_targets() {
    let (key, certificate, ca) = (fixture("second-key.pem"), fixture("second.pem"), fixture("ca.pem"));
    let own = ["--client-ssl-key", &key, "--client-ssl-cert", &certificate, "--client-ssl-ca", &ca];
    assert_eq!(targets(&own).await, [200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_no_authority_vouches_for_are_not_asked() {
    let (key, certificate) = (fixture("second-key.pem"), fixture("second.pem"));
    assert_eq!(targets(&["--client-ssl-key", &key, "--client-ssl-cert", &certificate]).await, [503, 503]);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_ssl_request_cert_changes_nothing() {
    assert_eq!(
        targets(&["--client-ssl-ca", &fixture("ca.pem"), "--client-ssl-request-cert"]).await,
        [503, 200]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_ssl_reject_unauthorized_changes_nothing() {
    let own = ["--client-ssl-ca", &fixture("ca.pem"), "--client-ssl-reject-unauthorized"];
    assert_eq!(targets(&own).await, [503, 200]);
}

/// The begin of an answer over TLS from a UNIX socket that is named by `flag`.
async fn over_socket(flag: &str, path: &str, pair: &[String]) -> String {
    same(async |which| {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let port = dead_address().await.port().to_string();
        let mut all: Vec<&str> = pair.iter().map(String::as_str).collect();
        all.extend([flag, socket.to_str().unwrap()]);
        all.extend(match flag {
            "--socket" => ["--api-ip", "127.0.0.1", "--api-port", &port],
            _ => ["--ip", "127.0.0.1", "--port", &port],
        });
        let _process = Process::spawn_bare(&which, &all, &[]);
        until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
        let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let Ok(mut stream) = patiently(TlsClient::showing(None).over(stream)).await else {
            return "no TLS".to_owned();
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = patiently(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).chars().take(12).collect()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_key_and_ssl_cert_go_with_socket() {
    assert_eq!(over_socket("--socket", "/_chp_healthz", &pair("--ssl")).await, "HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn api_ssl_key_and_api_ssl_cert_go_with_api_socket() {
    assert_eq!(over_socket("--api-socket", "/api/routes", &pair("--api-ssl")).await, "HTTP/1.1 200");
}
