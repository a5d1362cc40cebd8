//! One process after another serves the same address; websockets and requests do not notice.

use std::{
    os::fd::OwnedFd,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    extended_connect::{connect_tls, websocket},
    program::{Process, Which},
    support::{Raw, Target, dead_address, patiently, until},
    tls_client::{TlsClient, fixture},
};

/// Answers requests; echoes websockets.
async fn target() -> Target {
    Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            if request.header("upgrade").is_none() {
                if raw.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                    return;
                }
                continue;
            }
            raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                .await;
            let (mut reader, mut writer) = raw.stream.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            return;
        }
    })
    .await
}

/// Another name of a socket, so long that nobody can bind one with a longer name beside it.
fn without_room(folder: &tempfile::TempDir, socket: &std::path::Path) -> String {
    // The longest name that a UNIX socket can have.
    let length = 107 - folder.path().as_os_str().len() - 1;
    let long = folder.path().join("x".repeat(length));
    std::os::unix::fs::symlink(socket, &long).unwrap();
    long.to_str().unwrap().to_owned()
}

const UPGRADE: &str = "GET /user/x/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Cookie: jupyterhub-session-id=s1\r\n\r\n";

async fn echo(raw: &mut Raw, text: &str) -> std::io::Result<()> {
    raw.stream.write_all(text.as_bytes()).await?;
    let mut back = vec![0; text.len()];
    raw.stream.read_exact(&mut back).await?;
    assert_eq!(back, text.as_bytes());
    Ok(())
}

