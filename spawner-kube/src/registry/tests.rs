//! A registry on this machine that wants to know who asks.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// It has `open/lab` for everybody, `closed/lab` for those who know the password, and breaks over `broken/lab`.
struct Registry {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Registry {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(stream.read_u8().await.unwrap());
                    }
                    let request = String::from_utf8(request).unwrap();
                    if request.starts_with("HEAD") {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    stream.write_all(answer(&request, port).as_bytes()).await.unwrap();
                });
            }
        });
        Self { port, asked }
    }

    fn image(&self, path: &str) -> String {
        format!("127.0.0.1:{}/{path}", self.port)
    }
}

fn answer(request: &str, port: u16) -> String {
    let lower = request.to_lowercase();
    let knows =
        lower.contains(&format!("authorization: basic {}", STANDARD.encode("ann:geheim")).to_lowercase());
    let shown = lower.contains("authorization: bearer t-1");
    let (status, header, body) = match request.split(' ').nth(1).unwrap() {
        "/v2/open/lab/manifests/1" => ("200 OK", String::new(), ""),
        "/v2/closed/lab/manifests/1" if shown => ("200 OK", String::new(), ""),
        path if path.starts_with("/v2/closed/") => {
            let realm = format!("http://127.0.0.1:{port}/token");
            ("401 Unauthorized", format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"r\"\r\n"), "")
        }
        "/token?service=r&scope=repository%3Aclosed%2Flab%3Apull" if knows => {
            ("200 OK", String::new(), r#"{"token": "t-1"}"#)
        }
        path if path.starts_with("/token") => ("401 Unauthorized", String::new(), ""),
        path if path.starts_with("/v2/broken/") => ("500 Oh", String::new(), ""),
        _ => ("404 Not Found", String::new(), ""),
    };
    format!("HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A cluster with one pull secret.
fn cluster(port: u16) -> Cluster {
    let auths =
        json!({ "auths": { (format!("127.0.0.1:{port}")): { "auth": STANDARD.encode("ann:geheim") } } });
    let secret = json!({ "data": { ".dockerconfigjson": STANDARD.encode(auths.to_string()) } }).to_string();
    let service = tower::service_fn(move |request: Request<Body>| {
        let there = request.uri().path() == "/api/v1/namespaces/ns/secrets/pull";
        let (status, body) = if there { (200, secret.clone()) } else { (404, "{}".to_owned()) };
        let answer = Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap();
        async move { Ok::<_, Infallible>(answer) }
    });
    Cluster::scripted(Client::new(service, "default"))
}

async fn cause(
    registries: &Registries,
    cluster: &Cluster,
    image: &str,
    secret: Option<&str>,
) -> Option<&'static str> {
    let manifest = json!({ "spec": {
        "containers": [{ "name": "beside", "image": "none" }, { "name": "notebook", "image": image }],
        "imagePullSecrets": secret.map(|name| json!({ "name": name })).into_iter().collect::<Vec<_>>(),
    } });
    registries.trouble(cluster, "ns", &manifest).await.map(|trouble| trouble.cause)
}

#[tokio::test]
async fn only_a_clear_no_of_the_registry_is_a_trouble() {
    let registry = Registry::start().await;
    let (registries, cluster) = (Registries::default(), cluster(registry.port));
    let image = |path: &str| registry.image(path);
    for (image, secret, expected) in [
        (image("open/lab:1"), None, None),
        (image("open/lab:2"), None, Some("image-missing")),
        (image("closed/lab:1"), None, None),
        (image("closed/lab:1"), Some("none-such"), None),
        (image("closed/lab:1"), Some("pull"), None),
        (image("closed/other:1"), Some("pull"), Some("image-denied")),
        (image("broken/lab:1"), None, None),
        ("127.0.0.1:1/nobody/there:1".to_owned(), None, None),
        ("no name".to_owned(), None, None),
    ] {
        assert_eq!(cause(&registries, &cluster, &image, secret).await, expected, "{image} with {secret:?}");
    }
}

#[tokio::test]
async fn many_servers_ask_once() {
    let registry = Registry::start().await;
    let (registries, cluster) = (Registries::default(), cluster(registry.port));
    let image = registry.image("open/lab:1");
    let all = join_all((0..50).map(|_| cause(&registries, &cluster, &image, None))).await;
    assert!(all.iter().all(Option::is_none));
    assert_eq!(registry.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_image_that_is_never_fetched_is_not_asked_for() {
    let registry = Registry::start().await;
    let (registries, cluster) = (Registries::default(), cluster(registry.port));
    let manifest = json!({ "spec": { "containers": [{
        "name": "notebook", "image": registry.image("open/none:1"), "imagePullPolicy": "Never",
    }] } });
    assert_eq!(registries.trouble(&cluster, "ns", &manifest).await, None);
    assert_eq!(registry.asked.load(Ordering::Relaxed), 0);
}
