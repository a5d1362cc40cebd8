//! Telling clients that there is no room for them, in the protocol that they speak.
//!
//! That costs a handshake where there is TLS, and a while of listening. So it is done for a bounded number of clients
//! at a time; those beyond it are closed without a word.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::timeout,
};
use tracing::debug;

use super::{
    connection::Local,
    greeting::{self, Greeted, Version},
    stream::Stream,
    worker::{Place, Shared},
};

/// Clients that are told at the same time, over all workers.
const AT_ONCE: usize = 64;
/// Time for telling one.
const FAREWELL: Duration = Duration::from_secs(10);
/// Most bytes and longest time for which a client is listened to afterwards: were the connection closed at once, what
/// the client has sent meanwhile would make the system take the answer back.
const LINGER_BYTES: usize = 64 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// Which bound is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// That of all connections.
    Proxy,
    /// That of one client's connections.
    Client,
}

impl Bound {
    fn message(self) -> &'static str {
        match self {
            Self::Proxy => "The proxy has too many open connections.\n",
            Self::Client => "This address has too many connections already.\n",
        }
    }
}

/// Counts a client that is being told for as long as that takes.
struct Telling<'a>(&'a AtomicUsize);

impl<'a> Telling<'a> {
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        let telling = Self(count);
        (count.fetch_add(1, Relaxed) < AT_ONCE).then_some(telling)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Tells a client that has not been greeted yet, and closes the connection.
pub(super) async fn refuse(
    shared: &Shared,
    stream: Stream,
    remote: Option<SocketAddr>,
    bound: Bound,
    place: Place,
) {
    let Some(_telling) = Telling::begin(&shared.refusals) else { return };
    // Who is told has no place: it would be missing to those who come next.
    drop(place);
    if let Some(greeted) = greeting::greet(shared, stream, remote).await {
        tell(greeted, bound).await;
    }
}

/// Tells a client that has been greeted.
pub(super) async fn refuse_greeted(shared: &Shared, greeted: Greeted, bound: Bound) {
    if let Some(_telling) = Telling::begin(&shared.refusals) {
        tell(greeted, bound).await;
    }
}

async fn tell(greeted: Greeted, bound: Bound) {
    let stream = greeted.stream;
    let told = timeout(FAREWELL, async {
        match greeted.version {
            Version::Http1 => in_http1(stream, bound.message()).await,
            Version::Http2 => in_http2(stream, bound.message()).await.map_err(io::Error::other),
        }
    });
    if let Ok(Err(error)) = told.await {
        debug!(%error, "client was not told that there is no room");
    }
}

async fn in_http1(mut stream: Stream, message: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{message}",
        message.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let listening = async {
        let (mut left, mut buffer) = (LINGER_BYTES, [0; 4096]);
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<(), io::Error>(())
    };
    // Who goes on sending has had time to read.
    timeout(LINGER, listening).await.unwrap_or(Ok(()))
}

/// Answers what the client asks first, and takes nothing more.
async fn in_http2(stream: Stream, message: &'static str) -> hyper::Result<()> {
    let asked = Rc::new(Notify::new());
    let tell = Rc::clone(&asked);
    let service = service_fn(move |_: Request<Incoming>| {
        tell.notify_one();
        let mut response = Response::new(Full::new(Bytes::from_static(message.as_bytes())));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        async move { Ok::<_, Infallible>(response) }
    });
    let mut connection = pin!(http2::Builder::new(Local).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = asked.notified() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
