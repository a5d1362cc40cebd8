//! A bound proxy and its worker threads.

use std::{
    convert::Infallible,
    future::pending,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    os::fd::AsFd,
    sync::Arc,
    thread,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    descriptors,
    listener::{self, Bound, Copies},
    phase::PhaseControl,
    scissors::Scissors,
    settings::Settings,
    sockets::{Sockets, duplicate},
    tls::{self, Certificates},
    worker::{self, Shared},
};
use crate::{
    access_log::AccessLogger, acme::Acme, error::ProxyError, handover::Estate, http_server::HttpServer,
    metrics::Metrics, options::ProxyOptions, redirect, routes::RouteTable,
};

/// A proxy whose sockets are bound; clients wait in their queues until [`run`](Proxy::run).
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    /// For each worker its sockets.
    sockets: Vec<Vec<Bound>>,
    addresses: Vec<SocketAddr>,
    /// The port that leads to HTTPS.
    redirect: Option<(HttpServer, u16)>,
    acme: Option<Acme>,
}

impl Proxy {
    /// Checks the options, binds all sockets and adds the default target to `routes`.
    ///
    /// # Errors
    /// [`ProxyError::AddressInUse`] when another program has the address, [`ProxyError::Option`] when an option
    /// cannot be used, [`ProxyError::Listen`] and [`ProxyError::File`] otherwise.
    pub fn bind(options: ProxyOptions, routes: Arc<RouteTable>) -> Result<Self, ProxyError> {
        Self::bind_with_metrics(options, routes, Metrics::new())
    }

