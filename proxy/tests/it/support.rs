//! A proxy, scripted targets and a client that sees every byte.

use std::{
    fmt::Write,
    future::Future,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use hub_proxy::{Listen, Proxy, ProxyOptions, RouteTable};
use serde_json::Map;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Nothing in a test takes longer unless it failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn patiently<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("the test waits for something that does not happen")
}

/// Polls a condition until it holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    patiently(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) fn any_port() -> Listen {
    Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub(crate) fn options() -> ProxyOptions {
    ProxyOptions {
        listen: vec![any_port()],
        workers: std::num::NonZeroUsize::new(2),
        ..ProxyOptions::default()
    }
}

/// A running proxy; it stops when dropped, at once.
pub(crate) struct TestProxy {
    pub(crate) address: SocketAddr,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) metrics: Arc<hub_proxy::metrics::Metrics>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) phase: hub_proxy::PhaseControl,
    pub(crate) scissors: hub_proxy::Scissors,
    running: JoinHandle<Result<(), hub_proxy::ProxyError>>,
}

impl TestProxy {
    pub(crate) fn start(options: ProxyOptions) -> Self {
        Self::start_with(options, RouteTable::new(false))
    }

    pub(crate) fn start_with(options: ProxyOptions, routes: Arc<RouteTable>) -> Self {
        let proxy = Proxy::bind(options, Arc::clone(&routes)).expect("a free port can be bound");
        let address = proxy.local_addrs().first().copied().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let metrics = proxy.metrics();
        let (phase, scissors) = (proxy.phase(), proxy.scissors());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(proxy.run(shutdown.clone()));
        Self { address, routes, metrics, shutdown, phase, scissors, running }
    }

    /// One proxy in front of one target at `/`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        Self::with(options(), target)
    }

    pub(crate) fn with(options: ProxyOptions, target: SocketAddr) -> Self {
        let proxy = Self::start(options);
        proxy.route("/", target);
        proxy
    }

    pub(crate) fn route(&self, routespec: &str, target: SocketAddr) {
        self.routes.add(routespec, &format!("http://{target}"), Map::new()).expect("the route is valid");
    }

    pub(crate) async fn connect(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Message {
        let mut raw = self.connect().await;
        raw.send(&format!("GET {path} HTTP/1.1\r\nHost: proxy.test\r\nConnection: close\r\n\r\n")).await;
        raw.response().await
    }

    /// A request head and body given in full, on a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Message {
        let mut raw = self.connect().await;
        raw.send(request).await;
        raw.response().await
    }

    /// Waits for an orderly end.
    pub(crate) async fn stopped(self) {
        patiently(self.running).await.expect("the proxy did not panic").expect("the proxy ended in order");
    }

    pub(crate) fn metric(&self, line: &str) -> Option<String> {
        let text = self.metrics.text();
        let found = text.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' '));
        found.map(str::to_owned)
    }
}

/// A parsed message head with the body that followed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) first: String,
    /// Names in lower case, in the order of arrival.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        Self { first, headers: pairs(lines), ..Self::default() }
    }

    fn length(&self) -> Option<usize> {
        self.header("content-length").and_then(|length| length.parse().ok())
    }

    fn chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }
}

fn pairs<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

