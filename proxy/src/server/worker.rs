//! A worker: one thread, one runtime, its own sockets, its own pool of target connections.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::body::Incoming;
use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    task::spawn_local,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    client::{Client, Closing, Waiting},
    clock::Clock,
    connection,
    listener::{Bound, Listener},
    phase::{Phase, PhaseControl, PhaseWatch},
    refusal,
    settings::Settings,
    shares::{Exhausted, Share, Shares},
    stream::Stream,
    tls::{Certificates, ServerTls, TargetTls},
    websockets::Websockets,
};
use crate::{
    access_log::AccessLogger,
    error::ProxyError,
    forward::{
        body::LINGERING_BODIES,
        bounds::{self, Bounds},
        drain_bodies,
        pool::Pool,
    },
    metrics::{Metrics, WorkerStats},
    routes::RouteTable,
};

/// Size of the buffer through which websocket bytes pass, one for each worker.
const SCRATCH: usize = 64 * 1024;

/// An idle connection that was asked to end is cut after as long without a byte, at most.
const FAREWELL: Duration = Duration::from_secs(30);
/// And after as long with bytes.
const SLOW_FAREWELL: Duration = Duration::from_mins(10);

/// What all workers of a proxy share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tls_server: Option<ServerTls>,
    pub(crate) tls_client: TargetTls,
    pub(crate) certificates: Certificates,
    pub(crate) client_connections: AtomicUsize,
    pub(crate) shares: Arc<Shares>,
    /// Clients that are being told that there is no room.
    pub(crate) refusals: AtomicUsize,
    pub(crate) bounds: Bounds,
    pub(crate) websockets: Arc<Websockets>,
    pub(crate) access_log: Option<AccessLogger>,
    pub(crate) phase: PhaseControl,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        routes: Arc<RouteTable>,
        metrics: Arc<Metrics>,
        tls_server: Option<ServerTls>,
        tls_client: TargetTls,
        access_log: Option<AccessLogger>,
    ) -> Self {
        let all = settings.limits.client_connections;
        let targets = settings.limits.upstream_connections;
        let certificates = Certificates::default();
        certificates.add(tls_client.files());
        if let Some(tls) = &tls_server {
            certificates.add(tls.files());
        }
        let one = settings.limits.connections_per_client.unwrap_or(all - all / 4);
        Self {
            shares: Shares::new(one, targets - targets / 4),
            websockets: Arc::default(),
            access_log,
            phase: PhaseControl::default(),
            settings,
            routes,
            metrics,
            tls_server,
            tls_client,
            certificates,
            client_connections: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            bounds: Bounds::default(),
        }
    }

    /// A client's share in the connections; none is counted for UNIX sockets and trusted proxies.
    pub(crate) fn share(&self, remote: Option<SocketAddr>) -> Result<Option<Share>, Exhausted> {
        let exempt = self.settings.trusted_proxies.is_some() && self.settings.trusts(remote);
        match remote {
            Some(remote) if !exempt => self.shares.take(remote.ip()).map(Some),
            _ => Ok(None),
        }
    }
}

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Takes request bodies that nobody reads any more.
    pub(crate) linger: mpsc::Sender<Incoming>,
    /// Client connections and websockets; draining waits for them.
    pub(crate) tasks: TaskTracker,
    /// Ends websockets when draining has taken too long.
    pub(crate) cut: CancellationToken,
    clients: RefCell<Clients>,
    clock: Clock,
}

#[derive(Default)]
struct Clients {
    next: u64,
    open: HashMap<u64, Arc<Client>>,
    /// How connections are to end, once they are.
    draining: Option<Closing>,
}

/// Keeps a connection in the worker's list for as long as it lives.
pub(crate) struct Registered {
    worker: Rc<Worker>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.clients.borrow_mut().open.remove(&self.id);
    }
}

/// Counts a connection for as long as it lives.
pub(crate) struct Place(Rc<Worker>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.shared.client_connections.fetch_sub(1, Ordering::Relaxed);
        self.0.stats.open_connections.dec();
    }
}

