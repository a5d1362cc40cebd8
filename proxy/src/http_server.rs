//! A small HTTP/1.1 server for the proxy's own pages: the REST API, metrics, the redirect to HTTPS.

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    error::ProxyError,
    options::Listen,
    server::{
        listener::{self, Bound, Listener},
        stream::Stream,
    },
};

/// Connections served at the same time; further ones wait in the queue.
const MAX_CONNECTIONS: usize = 1024;
/// From the end of one request to the end of the next head.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// For requests under way at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// A bound server.
#[derive(Debug)]
pub(crate) struct HttpServer {
    socket: Bound,
    address: Option<SocketAddr>,
}

impl HttpServer {
    pub(crate) fn bind(listen: &Listen) -> Result<Self, ProxyError> {
        let (sockets, address) = listener::bind(listen, 1)?;
        let socket = sockets.into_iter().next().ok_or(ProxyError::NothingToListenOn)?;
        Ok(Self { socket, address })
    }

    /// The TCP address with the port that the system chose; none for a socket file.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Answers every request with `handler` until `shutdown`, then finishes the requests under way.
    pub(crate) async fn run<H, F>(self, shutdown: CancellationToken, handler: H) -> Result<(), ProxyError>
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let name = self.address.map_or_else(|| "the socket".to_owned(), |address| address.to_string());
        let listener = self.socket.into_listener().map_err(|error| ProxyError::listen(&name, error))?;
        let handler = Arc::new(handler);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&listener, &places) => accepted,
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept connections for the moment");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (handler, shutdown) = (Arc::clone(&handler), shutdown.clone());
            tasks.spawn(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let answer = handler(request);
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
                    () = shutdown.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = ended {
                    debug!(%error, "connection ended");
                }
            });
        }
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            debug!("requests under way were cut off");
        }
        Ok(())
    }
}

async fn accept(
    listener: &Listener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(Stream, tokio::sync::OwnedSemaphorePermit)> {
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
