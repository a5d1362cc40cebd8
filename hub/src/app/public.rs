//! The proxy in the hub's process. It outlives a hub that makes room for another process.

use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hub_config::Config;
use hub_core::secret::ExposeSecret as _;
use hub_proxy::{Estate, Heir, Offer, Proxy, ProxyError, RouteTable, Scissors, Sockets, Succession};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{listen, shutdown};
use crate::internal_ssl::InternalSsl;
use crate::routing::{InProcess, Mark};

/// How long the next process may take from the end of the hub here until it serves. It starts a hub in that time, with
/// the services that it runs, while connections wait.
const TAKING: Duration = Duration::from_mins(1);

/// The mark of a proxy in the hub's process.
pub(super) fn own_mark(config: &Config) -> anyhow::Result<Mark> {
    let secret = hub_config::load_or_create_cookie_secret(&config.hub)?;
    Ok(Mark::from_secret(secret.secret.expose_secret()))
}

/// The public side of the process.
#[derive(Debug)]
pub(super) struct Public {
    routes: Arc<RouteTable>,
    scissors: Scissors,
    mark: Mark,
    /// Until it serves.
    bound: Option<(Proxy, Option<Estate>)>,
    serving: Option<JoinHandle<Result<(), ProxyError>>>,
    stop: CancellationToken,
    handover: Option<PathBuf>,
    offer: Option<Offer>,
    /// The process before this one: `None` in it once it has ended.
    predecessor: Option<oneshot::Receiver<()>>,
}

impl Public {
    /// Binds the public address, or uses the socket of the process before. `hub` is the socket of the hub beside it.
    pub(super) fn bind(
        config: &Config,
        hub: &TcpListener,
        internal: Option<&InternalSsl>,
        inherited: &mut Sockets,
    ) -> anyhow::Result<Self> {
        let routes = RouteTable::new(config.hub.subdomain_host().is_some());
        let address: SocketAddr = hub.local_addr()?;
        let mark = own_mark(config)?;
        let client_tls = internal.map(InternalSsl::proxy_client).unwrap_or_default();
        let proxy = listen::bind_proxy(config, address, Arc::clone(&routes), &mark, client_tls, inherited)?;
        let handover = config.proxy.handover_socket.clone();
        let estate =
            handover.is_some().then(|| proxy.estate(&[hub.try_clone()?]).map_err(anyhow::Error::new));
        Ok(Self {
            scissors: proxy.scissors(),
            mark,
            bound: Some((proxy, estate.transpose()?)),
            routes,
            serving: None,
            stop: CancellationToken::new(),
            handover,
            offer: None,
            predecessor: None,
        })
    }

    /// What a hub needs of it.
    pub(super) fn for_hub(&self) -> InProcess {
        InProcess {
            routes: Arc::clone(&self.routes),
            scissors: Some(self.scissors.clone()),
            mark: self.mark.clone(),
        }
    }

    /// Where requests go.
    pub(super) fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// Takes connections, unless it does already, and relieves the process before.
    pub(super) async fn serve(&mut self, runtime: &Handle, after: Option<Succession>) -> anyhow::Result<()> {
        let Some((proxy, estate)) = self.bound.take() else { return Ok(()) };
        // Before the process before is relieved: it goes on when this fails.
        let offer = self.handover.as_deref().zip(estate).map(|(path, estate)| Offer::new(path, estate));
        self.offer = offer.transpose().context("proxy.handover_socket")?;
        self.serving = Some(runtime.spawn(proxy.run(self.stop.clone())));
        if let Some(succession) = after {
            self.predecessor = succession.finish(Arc::clone(&self.routes), &self.scissors).await?;
        }
        if let Some(Err(error)) = self.offer.as_mut().map(Offer::place) {
            warn!(%error, "proxy.handover_socket: no other process can take over from this one");
        }
        Ok(())
    }

    /// Waits for a process that wants to take over.
    pub(super) async fn asked(&self) -> Heir {
        match &self.offer {
            Some(offer) => offer.asked().await,
            None => pending().await,
        }
    }

    /// Gives everything away; `false` when the other process failed.
    pub(super) async fn give(&mut self, heir: Heir) -> bool {
        let Some(offer) = &mut self.offer else { return false };
        let given = offer.give(heir, TAKING).await;
        if given {
            // Its copies of the sockets would keep them open after the other process.
            self.offer = None;
        }
        given
    }

    /// Takes no more connections, and lets those that are open end in time.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end of all connections after [`stop`](Self::stop).
    pub(super) async fn ended(mut self) -> anyhow::Result<()> {
        // Its copies of the sockets would go on accepting, for nobody.
        self.offer = None;
        if let Some(serving) = self.serving.take() {
            serving.await??;
        }
        Ok(())
    }

    /// After everything was given away: waits for the end of the connections that stayed here, and of the process
    /// before, whose websockets are reached through this one. A signal ends them.
    pub(super) async fn retire(mut self) -> anyhow::Result<()> {
        let stop = self.stop.clone();
        let predecessor = self.predecessor.take();
        let all = async {
            self.ended().await?;
            if let Some(predecessor) = predecessor {
                // An error says the same: it is gone.
                let _ = predecessor.await;
            }
            Ok(())
        };
        tokio::pin!(all);
        tokio::select! {
            ended = &mut all => return ended,
            () = shutdown::signalled() => stop.cancel(),
        }
        tokio::select! {
            ended = all => ended,
            () = shutdown::signalled() => {
                warn!("told to end once more, not waiting any longer");
                Ok(())
            }
        }
    }
}
