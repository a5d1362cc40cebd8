//! A small HTTP/1.1 server for the proxy's own pages: the REST API, metrics, the redirect to HTTPS.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    error::ProxyError,
    options::Listen,
    server::{
        Phase, PhaseControl, Sockets,
        listener::{self, Bound, Copies, Listener},
        stream::Stream,
        tls::{Certificates, ServerTls},
    },
};

/// Connections served at the same time; further ones wait in the queue.
const MAX_CONNECTIONS: usize = 1024;
/// From the end of one request to the end of the next head.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For requests under way at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// A bound server.
#[derive(Debug)]
pub(crate) struct HttpServer {
    /// One, or as many as another process had opened for the address.
    sockets: Vec<Bound>,
    address: Option<SocketAddr>,
    tls: Option<ServerTls>,
    phase: PhaseControl,
    tasks: TaskTracker,
}

impl HttpServer {
    /// Binds, or takes the socket that is there already. With `tls` it speaks HTTPS.
    pub(crate) fn bind(
        listen: &Listen,
        tls: Option<ServerTls>,
        inherited: &mut Sockets,
    ) -> Result<Self, ProxyError> {
        let (sockets, address) = listener::bind(listen, 1, inherited)?;
        if sockets.is_empty() {
            return Err(ProxyError::NothingToListenOn);
        }
        Ok(Self { sockets, address, tls, phase: PhaseControl::default(), tasks: TaskTracker::new() })
    }

    /// Follows the phase of a proxy instead of serving until the end.
    pub(crate) fn follow(&mut self, phase: PhaseControl) {
        self.phase = phase;
    }

    /// Has its certificate looked after together with others.
    pub(crate) fn follow_files(&self, certificates: &Certificates) {
        if let Some(tls) = &self.tls {
            certificates.add(tls.files());
        }
    }

    /// The open connections.
    pub(crate) fn connections(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// Second descriptors of the sockets.
    pub(crate) fn copy_sockets(&self, copies: &mut Copies) -> Result<(), ProxyError> {
        for socket in &self.sockets {
            copies.add(socket).map_err(|error| ProxyError::listen(&"a copy of a socket", error))?;
        }
        Ok(())
    }

    /// The TCP address with the port that the system chose; none for a socket file.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Answers every request with `handler` until `shutdown` or until another process takes over, then finishes the
    /// requests under way.
    pub(crate) async fn run<H, F>(self, shutdown: CancellationToken, handler: H) -> Result<(), ProxyError>
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let name = self.address.map_or_else(|| "the socket".to_owned(), |address| address.to_string());
        let listeners = self.sockets.into_iter().map(Bound::into_listener);
        let listeners = listeners
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| ProxyError::listen(&name, error))?;
        let server = Arc::new(Serving {
            handler,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            tasks: self.tasks,
            tls: self.tls,
            phase: self.phase,
            shutdown,
        });
        let accepting = listeners.into_iter().map(|listener| Arc::clone(&server).accept_all(listener));
        futures_util::future::join_all(accepting).await;
        server.tasks.close();
        if tokio::time::timeout(DRAIN, server.tasks.wait()).await.is_err() {
            debug!("requests under way were cut off");
        }
        Ok(())
    }
}

struct Serving<H> {
    handler: H,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    tls: Option<ServerTls>,
    phase: PhaseControl,
    shutdown: CancellationToken,
}

impl<H, F> Serving<H>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    async fn accept_all(self: Arc<Self>, listener: Listener) {
        let mut phase = self.phase.watch();
        loop {
            match phase.current() {
                Phase::Serving => {}
                Phase::Retired => return,
                Phase::Paused => {
                    tokio::select! {
                        () = phase.changed() => continue,
                        () = self.shutdown.cancelled() => return,
                    }
                }
            }
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = phase.changed() => continue,
                accepted = accept(&listener, &self.places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let server = Arc::clone(&self);
                    self.tasks.spawn(server.serve(stream, place));
                }
                Err(error) => {
                    warn!(%error, "cannot accept connections for the moment");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: Stream, _place: OwnedSemaphorePermit) {
        let mut phase = self.phase.watch();
        let stream = match &self.tls {
            Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
                Ok(Ok(stream)) => Stream::TlsServer(Box::new(stream)),
                Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
                Err(_) => return debug!("TLS handshake took too long"),
            },
            None => stream,
        };
        let server = Arc::clone(&self);
        let service = service_fn(move |request| {
            let answer = (server.handler)(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_header_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            // Another process must see what is asked for next.
            () = async { tokio::select! { () = self.shutdown.cancelled() => {}, () = phase.left_serving() => {} } } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended");
        }
    }
}

async fn accept(
    listener: &Listener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(Stream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let stream = match listener {
        Listener::Tcp(listener) => Stream::Tcp(listener.accept().await?.0),
        Listener::Unix(listener, _) => Stream::Unix(listener.accept().await?.0),
    };
    Ok((stream, place))
}

/// An answer with a text body; no content type when the body is empty.
pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let body = body.into();
    let typed = !body.is_empty();
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    if typed {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}
