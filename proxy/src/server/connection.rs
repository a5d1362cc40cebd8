//! One client connection from its first byte to its last.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::HttpService,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::oneshot,
    task::{self, spawn_local},
    time::sleep,
};
use tracing::debug;

use super::{
    ClientIo,
    client::{Client, Closing, Origin},
    greeting::{self, Greeted, Version},
    refusal::{self, Bound},
    shares::Share,
    stream::Stream,
    worker::{Place, Registered, Worker},
};
use crate::forward::{self, body::ProxyBody};

/// A silent HTTP/2 connection is asked after this time whether it still lives, and has this long to say so.
const PING_AFTER: Duration = Duration::from_secs(45);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// What a client may send on HTTP/2 before the target has taken it: for one request, and for all together. Many targets
/// that take nothing must not stop the requests beside them.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// A client's connection as its requests see it. A websocket keeps it beyond the end of HTTP, and with it the
/// connection's place within the bounds.
pub(crate) struct Guest {
    pub(crate) worker: Rc<Worker>,
    pub(crate) client: Arc<Client>,
    /// Where the requests of an HTTP/2 connection run.
    pub(crate) local: Local,
    _share: Option<Share>,
    _place: Place,
}

/// A stage of a connection. Each lies in a box of its own behind a pointer: as one future, all stages and protocols
/// together would take 50 KiB of stack whenever a request comes or is answered.
type Stage<T> = Pin<Box<dyn Future<Output = T>>>;

/// Serves requests until either side ends the connection.
pub(crate) async fn serve(worker: Rc<Worker>, stream: Stream, remote: Option<SocketAddr>, place: Place) {
    let beginning: Stage<Option<Stage<()>>> = Box::pin(begin(worker, stream, remote, place));
    let serving = beginning.await;
    if let Some(serving) = serving {
        serving.await;
    }
}

/// Finds out who connects and what they speak; `None` when there is nothing to be served.
async fn begin(
    worker: Rc<Worker>,
    stream: Stream,
    remote: Option<SocketAddr>,
    place: Place,
) -> Option<Stage<()>> {
    let shared = &worker.shared;
    // Before the greeting, in which a client may take its time; only the PROXY protocol tells the client in it.
    let mut share = None;
    if !shared.settings.proxy_protocol {
        share = match shared.share(remote) {
            Ok(share) => share,
            Err(exhausted) => {
                worker.stats.refused_clients.inc();
                shared.shares.warn_of_bound(Some(&exhausted.client));
                // Boxed, so that every connection need not have room for it.
                Box::pin(refusal::refuse(shared, stream, remote, Bound::Client, place)).await;
                return None;
            }
        };
    }
    let greeted = greeting::greet(shared, stream, remote).await?;
    if shared.settings.proxy_protocol {
        share = match shared.share(greeted.remote) {
            Ok(share) => share,
            Err(exhausted) => {
                worker.stats.refused_clients.inc();
                shared.shares.warn_of_bound(Some(&exhausted.client));
                drop(place);
                Box::pin(refusal::refuse_greeted(shared, greeted, Bound::Client)).await;
                return None;
            }
        };
    }
    let Greeted { stream, remote, secure, version } = greeted;
    let trusted = worker.settings().trusts(remote);
    let multiplexed = version == Version::Http2;
    let origin = Origin { remote, secure, multiplexed, trusted };
    let requests = share.as_ref().map(Share::requests);
    let client = Arc::new(Client::new(origin, worker.clock(), requests));
    let registered = worker.register(&client);
    let limits = &worker.settings().limits;
    let stats = Arc::clone(&worker.stats);
    let io = TokioIo::new(ClientIo::new(stream, Arc::clone(&client), limits.request_head, stats));
    let local = Local::default();
    let guest = Rc::new(Guest {
        worker: Rc::clone(&worker),
        client: Arc::clone(&client),
        local: local.clone(),
        _share: share,
        _place: place,
    });
    let service = hyper::service::service_fn(move |request| forward::handle(Rc::clone(&guest), request));
    Some(match version {
        Version::Http1 => {
            let connection = http1::Builder::new()
                .max_headers(limits.request_headers)
                .max_header_size(limits.request_head)
                .serve_connection(io, service)
                .with_upgrades();
            Box::pin(run(Served { connection, client, told: false }, registered))
        }
        Version::Http2 => {
            let connection = http2::Builder::new(local)
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_AFTER)
                .keep_alive_timeout(PING_PATIENCE)
                .max_concurrent_streams(limits.http2_streams)
                .max_header_list_size(u32::try_from(limits.request_head).unwrap_or(u32::MAX))
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .enable_connect_protocol()
                .serve_connection(io, service);
            Box::pin(run(Served { connection: Box::pin(connection), client, told: false }, registered))
        }
    })
}

