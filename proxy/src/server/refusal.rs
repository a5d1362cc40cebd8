//! Telling clients that there is no room for them, in the protocol that they speak.
//!
//! That costs a handshake where there is TLS, and a while of listening. So it is done for a bounded number of clients
//! at a time; those beyond it are closed without a word.
//!
//! One that has met its own bound and asks whether the proxy is healthy is told so: it may be a balancer, which would
//! else send nobody here any more.

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
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
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
use crate::forward::{HEALTH_PATH, HEALTHY};

/// Clients that are told at the same time, over all workers.
const AT_ONCE: usize = 64;
/// Time for telling one.
const FAREWELL: Duration = Duration::from_secs(10);
/// Most bytes and longest time for which a client is listened to afterwards: were the connection closed at once, what
/// the client has sent meanwhile would make the system take the answer back.
const LINGER_BYTES: usize = 64 * 1024;
const LINGER: Duration = Duration::from_secs(2);
/// A client has that long to say what it wants.
const HEARING: Duration = Duration::from_secs(1);

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
            Version::Http1 => in_http1(stream, bound).await,
            Version::Http2 => in_http2(stream, bound).await.map_err(io::Error::other),
        }
    });
    if let Ok(Err(error)) = told.await {
        debug!(%error, "client was not told that there is no room");
    }
}

async fn in_http1(mut stream: Stream, bound: Bound) -> io::Result<()> {
    let asked = if bound == Bound::Client { after_health(&mut stream).await? } else { None };
    let (status, headers, message) = match asked {
        Some(_) => ("200 OK", "content-type: application/json", HEALTHY),
        None => ("503 Service Unavailable", "content-type: text/plain\r\nretry-after: 1", bound.message()),
    };
    let body = if asked == Some(Method::HEAD) { "" } else { message };
    let answer = format!(
        "HTTP/1.1 {status}\r\n{headers}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
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

/// How the client asks after the proxy's health, if its first line does.
async fn after_health(stream: &mut Stream) -> io::Result<Option<Method>> {
    let mut line = [0; 256];
    let hearing = async {
        let mut end = 0;
        while let Some(room) = line.get_mut(end..).filter(|room| !room.is_empty()) {
            let count = stream.read(room).await?;
            end += count;
            if count == 0 || line.get(..end).is_some_and(|seen| seen.contains(&b'\n')) {
                break;
            }
        }
        Ok::<_, io::Error>(end)
    };
    let Ok(heard) = timeout(HEARING, hearing).await else { return Ok(None) };
    let text = line.get(..heard?).and_then(|heard| std::str::from_utf8(heard).ok()).unwrap_or_default();
    let (method, rest) = text.split_once(' ').unwrap_or_default();
    let path = rest.split([' ', '?']).next().unwrap_or_default();
    Ok([Method::GET, Method::HEAD].into_iter().find(|known| known == method && path == HEALTH_PATH))
}

/// Answers what the client asks first, and takes nothing more.
async fn in_http2(stream: Stream, bound: Bound) -> hyper::Result<()> {
    let asked = Rc::new(Notify::new());
    let tell = Rc::clone(&asked);
    let service = service_fn(move |request: Request<Incoming>| {
        tell.notify_one();
        let healthy = bound == Bound::Client && request.uri().path() == HEALTH_PATH;
        let message = if healthy { HEALTHY } else { bound.message() };
        let kind = if healthy { "application/json" } else { "text/plain" };
        let mut response = Response::new(Full::new(Bytes::from_static(message.as_bytes())));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if !healthy {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        async move { Ok::<_, Infallible>(response) }
    });
    let mut connection =
        pin!(http2::Builder::new(Local::default()).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = asked.notified() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