impl Worker {
    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Milliseconds since the worker started.
    pub(crate) fn now(&self) -> u64 {
        self.clock.millis()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn register(self: &Rc<Self>, client: &Arc<Client>) -> Registered {
        let mut clients = self.clients.borrow_mut();
        clients.next += 1;
        let id = clients.next;
        clients.open.insert(id, Arc::clone(client));
        if let Some(how) = clients.draining {
            client.close(how);
        }
        Registered { worker: Rc::clone(self), id }
    }

    fn close_all(&self, how: Closing) {
        let mut clients = self.clients.borrow_mut();
        clients.draining = Some(how);
        for client in clients.open.values() {
            client.close(how);
        }
    }

    /// Closes what has waited too long: client connections and idle target connections.
    fn sweep(&self) {
        let timeouts = &self.settings().timeouts;
        let now = self.now();
        let expired = |since: u64, limit: Duration| Duration::from_millis(now.saturating_sub(since)) > limit;
        for client in self.clients.borrow().open.values() {
            match client.waiting() {
                Waiting::Idle(since) => {
                    client.rest();
                    if expired(since, timeouts.keep_alive) {
                        client.close(Closing::Graceful);
                        // What is left is a farewell that the client does not return, or an answer that it does
                        // not read: whoever is about to read that has more time.
                        let patience = if client.is_blocked() {
                            SLOW_FAREWELL
                        } else {
                            timeouts.keep_alive.clamp(Duration::from_secs(1), FAREWELL)
                        };
                        let silent = expired(client.silent_since(), patience)
                            && expired(since, timeouts.keep_alive + patience);
                        if silent || expired(since, timeouts.keep_alive + SLOW_FAREWELL) {
                            client.close(Closing::Abort);
                        }
                    }
                }
                Waiting::Head(since) if expired(since, timeouts.request_head) => client.close(Closing::Abort),
                Waiting::Serving(since) => match timeouts.client {
                    Some(limit) if expired(since, limit) => client.close(Closing::Abort),
                    // Nobody else would notice that a half-closed client is gone.
                    _ if client.is_half_closed() => client.waker.wake(),
                    _ => {}
                },
                Waiting::Head(_) => {}
            }
        }
        self.pool.borrow_mut().sweep(now, timeouts.upstream_idle);
    }

    /// How often to sweep: precise to a quarter of the shortest waiting time, at most once a second.
    fn sweep_period(&self) -> Duration {
        let timeouts = &self.settings().timeouts;
        let shortest = [timeouts.keep_alive, timeouts.request_head, timeouts.upstream_idle]
            .into_iter()
            .chain(timeouts.client)
            .min()
            .unwrap_or_default();
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// Runs a worker on the current thread until it has drained.
pub(crate) fn run(
    shared: &Arc<Shared>,
    index: usize,
    sockets: Vec<Bound>,
    stop: &CancellationToken,
    abort: &CancellationToken,
) -> Result<(), ProxyError> {
    let failed = |source| ProxyError::Worker { index, source };
    let runtime =
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).map_err(failed)?;
    runtime.block_on(async {
        let listeners =
            sockets.into_iter().map(Bound::into_listener).collect::<io::Result<Vec<_>>>().map_err(failed)?;
        let (linger, bodies) = mpsc::channel(LINGERING_BODIES);
        let worker = Rc::new(Worker {
            stats: shared.metrics.worker(),
            pool: RefCell::new(Pool::new(shared.settings.limits.idle_per_target)),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            linger,
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
            clients: RefCell::default(),
            clock: Clock::start(),
            shared: Arc::clone(shared),
        });
        spawn_local(drain_bodies(bodies));
        let (trimming, signal) = (Rc::clone(&worker), shared.bounds.trim_signal());
        spawn_local(async move {
            loop {
                signal.notified().await;
                trimming.pool.borrow().trim(|origin| bounds::is_full(&trimming.shared, origin));
            }
        });
        let sweeping = Rc::clone(&worker);
        spawn_local(async move {
            let mut ticks = interval(sweeping.sweep_period());
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                sweeping.sweep();
            }
        });
        for listener in listeners {
            let accepting = accept_all(Rc::clone(&worker), listener, stop.clone(), shared.phase.watch());
            spawn_local(worker.tasks.track_future(accepting));
        }
        tokio::select! {
            () = drained(&worker, stop) => {}
            () = abort.cancelled() => {}
        }
        Ok(())
    })
}

/// Waits for `stop`, then for the end of all connections, helping along when it takes too long. A retired worker
/// waits far longer, as nobody waits for it.
async fn drained(worker: &Rc<Worker>, stop: &CancellationToken) {
    let mut phase = worker.shared.phase.watch();
    tokio::select! {
        () = stop.cancelled() => {}
        () = phase.retired() => {
            worker.close_all(Closing::Retire);
            worker.tasks.close();
            tokio::select! {
                () = stop.cancelled() => {}
                ended = timeout(worker.settings().timeouts.retire, worker.tasks.wait()) => {
                    if ended.is_ok() {
                        return;
                    }
                }
            }
        }
    }
    worker.close_all(Closing::Graceful);
    worker.tasks.close();
    if timeout(worker.settings().timeouts.drain, worker.tasks.wait()).await.is_err() {
        warn!(connections = worker.tasks.len(), "draining took too long, the remaining connections are cut");
        worker.cut.cancel();
        worker.close_all(Closing::Abort);
        // Cut connections end at their next poll; a second is far more than that takes.
        let _ = timeout(Duration::from_secs(1), worker.tasks.wait()).await;
    }
}

async fn accept_all(worker: Rc<Worker>, listener: Listener, stop: CancellationToken, mut phase: PhaseWatch) {
    loop {
        match phase.current() {
            Phase::Serving => {}
            // The queue belongs to the next process as well.
            Phase::Retired => return,
            Phase::Paused => {
                tokio::select! {
                    () = phase.changed() => continue,
                    () = stop.cancelled() => return,
                }
            }
        }
        let accepted = tokio::select! {
            biased;
            accepted = accept(&listener) => accepted,
            () = phase.changed() => continue,
            () = stop.cancelled() => break,
        };
        take(&worker, accepted).await;
    }
    // Whoever is in the queue already has a connection, and would lose it when the socket closes.
    while let Some(accepted) = futures_util::FutureExt::now_or_never(accept(&listener)) {
        if accepted.is_err() {
            break;
        }
        take(&worker, accepted).await;
    }
}

async fn accept(listener: &Listener) -> io::Result<(Stream, Option<SocketAddr>)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            configure(&stream);
            Ok((Stream::Tcp(stream), Some(address)))
        }
        Listener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            Ok((Stream::Unix(stream), None))
        }
    }
}