async fn run(connection: impl Future<Output = io::Result<()>>, _registered: Registered) {
    if let Err(error) = connection.await {
        debug!(%error, "client connection ended");
    }
}

/// Runs the requests of an HTTP/2 connection on the worker's own thread.
///
/// What a websocket sends is in the hands of a task of hyper's own, which waits for a client that takes nothing for as
/// long as the connection lives. So that task can be given an end.
#[derive(Clone, Default)]
pub(crate) struct Local(Rc<Cell<Option<(task::Id, Patience)>>>);

/// Tells how long a websocket that has ended may still take to send what is left. When it is dropped, no time at all.
pub(crate) type Patience = oneshot::Receiver<Duration>;

impl Local {
    /// Gives an end to the task that hyper starts next from within the task that runs now.
    pub(crate) fn limit_next(&self, patience: Patience) {
        self.0.set(task::try_id().map(|id| (id, patience)));
    }
}

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        match self.0.take() {
            Some((id, patience)) if task::try_id() == Some(id) => {
                spawn_local(async move {
                    tokio::select! {
                        // First, as what has nothing left to send ends well.
                        biased;
                        _ = future => {}
                        () = async { sleep(patience.await.unwrap_or_default()).await } => {}
                    }
                });
            }
            another => {
                self.0.set(another);
                spawn_local(future);
            }
        }
    }
}

/// A connection that can be told to end when its requests are answered.
trait Connection: Future<Output = hyper::Result<()>> + Unpin {
    /// Whether the client learns of the end before it sends another request. Where it does not, a connection that
    /// merely moves to another process is closed with an answer.
    const ANNOUNCES_END: bool;

    fn close_gracefully(&mut self);
}

impl<S> Connection for http1::UpgradeableConnection<TokioIo<ClientIo>, S>
where
    S: HttpService<Incoming, ResBody = ProxyBody> + Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Self: Future<Output = hyper::Result<()>> + Unpin,
{
    const ANNOUNCES_END: bool = false;

    fn close_gracefully(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

impl<S, F> Connection for Pin<Box<http2::Connection<TokioIo<ClientIo>, S, Local>>>
where
    S: HttpService<Incoming, ResBody = ProxyBody, Future = F>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Result<Response<ProxyBody>, S::Error>> + 'static,
    S::Error: 'static,
{
    const ANNOUNCES_END: bool = true;

    fn close_gracefully(&mut self) {
        self.as_mut().graceful_shutdown();
    }
}

/// hyper's connection, which ends early when the client is told to.
struct Served<C> {
    connection: C,
    client: Arc<Client>,
    told: bool,
}

impl<C: Connection> Future for Served<C> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.client.waker.register(cx.waker());
        loop {
            let close = match this.client.closing() {
                Closing::Abort => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Closing::Graceful => true,
                Closing::Retire => C::ANNOUNCES_END,
                Closing::No => false,
            };
            if close && !this.told {
                this.told = true;
                this.connection.close_gracefully();
            }
            if let Poll::Ready(end) = Pin::new(&mut this.connection).poll(cx) {
                return Poll::Ready(end.map_err(io::Error::other));
            }
            // The poll itself may have found that the client sends no more.
            if this.told || this.client.closing() < Closing::Graceful {
                return Poll::Pending;
            }
        }
    }
}
