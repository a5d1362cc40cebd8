//! The proxy as a program: public side, API, metrics, redirect, pid file, hand-over, signals.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    Proxy, RouteTable,
    api::{Api, ApiOptions},
    error::ProxyError,
    handover::{self, Estate, HandOverSocket},
    metrics::{Metrics, MetricsServer},
    options::{Listen, ProxyOptions},
    server::{Sockets, listener::Copies},
};

/// Everything that a proxy process consists of.
#[derive(Debug, Clone)]
pub struct Program {
    /// The public side.
    pub proxy: ProxyOptions,
    /// The REST API.
    pub api: ApiOptions,
    /// The first segment of a route is a host name.
    pub host_routing: bool,
    /// Where to serve metrics.
    pub metrics: Option<Listen>,
    /// Holds the process id while the program runs.
    pub pid_file: Option<PathBuf>,
    /// Routes are kept here over a restart.
    pub state_file: Option<PathBuf>,
    /// UNIX socket by which the next process takes over from this one, and this one from the one before.
    pub handover: Option<PathBuf>,
}

/// Why a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By SIGINT or SIGTERM.
    Signalled,
    /// Another process took over, and the last connection that stayed here has ended.
    Relieved,
}

type Task = Pin<Box<dyn Future<Output = Result<(), ProxyError>> + Send>>;

impl Program {
    /// Runs until a signal, or until another process has taken over; then drains.
    ///
    /// # Errors
    /// Options that cannot be used, an occupied address, an unreadable file: see [`ProxyError`].
    pub async fn run(self) -> Result<Ended, ProxyError> {
        let mut interrupt = on(SignalKind::interrupt())?;
        let mut terminate = on(SignalKind::terminate())?;
        let (predecessor, mut inherited) = self.inherit().await?;

        let shutdown = CancellationToken::new();
        let metrics = Metrics::new();
        let routes = match &self.state_file {
            Some(path) => RouteTable::persistent(self.host_routing, path)?,
            None => RouteTable::new(self.host_routing),
        };
        let default_target = self.proxy.default_target.clone();
        let public = describe(&self.proxy);
        let proxy =
            Proxy::bind_inheriting(self.proxy.clone(), routes.clone(), metrics.clone(), &mut inherited)?;
        let (phase, scissors) = (proxy.phase(), proxy.scissors());
        let mut api = Api::bind_inheriting(
            &self.api,
            Some(scissors.clone()),
            routes.clone(),
            metrics.clone(),
            &mut inherited,
        )?;
        api.server().follow_files(&proxy.certificates());
        let mut sockets = Copies::default();
        proxy.copy_sockets(&mut sockets)?;
        api.server().follow(phase.clone());
        api.server().copy_sockets(&mut sockets)?;
        let api_connections = api.server().connections();
        let api_scheme = if self.api.tls.is_some() { "https" } else { "http" };
        info!("Proxying {public} to {}", default_target.as_deref().unwrap_or("(no default)"));
        info!("Proxy API at {api_scheme}://{}/api/routes", self.api.listen);
        let mut tasks: Vec<Task> =
            vec![Box::pin(proxy.run(shutdown.clone())), Box::pin(api.run(shutdown.clone()))];
        if let Some(listen) = &self.metrics {
            let mut server = MetricsServer::bind_inheriting(listen, metrics, &mut inherited)?;
            server.server().follow(phase.clone());
            server.server().copy_sockets(&mut sockets)?;
            info!("Serve metrics at http://{listen}/metrics");
            tasks.push(Box::pin(server.run(shutdown.clone())));
        }
        inherited.finish();
        // Whatever may fail comes before the process that serves until now is relieved.
        let mut pid_file = self.pid_file.clone().map(PidFile::write).transpose()?;
        let mut offer = self.handover.as_deref().map(HandOverSocket::beside).transpose()?;

        let mut predecessor_ended = None;
        if let Some(predecessor) = predecessor {
            let (given, predecessor) =
                handover::blocking(move || (predecessor.routes(), predecessor)).await?;
            let given = given.map_err(|source| self.handover_problem(source))?;
            routes.restore(&given);
            if let Some(target) = &default_target {
                // The new process's own setting counts.
                let added = routes.add("/", target, serde_json::Map::new());
                added.map_err(|error| ProxyError::option("default_target", error.to_string()))?;
            }
            let (routes, scissors) = (routes.clone(), scissors.clone());
            let relieved = handover::blocking(move || predecessor.relieve(routes, &scissors)).await?;
            predecessor_ended = Some(relieved.map_err(|source| self.handover_problem(source))?);
        }
        if let Some(file) = &mut pid_file {
            file.before = None;
        }
        if let Some(Err(error)) = offer.as_mut().map(HandOverSocket::place) {
            warn!(%error, "no other process can take over from this one");
        }
        let giving: Pin<Box<dyn Future<Output = ()> + Send>> = match offer {
            None => {
                drop(sockets);
                Box::pin(std::future::pending())
            }
            Some(offer) => {
                let estate = Estate { sockets, phase, routes: routes.clone(), scissors };
                Box::pin(offer.given(estate, api_connections))
            }
        };
        // All is ours now: nothing that runs has this file.
        match (routes.keep(), &predecessor_ended) {
            (Ok(()), _) => {}
            (Err(error), Some(_)) => warn!(%error, "routes are not kept for the next start"),
            (Err(error), None) => return Err(error),
        }

        let mut running = futures_util::future::try_join_all(tasks);
        let relieved = tokio::select! {
            // Nothing ends by itself unless it failed.
            ended = &mut running => return Err(ended.err().unwrap_or(ProxyError::WorkerLost)),
            () = giving => true,
            _ = interrupt.recv() => { warn!("Interrupted"); false }
            _ = terminate.recv() => { warn!("Terminated"); false }
        };
        if relieved {
            // What the process before still serves is reached through this one.
            let all = async {
                (&mut running).await?;
                if let Some(ended) = predecessor_ended {
                    let _ = ended.await;
                }
                Ok(Ended::Relieved)
            };
            tokio::select! {
                ended = all => return ended,
                _ = interrupt.recv() => warn!("Interrupted"),
                _ = terminate.recv() => warn!("Terminated"),
            }
        }
        shutdown.cancel();
        tokio::select! {
            ended = running => { ended?; }
            _ = interrupt.recv() => warn!("Interrupted again, not waiting any longer"),
            _ = terminate.recv() => warn!("Terminated again, not waiting any longer"),
        }
        Ok(Ended::Signalled)
    }