/// Small writes go out at once, and a peer that vanished is noticed within about a minute and a half.
pub(crate) fn configure(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(45))
        .with_interval(Duration::from_secs(15))
        .with_retries(3);
    // Neither option matters enough to refuse a connection.
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive)) {
        debug!(%error, "socket options not set");
    }
}

async fn take(worker: &Rc<Worker>, accepted: io::Result<(Stream, Option<SocketAddr>)>) {
    let (stream, remote) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            // Out of descriptors or memory: the queue keeps the clients until something was closed.
            if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                warn!(%error, "cannot accept connections for the moment");
                sleep(Duration::from_millis(50)).await;
            }
            return;
        }
    };
    let open = worker.shared.client_connections.fetch_add(1, Ordering::Relaxed);
    worker.stats.open_connections.inc();
    worker.stats.connections.inc();
    let place = Place(Rc::clone(worker));
    let serving: std::pin::Pin<Box<dyn Future<Output = ()>>> =
        if open >= worker.settings().limits.client_connections {
            worker.stats.refused_connections.inc();
            let worker = Rc::clone(worker);
            Box::pin(async move {
                refusal::refuse(&worker.shared, stream, remote, refusal::Bound::Proxy, place).await;
            })
        } else {
            Box::pin(connection::serve(Rc::clone(worker), stream, remote, place))
        };
    spawn_local(worker.tasks.track_future(serving));
}