    /// As [`bind`](Self::bind), counting in `metrics`, which the API and the metrics listener may share.
    pub fn bind_with_metrics(
        options: ProxyOptions,
        routes: Arc<RouteTable>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ProxyError> {
        Self::bind_inheriting(options, routes, metrics, &mut Sockets::default())
    }

    /// As [`bind_with_metrics`](Self::bind_with_metrics), using sockets that are open already where their
    /// addresses fit.
    pub fn bind_inheriting(
        mut options: ProxyOptions,
        routes: Arc<RouteTable>,
        metrics: Arc<Metrics>,
        inherited: &mut Sockets,
    ) -> Result<Self, ProxyError> {
        descriptors::fit(&mut options.limits, &metrics);
        let settings = Settings::new(&options, &routes)?;
        let protocols: &[&str] = if options.http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let acme = options.acme.as_ref().map(Acme::prepare).transpose()?;
        let files = options.tls.clone().or_else(|| acme.as_ref().map(Acme::files));
        let challenges = acme.as_ref().map(Acme::challenges);
        let tls_server = files.map(|files| tls::server_config(&files, protocols, challenges)).transpose()?;
        let tls_client = tls::client_config(&options.client_tls, options.insecure)?;
        let access_log = AccessLogger::start(options.access_log, &metrics)?;
        let workers =
            options.workers.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let mut sockets: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for listen in &options.listen {
            let (bound, address) = listener::bind(listen, workers, inherited)?;
            addresses.extend(address);
            // A process before may have had more workers, and all its sockets go on.
            for (index, bound) in bound.into_iter().enumerate() {
                if let Some(sockets) = sockets.get_mut(index % workers) {
                    sockets.push(bound);
                }
            }
        }
        if let Some(target) = &options.default_target {
            routes
                .add("/", target, serde_json::Map::new())
                .map_err(|error| ProxyError::option("default_target", error.to_string()))?;
        }
        let shared = Arc::new(Shared::new(settings, routes, metrics, tls_server, tls_client, access_log));
        let redirect = match &options.redirect {
            Some((listen, port)) => {
                let mut server = HttpServer::bind(listen, None, inherited)?;
                server.follow(shared.phase.clone());
                info!("Redirecting http://{listen} to port {port}");
                Some((server, *port))
            }
            None => None,
        };
        Ok(Self { shared, sockets, addresses, redirect, acme })
    }

    /// The TCP addresses in the order of [`ProxyOptions::listen`], with the ports that the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// The metrics that this proxy counts in.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// What decides whether this process takes connections.
    pub fn phase(&self) -> PhaseControl {
        self.shared.phase.clone()
    }

    /// What reads changed certificates again, for as long as the proxy runs.
    pub(crate) fn certificates(&self) -> Certificates {
        self.shared.certificates.clone()
    }

    /// What cuts websockets by session, token or route.
    pub fn scissors(&self) -> Scissors {
        Scissors::new(Arc::clone(&self.shared.websockets))
    }

    /// What another process needs to take the place of this one, with `others`, sockets of the process that are not the
    /// proxy's.
    ///
    /// # Errors
    /// When the system grants no more descriptors.
    pub fn estate(&self, others: &[TcpListener]) -> Result<Estate, ProxyError> {
        let mut sockets = Copies::default();
        self.copy_sockets(&mut sockets)?;
        for other in others {
            let copy =
                duplicate(other.as_fd()).map_err(|error| ProxyError::listen(&"a copy of a socket", error));
            sockets.descriptors.push(copy?);
        }
        let routes = Arc::clone(&self.shared.routes);
        Ok(Estate { sockets, phase: self.phase(), routes, scissors: self.scissors() })
    }

    /// Second descriptors of all sockets.
    pub(crate) fn copy_sockets(&self, copies: &mut Copies) -> Result<(), ProxyError> {
        for socket in self.sockets.iter().flatten() {
            copies.add(socket).map_err(|error| ProxyError::listen(&"a copy of a socket", error))?;
        }
        match &self.redirect {
            Some((server, _)) => server.copy_sockets(copies),
            None => Ok(()),
        }
    }

    /// Serves until `shutdown`, then drains: no new connections, requests and websockets may end within
    /// [`Timeouts::drain`](crate::options::Timeouts::drain). Dropping the future stops at once.
    ///
    /// # Errors
    /// When a worker thread cannot be started or is lost; the others are stopped.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ProxyError> {
        let Self { shared, sockets, redirect, acme, .. } = self;
        let challenges = acme.as_ref().map(Acme::challenges);
        let redirecting = async {
            match redirect {
                Some((server, port)) => redirect::serve(server, port, challenges, shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let served = futures_util::future::try_join(serve(&shared, sockets, &shutdown), redirecting);
        tokio::select! {
            served = served => served.map(|_| ()),
            never = refresh_certificates(&shared) => match never {},
            never = order_certificates(&shared, acme.as_ref()) => match never {},
        }
    }
}

/// Runs the workers until they have drained.
async fn serve(
    shared: &Arc<Shared>,
    sockets: Vec<Vec<Bound>>,
    shutdown: &CancellationToken,
) -> Result<(), ProxyError> {
    // Cancelled when this future ends for whatever reason, so that no thread outlives it for long.
    let abort = CancellationToken::new();
    let _abort_on_drop = abort.clone().drop_guard();
    // A lost worker takes the others along, in order: they drain.
    let stop = shutdown.child_token();
    let mut ends = Vec::with_capacity(sockets.len());
    for (index, sockets) in sockets.into_iter().enumerate() {
        let (done, end) = oneshot::channel::<()>();
        let (shared, stop, abort) = (Arc::clone(shared), stop.clone(), abort.clone());
        thread::Builder::new()
            .name(format!("proxy-{index}"))
            .spawn(move || {
                if let Err(error) = worker::run(&shared, index, sockets, &stop, &abort) {
                    warn!(%error, worker = index, "proxy worker could not start");
                } else {
                    // Sent only after an orderly end: a panic or a failed start drops the sender instead.
                    let _ = done.send(());
                }
            })
            .map_err(|source| ProxyError::Worker { index, source })?;
        ends.push(end);
    }
    info!(workers = ends.len(), "proxy is serving");
    let mut lost = false;
    let mut waiting: futures_util::stream::FuturesUnordered<_> = ends.into_iter().collect();
    while let Some(end) = futures_util::StreamExt::next(&mut waiting).await {
        if end.is_err() {
            lost = true;
            stop.cancel();
        }
    }
    if lost { Err(ProxyError::WorkerLost) } else { Ok(()) }
}

/// Orders and renews the certificate, if that is wanted, for as long as this process takes connections.
async fn order_certificates(shared: &Shared, acme: Option<&Acme>) -> Infallible {
    if let (Some(acme), Some(tls)) = (acme, &shared.tls_server) {
        let mut phase = shared.phase.watch();
        let files = tls.files();
        tokio::select! {
            never = acme.keep(&files, &shared.metrics) => match never {},
            // The process that took over does it.
            () = phase.retired() => {}
        }
    }
    pending().await
}

/// Looks for changed certificates from time to time, for ever.
async fn refresh_certificates(shared: &Shared) -> Infallible {
    let mut ticks = tokio::time::interval(shared.settings.timeouts.certificate_check);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let certificates = shared.certificates.clone();
        // Reading files blocks; a panic in there would only mean that the old certificates stay.
        let _ = tokio::task::spawn_blocking(move || certificates.refresh()).await;
    }
}
