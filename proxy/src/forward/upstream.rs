//! Connections to targets and the sending of requests over them.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, request};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
    time::{sleep, timeout},
};

use super::{
    body::RequestBody,
    bounds::{self, Claim, Permit},
    health::Attempt,
    link::Link,
    pool::Lease,
    replay::Replay,
};
use crate::{
    server::{
        clock::Clock,
        stream::Stream,
        worker::{Worker, configure},
    },
    target::{Endpoint, Origin, Transport},
};

/// Response heads larger than this are refused.
const MAX_RESPONSE_HEAD: usize = 256 * 1024;
const MAX_RESPONSE_HEADERS: usize = 128;

/// Why a target gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("connecting took too long")]
    ConnectTimeout,
    #[error("connecting took too long a moment ago, and is tried by another request")]
    Unreachable,
    #[error("the bound of {limit} connections {scope} is met")]
    Busy { scope: &'static str, limit: usize },
    #[error("the connection broke before an answer: {0}")]
    Broken(#[source] hyper::Error),
    #[error("no answer in time")]
    ResponseTimeout,
}

impl UpstreamError {
    /// Whether the target was not asked for want of room on this side, which may be there in a moment.
    pub(crate) fn is_shortage(&self) -> bool {
        matches!(self, Self::Busy { .. }) || self.lacks_ports()
    }

    /// The system has no free port for another connection to that address.
    fn lacks_ports(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == ErrorKind::AddrNotAvailable)
    }

    /// Label of the error in metrics.
    pub(crate) fn class(&self) -> usize {
        match self {
            Self::Connect(_) if self.lacks_ports() => 6,
            Self::Connect(_) => 0,
            Self::ConnectTimeout => 1,
            Self::Busy { .. } => 2,
            Self::Broken(_) => 3,
            Self::ResponseTimeout => 4,
            Self::Unreachable => 5,
        }
    }
}

/// Labels in the order of [`UpstreamError::class`].
pub(crate) const ERROR_CLASSES: [&str; 7] =
    ["connect", "connect_timeout", "busy", "broken", "response_timeout", "unreachable", "ports"];

/// A target's socket together with its place within the bounds.
#[derive(Debug)]
pub(crate) struct UpstreamIo {
    stream: Stream,
    progress: Option<Arc<Progress>>,
    _permit: Permit,
}

/// When bytes went to a target or came from it; kept only where there is a limit on its silence.
#[derive(Debug)]
pub(crate) struct Progress {
    clock: Clock,
    last: AtomicU64,
}

impl Progress {
    pub(crate) fn note(&self) {
        self.last.store(self.clock.millis(), Relaxed);
    }

    /// What is left of a limit on silence; `None` when nothing is.
    pub(crate) fn left_of(&self, limit: Duration) -> Option<Duration> {
        let silence = Duration::from_millis(self.clock.millis().saturating_sub(self.last.load(Relaxed)));
        limit.checked_sub(silence).filter(|left| !left.is_zero())
    }
}

