//! One client connection from its first byte to its last.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::HttpService};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, time::timeout};
use tracing::debug;

use super::{
    ClientIo,
    client::{Client, Closing},
    stream::Stream,
    worker::{Registered, Worker},
};
use crate::forward::{self, body::ProxyBody};

/// Time for a TLS handshake, and for telling a client that there are too many.
const GREETING: Duration = Duration::from_secs(10);

/// Serves requests until either side ends the connection.
pub(crate) async fn serve(worker: Rc<Worker>, stream: Stream, client: Arc<Client>, _registered: Registered) {
    let stream = match (&worker.shared.tls_server, stream) {
        (Some(acceptor), Stream::Tcp(tcp)) => match timeout(GREETING, acceptor.accept(tcp)).await {
            Ok(Ok(tls)) => Stream::TlsServer(Box::new(tls)),
            Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
            Err(_) => return debug!("TLS handshake took too long"),
        },
        (_, stream) => stream,
    };
    let limits = &worker.settings().limits;
    let io = TokioIo::new(ClientIo::new(stream, Arc::clone(&client), limits.request_head));
    let service_client = Arc::clone(&client);
    let service_worker = Rc::clone(&worker);
    let service = hyper::service::service_fn(move |request| {
        let (worker, client) = (Rc::clone(&service_worker), Arc::clone(&service_client));
        async move { Ok::<_, Infallible>(forward::handle(&worker, &client, request).await) }
    });
    let connection = http1::Builder::new()
        .max_headers(limits.request_headers)
        .max_header_size(limits.request_head)
        .serve_connection(io, service)
        .with_upgrades();
    let served = Served { connection, client, told: false };
    if let Err(error) = served.await {
        debug!(%error, "client connection ended");
    }
}

/// Tells a client that there is no room and closes the connection.
pub(crate) async fn refuse(mut stream: Stream, _registered: Registered) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 40\r\n\
        retry-after: 1\r\nconnection: close\r\n\r\nThe proxy has too many open connections\n";
    let told = timeout(GREETING, async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    });
    if let Ok(Err(error)) = told.await {
        debug!(%error, "client was not told that there is no room");
    }
}

/// hyper's connection, which ends early when the client is told to.
struct Served<S: HttpService<Incoming>> {
    connection: http1::UpgradeableConnection<TokioIo<ClientIo>, S>,
    client: Arc<Client>,
    told: bool,
}

impl<S> Future for Served<S>
where
    S: HttpService<Incoming, ResBody = ProxyBody> + Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    http1::UpgradeableConnection<TokioIo<ClientIo>, S>: Future<Output = hyper::Result<()>> + Unpin,
{
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.client.waker.register(cx.waker());
        loop {
            match this.client.closing() {
                Closing::Abort => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Closing::Graceful if !this.told => {
                    this.told = true;
                    Pin::new(&mut this.connection).graceful_shutdown();
                }
                Closing::Graceful | Closing::No => {}
            }
            if let Poll::Ready(end) = Pin::new(&mut this.connection).poll(cx) {
                return Poll::Ready(end.map_err(io::Error::other));
            }
            // The poll itself may have found that the client sends no more.
            if this.told || this.client.closing() == Closing::No {
                return Poll::Pending;
            }
        }
    }
}