    /// Sockets of the process before, or of the service manager.
    async fn inherit(&self) -> Result<(Option<handover::Predecessor>, Sockets), ProxyError> {
        handover::inherit(self.handover.clone()).await
    }

    fn handover_problem(&self, source: std::io::Error) -> ProxyError {
        let path = self.handover.as_deref().unwrap_or(Path::new("hand-over")).display().to_string();
        ProxyError::File { path, source }
    }
}

fn on(kind: SignalKind) -> Result<Signal, ProxyError> {
    signal(kind).map_err(|source| ProxyError::File { path: "signal handler".to_owned(), source })
}

fn describe(options: &ProxyOptions) -> String {
    let scheme = if options.is_secure() { "https" } else { "http" };
    let all: Vec<String> = options.listen.iter().map(|listen| format!("{scheme}://{listen}")).collect();
    all.join(", ")
}

/// The process id in a file, for as long as the process runs.
#[derive(Debug)]
struct PidFile {
    path: PathBuf,
    /// What was in it, as long as that process may go on.
    before: Option<Vec<u8>>,
}

impl PidFile {
    fn write(path: PathBuf) -> Result<Self, ProxyError> {
        let before = std::fs::read(&path).ok();
        match std::fs::write(&path, std::process::id().to_string()) {
            Ok(()) => Ok(Self { path, before }),
            Err(source) => Err(ProxyError::File { path: path.display().to_string(), source }),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The file may be that of the process that took over.
        let own =
            std::fs::read_to_string(&self.path).is_ok_and(|id| id.trim() == std::process::id().to_string());
        let left = match &self.before {
            _ if !own => Ok(()),
            Some(before) => std::fs::write(&self.path, before),
            None => std::fs::remove_file(&self.path),
        };
        if let Err(error) = left {
            warn!(path = %self.path.display(), %error, "pid file cannot be removed");
        }
    }
}