impl UpstreamIo {
    /// Notes what a poll did.
    fn noted<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_ready()
            && let Some(progress) = &self.progress
        {
            progress.note();
        }
        polled
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.noted(polled)
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.noted(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.noted(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Opens a new connection to an origin.
async fn connect(worker: &Rc<Worker>, origin: &Arc<Origin>, claim: Claim) -> Result<Lease, UpstreamError> {
    let patience = worker.settings().timeouts.connect;
    let mut attempt = Some(origin.health.attempt().ok_or(UpstreamError::Unreachable)?);
    let permit = bounds::acquire(worker, origin, claim).await?;
    let opened = timeout(patience, open(worker, origin, &mut attempt)).await;
    if let Some(attempt) = attempt {
        match &opened {
            // The system has waited for an answer in vain, or we have.
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable) => {
                attempt.failed();
            }
            Err(_) => attempt.failed(),
            Ok(_) => attempt.answered(),
        }
    }
    let stream = opened.map_err(|_| UpstreamError::ConnectTimeout)?.map_err(UpstreamError::Connect)?;
    let limited = worker.settings().timeouts.response.is_some();
    let progress = limited.then(|| Arc::new(Progress { clock: worker.clock(), last: AtomicU64::new(0) }));
    let io = TokioIo::new(UpstreamIo { stream, progress: progress.clone(), _permit: permit });
    let (sender, connection) = http1::Builder::new()
        .max_header_size(MAX_RESPONSE_HEAD)
        .max_headers(MAX_RESPONSE_HEADERS)
        .handshake(io)
        .await
        .map_err(UpstreamError::Broken)?;
    Ok(worker.pool.borrow_mut().lease(origin, Link::new(sender, connection), progress))
}

async fn open(worker: &Worker, origin: &Origin, attempt: &mut Option<Attempt<'_>>) -> io::Result<Stream> {
    let mut knock = || attempt.as_mut().map(Attempt::knock);
    let tcp = match &origin.endpoint {
        Endpoint::Unix(path) => return Ok(Stream::Unix(UnixStream::connect(path).await?)),
        Endpoint::Address(address, port) => {
            knock();
            TcpStream::connect((*address, *port)).await?
        }
        Endpoint::Name(name, port) => {
            let found: Vec<_> = lookup_host((name.as_str(), *port)).await?.collect();
            knock();
            TcpStream::connect(&*found).await?
        }
    };
    // Whoever took the connection is there, be it that its TLS takes a while.
    attempt.take().into_iter().for_each(Attempt::answered);
    configure(&tcp);
    if origin.transport == Transport::Plain {
        return Ok(Stream::Tcp(tcp));
    }
    let name = ServerName::try_from(origin.server_name.clone()).map_err(io::Error::other)?;
    let tls = worker.shared.tls_client.connector().connect(name, tcp).await?;
    Ok(Stream::TlsClient(Box::new(tls)))
}

/// Sends a request and waits for the head of the answer, which may switch protocols with `upgrade` alone.
///
/// A connection from the pool may have been closed by its target at this very moment. Then the request is sent once
/// more over a new connection, if that cannot do anything twice: because hyper gave it back unsent, or because it
/// has no body and its method is idempotent.
pub(crate) fn send(
    worker: &Rc<Worker>,
    origin: &Arc<Origin>,
    claim: Claim,
    request: Request<RequestBody>,
    upgrade: bool,
) -> impl Future<Output = Result<(Response<Incoming>, Lease), UpstreamError>> {
    let pooled = worker.pool.borrow().take(origin, worker.now());
    // Sent before the future is made, which would have to be moved together with the request.
    let begun = match pooled {
        Some(mut lease) => {
            let copy = Replay::of(&request);
            let sending = exchange(worker, &mut lease, request, upgrade);
            Ok((lease, copy, sending))
        }
        None => Err(Box::new(request)),
    };
    async move {
        let request = match begun {
            Err(request) => request,
            Ok((lease, copy, sending)) => {
                let again = match sending.await {
                    Ok(response) => return Ok((response, lease)),
                    Err((_, Some(unsent))) => unsent,
                    Err((error @ UpstreamError::Broken(_), None)) => match copy {
                        Some(copy) => Box::new(copy.into_request()),
                        None => return Err(error),
                    },
                    Err((error, None)) => return Err(error),
                };
                worker.stats.retries.inc();
                again
            }
        };
        // Boxed, as it is rare and would make the future of each request larger.
        let mut lease = Box::pin(connect(worker, origin, claim)).await?;
        let response = exchange(worker, &mut lease, *request, upgrade).await.map_err(|(error, _)| error)?;
        Ok((response, lease))
    }
}

type Failed = (UpstreamError, Option<Box<Request<RequestBody>>>);

/// Hands the request over at once, so that no future has to be moved together with it.
fn exchange(
    worker: &Worker,
    lease: &mut Lease,
    request: Request<RequestBody>,
    upgrade: bool,
) -> impl Future<Output = Result<Response<Incoming>, Failed>> + use<> {
    let limited = worker.settings().timeouts.response.zip(lease.progress.clone());
    let sending = lease.link.exchange(request, upgrade);
    async move {
        let sent = match limited {
            Some((limit, progress)) => {
                // Boxed, as a timer is large and few have one.
                let limited = Box::pin(async move {
                    tokio::select! {
                        biased;
                        sent = sending => Some(sent),
                        () = silent(&progress, limit) => None,
                    }
                });
                limited.await.ok_or((UpstreamError::ResponseTimeout, None))?
            }
            None => sending.await,
        };
        sent.map_err(|mut error| {
            let unsent = error.take_message().map(Box::new);
            (UpstreamError::Broken(error.into_error()), unsent)
        })
    }
}

/// Waits until no byte has gone either way for as long as the limit, beginning now.
async fn silent(progress: &Progress, limit: Duration) {
    progress.note();
    while let Some(left) = progress.left_of(limit) {
        sleep(left).await;
    }
}

/// The parts of a request without a body.
pub(crate) fn bodiless(parts: request::Parts) -> Request<RequestBody> {
    Request::from_parts(parts, RequestBody::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_ports_is_told_from_a_target_that_does_not_answer() {
        let connect = |error: rustix::io::Errno| UpstreamError::Connect(error.into());
        for (error, class, shortage) in [
            (connect(rustix::io::Errno::ADDRNOTAVAIL), "ports", true),
            (connect(rustix::io::Errno::CONNREFUSED), "connect", false),
            (UpstreamError::Busy { scope: "to one target", limit: 1 }, "busy", true),
            (UpstreamError::ConnectTimeout, "connect_timeout", false),
            (UpstreamError::Unreachable, "unreachable", false),
            (UpstreamError::ResponseTimeout, "response_timeout", false),
        ] {
            assert_eq!((ERROR_CLASSES[error.class()], error.is_shortage()), (class, shortage), "{error}");
        }
    }
}
