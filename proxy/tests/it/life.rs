//! Starting, listening, draining.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hub_proxy::{Listen, Proxy, ProxyError, ProxyOptions, RouteTable, options::Timeouts};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::Semaphore,
};

use super::{
    program::{Process, Which},
    support::{Raw, Target, TestProxy, options, patiently, until},
};

#[tokio::test]
async fn an_occupied_port_is_an_error_that_names_the_address() {
    let running = TestProxy::start(options());
    let listen = vec![Listen::Tcp(running.address)];
    let error = Proxy::bind(ProxyOptions { listen, ..options() }, RouteTable::new(false)).unwrap_err();
    assert!(
        matches!(&error, ProxyError::AddressInUse { address } if *address == running.address.to_string())
    );
    assert!(error.to_string().contains("choose another address"));
}

#[tokio::test]
async fn an_address_that_the_machine_does_not_have_is_an_error() {
    let listen = vec![Listen::Tcp("192.0.2.1:0".parse().unwrap())];
    let error = Proxy::bind(ProxyOptions { listen, ..options() }, RouteTable::new(false)).unwrap_err();
    assert!(matches!(error, ProxyError::Listen { .. }), "{error}");
}

#[tokio::test]
async fn unusable_options_are_errors_that_name_the_option() {
    for (bad, name) in [
        (ProxyOptions { default_target: Some("nonsense".to_owned()), ..options() }, "default_target"),
        (ProxyOptions { error_target: Some("ftp://x".to_owned()), ..options() }, "error_target"),
        (
            ProxyOptions {
                error_target: Some("http://h".to_owned()),
                error_path: Some("/".into()),
                ..options()
            },
            "error_path",
        ),
        (ProxyOptions { protocol_rewrite: Some("gopher".to_owned()), ..options() }, "protocol_rewrite"),
        (
            ProxyOptions { custom_headers: vec![("Content-Length".to_owned(), "1".to_owned())], ..options() },
            "Content-Length",
        ),
        (ProxyOptions { custom_headers: vec![("a b".to_owned(), String::new())], ..options() }, "a b"),
        (ProxyOptions { listen: Vec::new(), ..options() }, "listen"),
    ] {
        let error = Proxy::bind(bad, RouteTable::new(false)).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[tokio::test]
async fn connections_spread_over_all_workers_of_a_port() {
    // Each worker keeps its own connection to the target, which tells how often it was used.
    let served: Arc<Mutex<Vec<usize>>> = Arc::default();
    let counts = Arc::clone(&served);
    let target = Target::start(move |mut raw: Raw, number| {
        let counts = Arc::clone(&counts);
        async move {
            counts.lock().unwrap().push(0);
            while raw.request().await.is_some() {
                counts.lock().unwrap()[number - 1] += 1;
                raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    for _ in 0..100 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    let served = served.lock().unwrap().clone();
    assert_eq!((served.len(), served.iter().sum()), (2, 100), "one connection of each of two workers");
    // Evenly enough: fewer than this by chance once in a thousand million runs.
    assert!(served.iter().all(|count| *count >= 20), "{served:?}");
}

#[tokio::test]
async fn a_unix_socket_serves_and_is_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    // What a killed process left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let target = Target::echo("one").await;
    let proxy = TestProxy::with(
        ProxyOptions { listen: vec![Listen::Unix(path.clone())], ..options() },
        target.address,
    );
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    patiently(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("x-forwarded-for"), "{answer}");
    let again = ProxyOptions { listen: vec![Listen::Unix(path.clone())], ..options() };
    assert!(matches!(Proxy::bind(again, RouteTable::new(false)), Err(ProxyError::AddressInUse { .. })));
    proxy.shutdown.cancel();
    proxy.stopped().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn targets_on_unix_sockets_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        let head = String::from_utf8_lossy(&buffer[..count]).into_owned();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        head
    });
    let proxy = TestProxy::start(options());
    let encoded = path.to_str().unwrap().replace('/', "%2F");
    proxy.routes.add("/", &format!("http+unix://{encoded}/base"), serde_json::Map::new()).unwrap();
    assert_eq!(proxy.get("/x").await.text(), "ok");
    assert!(serving.await.unwrap().starts_with("GET /base/x HTTP/1.1\r\n"));
}

#[tokio::test]
async fn idle_clients_are_let_go_after_the_keep_alive_time() {
    let timeouts = Timeouts { keep_alive: Duration::from_millis(100), ..Timeouts::default() };
    let proxy = TestProxy::start(ProxyOptions { timeouts, ..options() });
    let mut raw = proxy.connect().await;
    raw.send("GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.response().await.status(), 200);
    assert!(raw.is_closed().await);
    // Even those that never say anything.
    assert!(proxy.connect().await.is_closed().await);
}

/// Serves one websocket and plain requests that wait for a permit.
async fn slow_target() -> (Target, Arc<Semaphore>) {
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let target = Target::start(move |mut raw: Raw, _| {
        let gate = Arc::clone(&gate);
        async move {
            let Some(request) = raw.request().await else { return };
            if request.header("upgrade").is_some() {
                raw.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                )
                .await;
                let (mut reader, mut writer) = raw.stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                return;
            }
            gate.acquire().await.unwrap().forget();
            let _ = raw.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    (target, release)
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn draining_finishes_requests_and_websockets_and_closes_idle_connections() {
    let (target, release) = slow_target().await;
    let proxy = TestProxy::to(target.address);
    let mut idle = proxy.connect().await;
    idle.send("GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(idle.response().await.status(), 200);
    let mut websocket = proxy.connect().await;
    websocket.send(UPGRADE).await;
    assert_eq!(websocket.head().await.unwrap().status(), 101);
    let mut busy = proxy.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| proxy.metric("requests_web").as_deref() == Some("1")).await;

    proxy.shutdown.cancel();
    assert!(idle.is_closed().await);
    until(|| std::net::TcpStream::connect(proxy.address).is_err()).await;
    websocket.send("still here").await;
    assert_eq!(websocket.take(10).await, b"still here");
    release.add_permits(1);
    let answer = busy.response().await;
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert!(busy.is_closed().await);
    websocket.half_close().await;
    assert!(websocket.is_closed().await);
    proxy.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_told_to_end_finishes_a_request_and_a_websocket() {
    let (target, release) = slow_target().await;
    let base = format!("http://{}", target.address);
    let flags = ["--default-target", &base, "--drain", "15", "--log-level", "error"];
    let mut process = Process::start(&Which::Ours, &flags).await;
    let mut websocket = Raw::connect(process.public).await;
    websocket.send(UPGRADE).await;
    assert_eq!(websocket.head().await.unwrap().status(), 101);
    let mut busy = Raw::connect(process.public).await;
    busy.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    // By this it is known that the request is under way.
    assert_eq!(busy.head().await.unwrap().status(), 100);
    process.signal("-TERM").await;
    until(|| std::net::TcpStream::connect(process.public).is_err()).await;
    assert_eq!(process.has_ended(), None);
    busy.send("ab").await;
    websocket.send("still here").await;
    assert_eq!(websocket.take(10).await, b"still here");
    release.add_permits(1);
    let answer = busy.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert!(busy.is_closed().await);
    assert_eq!(process.has_ended(), None, "the websocket is still open");
    websocket.half_close().await;
    assert!(websocket.is_closed().await);
    assert_eq!(process.ended().await.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_told_to_end_waits_no_longer_than_it_is_told_to() {
    let (target, _release) = slow_target().await;
    let base = format!("http://{}", target.address);
    let flags = ["--default-target", &base, "--drain", "1", "--log-level", "error"];
    let mut process = Process::start(&Which::Ours, &flags).await;
    let mut websocket = Raw::connect(process.public).await;
    websocket.send(UPGRADE).await;
    assert_eq!(websocket.head().await.unwrap().status(), 101);
    let told = std::time::Instant::now();
    process.signal("-TERM").await;
    assert_eq!(process.ended().await.code(), Some(2));
    // The default is 30 seconds, which is more than any test waits.
    assert!(told.elapsed() >= Duration::from_millis(900), "{:?}", told.elapsed());
    assert!(websocket.is_closed().await);
}

#[tokio::test]
async fn draining_ends_at_its_deadline() {
    let (target, _release) = slow_target().await;
    let timeouts = Timeouts { drain: Duration::from_millis(100), ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, target.address);
    let mut websocket = proxy.connect().await;
    websocket.send(UPGRADE).await;
    assert_eq!(websocket.head().await.unwrap().status(), 101);
    let mut busy = proxy.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| proxy.metric("requests_web").as_deref() == Some("1")).await;
    proxy.shutdown.cancel();
    proxy.stopped().await;
    assert!(busy.is_closed().await);
    assert!(websocket.is_closed().await);
}

#[tokio::test]
async fn a_proxy_whose_future_is_dropped_frees_its_port() {
    let address: SocketAddr = {
        let proxy = Proxy::bind(options(), RouteTable::new(false)).unwrap();
        let address = proxy.local_addrs()[0];
        let running = tokio::spawn(proxy.run(tokio_util::sync::CancellationToken::new()));
        until(|| std::net::TcpStream::connect(address).is_ok()).await;
        running.abort();
        address
    };
    until(|| {
        let listen = vec![Listen::Tcp(address)];
        Proxy::bind(ProxyOptions { listen, ..options() }, RouteTable::new(false)).is_ok()
    })
    .await;
}