/// A connection of which the test sees every byte.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
    /// A target waits for as long as its connection is kept; it is the client who misses what does not come.
    waits: bool,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(patiently(TcpStream::connect(address)).await.expect("the proxy accepts"))
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, read: Vec::new(), waits: false }
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        patiently(self.stream.write_all(text.as_ref())).await.expect("the peer takes the bytes");
    }

    /// Sends, not minding that the peer may have gone.
    pub(crate) async fn try_send(&mut self, text: impl AsRef<[u8]>) -> std::io::Result<()> {
        patiently(self.stream.write_all(text.as_ref())).await
    }

    /// More bytes; 0 at the end, an error counting as one.
    pub(crate) async fn fill(&mut self) -> usize {
        let mut buffer = vec![0; 64 * 1024];
        let reading = self.stream.read(&mut buffer);
        let count = if self.waits { reading.await } else { patiently(reading).await }.unwrap_or(0);
        self.read.extend_from_slice(&buffer[..count]);
        count
    }

    /// Exactly `count` bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.fill().await > 0, "the connection ended after {} of {count} bytes", self.read.len());
        }
        self.read.drain(..count).collect()
    }

    /// Exactly `count` bytes; `None` when the connection ends before.
    pub(crate) async fn try_take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if self.fill().await == 0 {
                return None;
            }
        }
        Some(self.read.drain(..count).collect())
    }

    /// Takes `count` bytes and keeps none of them.
    pub(crate) async fn discard(&mut self, count: u64) {
        let mut left = count;
        while left > 0 {
            if self.read.is_empty() {
                assert!(self.fill().await > 0, "the connection ended {left} bytes before its end");
            }
            let taken = self.read.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.read.drain(..taken);
            left -= taken as u64;
        }
    }

    async fn try_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.read[..end]).into_owned();
                self.read.drain(..end + 2);
                return Some(line);
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    /// A head without its body; `None` when the peer closed before it.
    pub(crate) async fn head(&mut self) -> Option<Message> {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
                self.read.drain(..end + 4);
                return Some(Message::parse(&head));
            }
            if self.fill().await == 0 {
                assert!(self.read.is_empty(), "the connection ended within a head");
                return None;
            }
        }
    }

    /// One chunk; empty for the last.
    pub(crate) async fn chunk(&mut self) -> Vec<u8> {
        self.try_chunk().await.expect("the connection ended within a chunk")
    }

    async fn try_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.try_line().await?;
        let size = usize::from_str_radix(line.trim(), 16).expect("a chunk begins with its size");
        if size == 0 {
            return Some(Vec::new());
        }
        let chunk = self.try_take(size).await?;
        assert_eq!(self.try_line().await?, "");
        Some(chunk)
    }

    async fn try_trailers(&mut self) -> Option<Vec<(String, String)>> {
        let mut lines = Vec::new();
        loop {
            let line = self.try_line().await?;
            if line.is_empty() {
                return Some(pairs(lines.iter().map(String::as_str)));
            }
            lines.push(line);
        }
    }

    async fn body(&mut self, message: &mut Message) {
        self.try_body(message).await.expect("the connection ended within a body");
    }

    async fn try_body(&mut self, message: &mut Message) -> Option<()> {
        if message.chunked() {
            loop {
                let chunk = self.try_chunk().await?;
                if chunk.is_empty() {
                    break;
                }
                message.body.extend(chunk);
            }
            message.trailers = self.try_trailers().await?;
        } else if let Some(length) = message.length() {
            message.body = self.try_take(length).await?;
        }
        Some(())
    }

    /// A request with its body; `None` when the peer closed.
    pub(crate) async fn request(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        self.body(&mut message).await;
        Some(message)
    }

    /// A request with its body; `None` when the peer closed, be it within the body.
    pub(crate) async fn request_if_whole(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        self.try_body(&mut message).await?;
        Some(message)
    }

    /// A response with its body. Interim responses are skipped.
    pub(crate) async fn response(&mut self) -> Message {
        self.response_to("GET").await
    }

    pub(crate) async fn response_to(&mut self, method: &str) -> Message {
        self.response_if_any(method).await.expect("the connection ended before the response")
    }

    /// A response; `None` when the peer closed before it began.
    pub(crate) async fn response_if_any(&mut self, method: &str) -> Option<Message> {
        loop {
            let mut message = self.head().await?;
            match message.status() {
                101 | 204 | 304 => return Some(message),
                100..=199 => continue,
                _ if method == "HEAD" => return Some(message),
                _ => {}
            }
            if message.chunked() || message.length().is_some() {
                self.body(&mut message).await;
            } else {
                while self.fill().await > 0 {}
                message.body = std::mem::take(&mut self.read);
            }
            return Some(message);
        }
    }

    /// Whether the peer closed without sending anything more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.fill().await == 0
    }

    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("the sending side can be closed");
    }
}

/// A target whose connections are scripted by the test. Stops when dropped, and then fails the test if what it was to
/// do failed.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
    panicked: Arc<Mutex<Option<Panic>>>,
}

type Panic = Box<dyn std::any::Any + Send>;

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
        let panicked = self.panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panicked.filter(|_| !std::thread::panicking()) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Target {
    /// `serve` gets each connection together with its number, from 1.
    pub(crate) async fn start<F, S>(serve: S) -> Self
    where
        S: Fn(Raw, usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let panicked = Arc::<Mutex<Option<Panic>>>::default();
        let first = Arc::clone(&panicked);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                let serving =
                    AssertUnwindSafe(serve(Raw { waits: true, ..Raw::new(stream) }, number)).catch_unwind();
                let first = Arc::clone(&first);
                connections.spawn(async move {
                    if let Err(panic) = serving.await {
                        first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
                    }
                });
            }
        });
        Self { address, task, panicked }
    }

    /// Answers every request with a description of it: first line, headers, then the body's length, as text.
    pub(crate) async fn echo(name: &'static str) -> Self {
        Self::start(move |mut raw, _| async move {
            while let Some(request) = raw.request().await {
                let mut body = format!("{name}\n{}\n", request.first);
                for (key, value) in &request.headers {
                    let _ = writeln!(body, "{key}: {value}");
                }
                let _ = writeln!(body, "body {}", request.text());
                for (key, value) in &request.trailers {
                    let _ = writeln!(body, "trailer {key}: {value}");
                }
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                if raw.try_send(answer).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Answers every request with the same bytes.
    pub(crate) async fn fixed(answer: &'static str) -> Self {
        Self::start(move |mut raw, _| async move {
            while raw.request().await.is_some() {
                if raw.try_send(answer).await.is_err() {
                    return;
                }
            }
        })
        .await
    }
}

/// An address where nobody listens and that no other call gets, for what cannot choose a port itself. Below the range
/// from which the system takes ports: one of those may be another connection's in the next moment.
pub(crate) async fn dead_address() -> SocketAddr {
    static STEP: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 20_000).expect("less than 20,000");
    loop {
        let step = STEP.fetch_add(1, Ordering::Relaxed) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + (begin + step) % 20_000));
        if TcpListener::bind(address).await.is_ok() {
            return address;
        }
    }
}
