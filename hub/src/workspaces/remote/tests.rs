//! A service of the test's own, over HTTP and TLS.

use std::path::Path;
use std::sync::Mutex;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

#[path = "../../../tests/it/request_head.rs"]
mod request_head;

/// Answers every request alike and remembers the requests.
struct Service {
    address: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: String) -> String {
    let head = request_head::read(&mut stream).await;
    // A client that has read enough goes away in between.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    String::from_utf8(head).unwrap()
}

impl Service {
    async fn start(first: String, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answer, asked) = (Arc::new(Mutex::new(first)), Arc::new(Mutex::new(Vec::new())));
        let (answers, heads) = (Arc::clone(&answer), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let text = answers.lock().unwrap().clone();
                let head = match &tls {
                    // A client that does not believe the certificate breaks off here.
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, text).await,
                        Err(_) => continue,
                    },
                    None => serve(stream, text).await,
                };
                heads.lock().unwrap().push(head);
            }
        });
        Self { address, answer, asked, serving }
    }

    async fn plain(body: &str) -> Self {
        Self::start(answer("200 OK", body), None).await
    }

    fn now_answers(&self, text: String) {
        *self.answer.lock().unwrap() = text;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn source(&self, more: &serde_json::Value) -> WorkspaceSource {
        let mut source = json!({
            "kind": "http", "url": format!("http://{}/people/{{username}}", self.address),
            "cache_for": "0s", "timeout": "30s",
        });
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(source).unwrap()
    }
}

fn remote(source: &WorkspaceSource) -> Result<Remote, PluginError> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Remote::new(source, "workspaces.sources[0]")
}

async fn ask(source: &WorkspaceSource) -> Result<Vec<(String, String, WorkspaceRole)>, String> {
    let found = remote(source).unwrap().list("ada/é", WorkspaceRole::Viewer).await;
    let triple = |one: &Workspace| (one.name.clone(), one.display_name.clone(), one.role);
    found.map(|all| all.iter().map(triple).collect()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_service_is_asked_for_one_person_with_the_token() {
    let told =
        r#"[{"name": "alpha", "display_name": "Alpha", "role": "member"}, {"name": "beta", "more": 1}]"#;
    let service = Service::plain(told).await;
    let found = ask(&service.source(&json!({"token": "t0ken"}))).await.unwrap();
    let alpha = ("alpha".to_owned(), "Alpha".to_owned(), WorkspaceRole::Member);
    assert_eq!(found, [alpha, ("beta".to_owned(), "beta".to_owned(), WorkspaceRole::Viewer)]);
    let head = service.asked().remove(0).to_lowercase();
    assert!(head.starts_with("get /people/ada%2f%c3%a9 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: bearer t0ken\r\n"), "{head}");
}

#[tokio::test]
async fn an_answer_counts_for_as_long_as_the_configuration_says() {
    let service = Service::plain("[]").await;
    let kept = remote(&service.source(&json!({"cache_for": "1h"}))).unwrap();
    let fresh = remote(&service.source(&json!({}))).unwrap();
    for _ in 0..3 {
        kept.list("ada", WorkspaceRole::Member).await.unwrap();
    }
    assert_eq!(service.asked().len(), 1);
    kept.list("bob", WorkspaceRole::Member).await.unwrap();
    for _ in 0..3 {
        fresh.list("ada", WorkspaceRole::Member).await.unwrap();
    }
    assert_eq!(service.asked().len(), 5);
}

#[tokio::test]
async fn who_is_unknown_to_the_service_has_no_workspaces() {
    let service = Service::start(answer("404 Not Found", "nobody"), None).await;
    assert_eq!(ask(&service.source(&json!({}))).await, Ok(Vec::new()));
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_an_error_that_names_the_reason() {
    let long = format!("[{}]", " ".repeat(2 << 20));
    let service = Service::plain("").await;
    for (text, reason) in [
        (answer("200 OK", "<html>"), "no list of workspaces"),
        (answer("200 OK", r#"{"name": "alpha"}"#), "no list of workspaces"),
        (answer("200 OK", r#"[{"name": 1}]"#), "no list of workspaces"),
        (answer("200 OK", r#"[{"name": "a", "role": "king"}]"#), "no list of workspaces"),
        (answer("200 OK", &long), "longer than 1024 KiB"),
        (answer("500 Oh", "[]"), "it answered 500"),
        (answer("401 No", "[]"), "it answered 401"),
        (
            "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "it answered 302",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[".to_owned(), "cannot be used"),
    ] {
        service.now_answers(text);
        let error = ask(&service.source(&json!({"token": "t0ken"}))).await.unwrap_err();
        assert!(error.contains(reason), "{error}, not {reason}");
        assert!(!error.contains("t0ken"), "{error}");
    }
}

#[tokio::test]
async fn a_service_that_is_away_or_hangs_is_an_error_with_its_cause() {
    let source = {
        let service = Service::plain("[]").await;
        let source = service.source(&json!({}));
        service.serving.abort();
        // Its port closes with the task.
        while !service.serving.is_finished() {
            tokio::task::yield_now().await;
        }
        source
    };
    let error = ask(&source).await.unwrap_err();
    assert!(error.to_lowercase().contains("connection refused"), "{error}");

    // Connections are taken by the system and never answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let hanging = WorkspaceSource { url, timeout: std::time::Duration::from_millis(200), ..source };
    let error = ask(&hanging).await.unwrap_err();
    assert!(error.contains("timed out"), "{error}");
}

#[tokio::test]
async fn a_private_authority_is_believed_when_the_configuration_names_it() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let service = Service::start(answer("200 OK", r#"[{"name": "alpha"}]"#), Some(tls)).await;
    let port = service.address.rsplit(':').next().unwrap();
    let secure = WorkspaceSource { url: format!("https://localhost:{port}/"), ..service.source(&json!({})) };

    let error = ask(&secure).await.unwrap_err();
    assert!(error.to_lowercase().contains("certificate"), "the cause is told: {error}");

    let folder = tempfile::tempdir().unwrap();
    let with = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        WorkspaceSource { ca_file: Some(path), ..secure.clone() }
    };
    assert_eq!(ask(&with("ca.pem", &cert.pem())).await.unwrap().len(), 1);

    let missing =
        WorkspaceSource { ca_file: Some(Path::new("/nowhere/ca.pem").to_owned()), ..secure.clone() };
    for source in [missing, with("none.pem", "no certificate")] {
        let error = remote(&source).unwrap_err().to_string();
        assert!(error.starts_with("workspaces.sources[0].ca_file: "), "{error}");
    }
}
