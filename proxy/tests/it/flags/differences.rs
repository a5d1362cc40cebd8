//! What `docs/compatibility.md` says of command lines that the original takes and we do not, and the like.

use super::{Process, Which, ask, fixture, get, original};
use crate::support::{dead_address, patiently};

/// Whether a proxy with these flags comes to listen.
async fn starts(which: &Which, flags: &[&str]) -> bool {
    let (public, api) = (dead_address().await, dead_address().await);
    let mut process = Process::spawn(which, public, api, flags, &[]);
    patiently(async {
        loop {
            if let Some(status) = process.has_ended() {
                assert!(!status.success(), "{flags:?}");
                return false;
            }
            if tokio::net::TcpStream::connect(public).await.is_ok() {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Refused by us; the original starts with them.
async fn refused_by_us(flags: &[&str]) {
    assert!(!starts(&Which::Ours, flags).await, "{flags:?}");
    if let Some(original) = original() {
        assert!(starts(&original, flags).await, "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_its_certificate_and_the_reverse() {
    let (key, certificate) = (fixture("leaf-key.pem"), fixture("leaf.pem"));
    for prefix in ["--ssl", "--api-ssl", "--client-ssl"] {
        refused_by_us(&[&format!("{prefix}-key"), &key]).await;
        refused_by_us(&[&format!("{prefix}-cert"), &certificate]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_beside_an_address_for_the_api_and_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let socket = socket.to_str().unwrap();
    let port = dead_address().await.port().to_string();
    // Beside --api-ip and --api-port, which are always given here.
    refused_by_us(&["--api-socket", socket]).await;
    refused_by_us(&["--metrics-socket", socket, "--metrics-port", &port]).await;
    refused_by_us(&["--metrics-socket", socket, "--metrics-ip", "127.0.0.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_mean_nothing() {
    refused_by_us(&["--protocol-rewrite", "ftp"]).await;
    refused_by_us(&["--log-level", "loud"]).await;
    refused_by_us(&["--custom-header", "Content-Length: 3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_after_the_health_path() {
    let status = async |which: &Which| {
        let process = Process::start(which, &[]).await;
        ask(&process, &get("/_chp_healthz?x")).await.status()
    };
    assert_eq!(status(&Which::Ours).await, 200);
    if let Some(original) = original() {
        assert_eq!(status(&original).await, 404, "it looks for a route");
    }
}