/// Requests one after the other, on connections that are kept as long as the proxy keeps them.
async fn stream_of_requests(address: std::net::SocketAddr, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) {
    let mut kept: Option<Raw> = None;
    while !stop.load(Relaxed) {
        let mut raw = match kept.take() {
            Some(raw) => raw,
            None => Raw::connect(address).await,
        };
        raw.send("GET /user/x/y HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = raw.response().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
        done.fetch_add(1, Relaxed);
        if answer.header("connection") != Some("close") {
            kept = Some(raw);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_hand_overs_drop_no_websocket_and_fail_no_request() {
    const WEBSOCKETS: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handover.sock");
    let socket = socket.to_str().unwrap();
    let flags = ["--handover-socket", socket, "--log-level", "warn"];
    let target = target().await;
    let (public, api) = (dead_address().await, dead_address().await);
    let mut processes = vec![Process::start_at(&Which::Ours, public, api, &flags, &[]).await];
    processes[0].route("/user/x", &format!("http://{}", target.address)).await;
    until(|| std::path::Path::new(socket).exists()).await;

    let mut websockets = Vec::new();
    for _ in 0..WEBSOCKETS {
        let mut raw = Raw::connect(public).await;
        raw.send(UPGRADE).await;
        assert_eq!(raw.head().await.unwrap().status(), 101);
        websockets.push(raw);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| tokio::spawn(stream_of_requests(public, Arc::clone(&stop), Arc::clone(&done))))
        .collect();

    for round in 1..=10 {
        processes.push(Process::spawn(&Which::Ours, public, api, &flags, &[]));
        // The new process writes nothing that could be waited for, but its API answers with a fresh route.
        let key = format!("/round/{round}");
        let before = done.load(Relaxed);
        let name = std::fs::metadata(socket).map(|data| std::os::unix::fs::MetadataExt::ino(&data)).unwrap();
        until(|| {
            std::fs::metadata(socket).is_ok_and(|data| std::os::unix::fs::MetadataExt::ino(&data) != name)
        })
        .await;
        processes[round].route(&key, "http://127.0.0.1:9").await;
        for (number, raw) in websockets.iter_mut().enumerate() {
            patiently(echo(raw, &format!("{round} {number}"))).await.unwrap();
        }
        until(|| done.load(Relaxed) > before + 20).await;
    }
    stop.store(true, Relaxed);
    for client in clients {
        patiently(client).await.unwrap();
    }
    let last = processes.last().unwrap();
    let (_, routes) = last.ask_api("GET", "/api/routes", "").await;
    for round in 1..=10 {
        assert!(routes.contains(&format!("\"/round/{round}\"")), "a route was lost: {routes}");
    }
    // What the first process still serves can be cut through the last one.
    let (status, text) = last.ask_api("POST", "/api/websockets/cut", r#"{"session": "s1"}"#).await;
    assert_eq!((status, text.as_str()), (200, r#"{"cut":0}"#), "the last one itself has none");
    let mut ends = processes.into_iter();
    let mut first = ends.next().unwrap();
    // The order went along the chain: each process tells the one whose place it took.
    for raw in &mut websockets {
        assert!(raw.is_closed().await);
    }
    assert_eq!(first.ended().await.code(), Some(0));
}

async fn echo_over(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) {
    let mut back = vec![0; text.len()];
    patiently(async {
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await?;
        stream.read_exact(&mut back).await
    })
    .await
    .unwrap();
    assert_eq!(back, text.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_over_tls_and_http2_stay_with_the_process_before_and_all_ports_are_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handover.sock");
    let (key, certificate) = (fixture("leaf-key.pem"), fixture("leaf.pem"));
    let [metrics, redirect] = [dead_address().await, dead_address().await];
    let [metrics_port, redirect_port] = [metrics, redirect].map(|address| address.port().to_string());
    let flags = [
        ["--handover-socket", socket.to_str().unwrap(), "--log-level", "warn"],
        ["--ssl-key", key.to_str().unwrap(), "--ssl-cert", certificate.to_str().unwrap()],
        ["--metrics-ip", "127.0.0.1", "--metrics-port", &metrics_port],
        ["--redirect-port", &redirect_port, "--redirect-to", "443"],
    ];
    let flags = flags.as_flattened();
    let target = target().await;
    let (public, api) = (dead_address().await, dead_address().await);
    let mut first = Process::start_at(&Which::Ours, public, api, flags, &[]).await;
    first.route("/user/x", &format!("http://{}", target.address)).await;
    until(|| socket.exists()).await;

    let mut secure = patiently(TlsClient::showing(None).connect(public)).await.unwrap();
    secure.write_all(UPGRADE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(patiently(secure.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    let mut sender = connect_tls(public).await;
    let (_, mut multiplexed) = websocket(&mut sender, "/user/x/ws", "jupyterhub-session-id=s2").await;

    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&socket).unwrap());
    let before = inode();
    let mut second = Process::spawn(&Which::Ours, public, api, flags, &[]);
    until(|| inode() != before || second.has_ended().is_some()).await;
    assert_eq!(second.has_ended(), None);
    for round in 0..3 {
        echo_over(&mut secure, &format!("secure {round}")).await;
        echo_over(&mut multiplexed, &format!("multiplexed {round}")).await;
        let answer = TlsClient::showing(None).get(public, "/user/x/y", "").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    for (address, path, status) in [(metrics, "/metrics", 200), (redirect, "/x", 301)] {
        let mut raw = Raw::connect(address).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(raw.response().await.status(), status, "{path}");
    }
    // The order to cut one of them reaches the process before; the other one goes on there until it ends.
    second.ask_api("POST", "/api/websockets/cut", r#"{"session": "s2"}"#).await;
    assert_eq!(patiently(multiplexed.read(&mut [0; 16])).await.unwrap_or(0), 0);
    echo_over(&mut secure, "still here").await;
    assert_eq!(first.has_ended(), None);
    drop((secure, multiplexed, sender));
    assert_eq!(first.ended().await.code(), Some(0));
    assert_eq!(second.has_ended(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_seen_by_the_process_before_reaches_the_one_that_took_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handover.sock");
    let flags = ["--handover-socket", socket.to_str().unwrap(), "--log-level", "warn"];
    let target = target().await;
    let (public, api) = (dead_address().await, dead_address().await);
    let first = Process::start_at(&Which::Ours, public, api, &flags, &[]).await;
    first.route("/user/x", &format!("http://{}", target.address)).await;
    let mut raw = Raw::connect(public).await;
    raw.send(UPGRADE).await;
    assert_eq!(raw.head().await.unwrap().status(), 101);
    until(|| socket.exists()).await;
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&socket).unwrap());
    let before = inode();
    let second = Process::spawn(&Which::Ours, public, api, &flags, &[]);
    until(|| inode() != before).await;
    let activity = || async {
        let (_, text) = second.ask_api("GET", "/api/routes/user/x", "").await;
        let route: serde_json::Value = serde_json::from_str(&text).unwrap();
        route["last_activity"].as_str().unwrap().to_owned()
    };
    let earlier = activity().await;
    patiently(async {
        while activity().await == earlier {
            echo(&mut raw, "still here").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_fails_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handover.sock");
    let flags = ["--handover-socket", socket.to_str().unwrap(), "--log-level", "error"];
    let target = target().await;
    let first = Process::start(&Which::Ours, &flags).await;
    first.route("/", &format!("http://{}", target.address)).await;
    until(|| socket.exists()).await;
    // One that goes away at once, one that talks nonsense, one that cannot bind what it needs beside.
    drop(std::os::unix::net::UnixStream::connect(&socket).unwrap());
    let mut nonsense = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    std::io::Write::write_all(&mut nonsense, b"\0\0\0\x02{}").unwrap();
    drop(nonsense);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let more = [&flags[..], &["--metrics-ip", "127.0.0.1", "--metrics-port", &port]].concat();
    // One that cannot write its process id, and one whose own socket gets no place.
    let nowhere = folder.path().join("nowhere/pid");
    let no_pid = [&flags[..], &["--pid-file", nowhere.to_str().unwrap()]].concat();
    let long = without_room(&folder, &socket);
    let no_room = ["--handover-socket", &long, "--log-level", "error"];
    for flags in [&more[..], &no_pid, &no_room] {
        let mut failing = Process::spawn(&Which::Ours, first.public, first.api, flags, &[]);
        assert_eq!(failing.ended().await.code(), Some(1), "{flags:?}");
    }
    for _ in 0..3 {
        let mut raw = Raw::connect(first.public).await;
        raw.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert_eq!(raw.response().await.text(), "ok");
    }
    first.route("/more", "http://127.0.0.1:9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_fails_leaves_the_process_id_of_the_one_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, pid) = (folder.path().join("handover.sock"), folder.path().join("pid"));
    let pid_file = ["--pid-file", pid.to_str().unwrap()];
    let flags = [&["--handover-socket", socket.to_str().unwrap(), "--log-level", "error"], &pid_file[..]];
    let flags = flags.concat();
    let first = Process::start(&Which::Ours, &flags).await;
    until(|| socket.exists()).await;
    let (long, fresh) = (without_room(&folder, &socket), folder.path().join("fresh"));
    for file in [&pid, &fresh] {
        let no_room = ["--handover-socket", &long, "--pid-file", file.to_str().unwrap()];
        let mut failing = Process::spawn(&Which::Ours, first.public, first.api, &no_room, &[]);
        assert_eq!(failing.ended().await.code(), Some(1));
    }
    assert_eq!(std::fs::read_to_string(&pid).unwrap(), first.id().to_string());
    assert!(!fresh.exists());
    let mut second = Process::spawn(&Which::Ours, first.public, first.api, &flags, &[]);
    until(|| std::fs::read_to_string(&pid).is_ok_and(|id| id == second.id().to_string())).await;
    second.signal("-TERM").await;
    second.ended().await;
    assert!(!pid.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_proxy_is_back_with_its_routes_in_less_than_a_second() {
    const SOON: Duration = Duration::from_secs(1);
    let folder = tempfile::tempdir().unwrap();
    let state = format!("file:{}", folder.path().join("routes").display());
    let flags = ["--storage-backend", state.as_str(), "--log-level", "error"];
    let target = target().await;
    let first = Process::start(&Which::Ours, &flags).await;
    first.route("/user/a%20b", &format!("http://{}", target.address)).await;
    first.route("/gone", "http://127.0.0.1:9").await;
    assert_eq!(first.ask_api("DELETE", "/api/routes/gone", "").await.0, 204);
    // No hub has spoken to the new process when it answers its first request. What takes longer on a busy machine says
    // nothing, so the best of some tries counts.
    let mut again = first;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        again.signal("-KILL").await;
        again.ended().await;
        let killed = Instant::now();
        again = Process::start_at(&Which::Ours, again.public, again.api, &flags, &[]).await;
        let mut raw = Raw::connect(again.public).await;
        raw.send("GET /user/a%20b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert_eq!(raw.response().await.text(), "ok");
        best = best.min(killed.elapsed());
        if best < SOON {
            break;
        }
    }
    assert!(best < SOON, "back after {best:?}");
    assert_eq!(again.ask_api("GET", "/api/routes/gone", "").await.0, 404);
}

/// Starts a proxy as a service manager does: somebody listens on three sockets, and passes them as descriptors 3 to 5.
fn with_passed_sockets(sockets: [OwnedFd; 3], flags: &[&str]) -> tokio::process::Child {
    let [one, two, three] = sockets.map(Stdio::from);
    let script = "export LISTEN_PID=$$ LISTEN_FDS=3; exec \"$0\" --exact program::this_program_is_a_proxy_when_asked \
                  --nocapture 3<&0 4<&1 5<&2 0</dev/null 1>/dev/null 2>/dev/null";
    tokio::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("HIMALIA_TEST_PROXY_FLAGS", flags.join("\n"))
        .stdin(one)
        .stdout(two)
        .stderr(three)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The begin of an answer on a connection that was made before the proxy was started.
async fn answered(mut early: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    early.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    patiently(early.read_to_string(&mut answer)).await.unwrap();
    answer.get(..12).unwrap_or_default().to_owned()
}

const PATHS: [&str; 3] = ["/_chp_healthz", "/api/routes", "/metrics"];

#[tokio::test(flavor = "multi_thread")]
async fn tcp_sockets_of_the_service_manager_are_used() {
    let sockets = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let [public, api, metrics] = addresses.map(|address| address.port().to_string());
    let flags = [
        ["--ip", "127.0.0.1", "--port", &public],
        ["--api-ip", "127.0.0.1", "--api-port", &api],
        ["--metrics-ip", "127.0.0.1", "--metrics-port", &metrics],
    ];
    let _process = with_passed_sockets(sockets.map(OwnedFd::from), flags.as_flattened());
    for (address, path) in addresses.iter().zip(PATHS) {
        // The port is open from the beginning: whoever comes early waits.
        let early = tokio::net::TcpStream::connect(address).await.unwrap();
        assert_eq!(answered(early, path).await, "HTTP/1.1 200", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_sockets_of_the_service_manager_are_used_and_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["public", "api", "metrics"].map(|name| folder.path().join(name));
    let sockets = files.each_ref().map(|file| std::os::unix::net::UnixListener::bind(file).unwrap());
    // Made before the start: they wait at these sockets, and would find nobody at others in their place.
    let mut early = Vec::new();
    for file in &files {
        early.push(tokio::net::UnixStream::connect(file).await.unwrap());
    }
    let [public, api, metrics] = files.each_ref().map(|file| file.to_str().unwrap());
    let flags = ["--socket", public, "--api-socket", api, "--metrics-socket", metrics];
    let mut process = with_passed_sockets(sockets.map(OwnedFd::from), &flags);
    for (early, path) in early.into_iter().zip(PATHS) {
        assert_eq!(answered(early, path).await, "HTTP/1.1 200", "{path}");
    }
    let id = process.id().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").arg(&id).status().await.unwrap().success());
    assert_eq!(patiently(process.wait()).await.unwrap().code(), Some(2));
    assert!(files.iter().all(|file| file.exists()), "the files are the service manager's");
}
