//! From a configuration to a hub that answers. Answers to `JupyterHub.start`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use anyhow::{Context as _, anyhow, bail};
use hub_config::{Config, Loaded};
use hub_proxy::{Heir, RouteTable, Succession};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::info;

use super::public::{Public, own_mark};
use super::shutdown::{Reason, Signals};
use super::tasks::Tasks;
use super::{Hub, Mode, listen, parts, periodic, shutdown};
use crate::internal_ssl::{self, InternalSsl};
use crate::registry::Registry;
use crate::routing::InProcess;
use crate::web as pages;

/// TLS handshakes that each worker may have under way: after a restart of the hub all servers come at once.
const HANDSHAKES: usize = 1024;

/// Runs the hub until it is told to stop, or until another process has taken over.
pub async fn run(loaded: Loaded, mode: Mode) -> anyhow::Result<()> {
    let runtime = Handle::current();
    let config = Arc::new(loaded.config);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        "Running Himalia, speaking JupyterHub {}",
        crate::JUPYTERHUB_VERSION
    );
    let in_process = mode == Mode::Serve && config.proxy.should_start;
    let socket = config.proxy.handover_socket.as_deref().filter(|_| in_process);
    let (mut succession, mut inherited) = Succession::begin(socket).await?;
    let listener = listen::bind(&config.hub.hub_bind_url, "hub.hub_bind_url", &mut inherited)?;
    internal_ssl::look(&config, parts::db_options(&config.db)).await?;
    InternalSsl::forget(&config.hub)?;
    let internal = InternalSsl::open(&config)?.map(Arc::new);
    let mut public = if in_process {
        Some(Public::bind(&config, &listener, internal.as_deref(), &mut inherited)?)
    } else {
        None
    };
    inherited.finish();
    if let Some(public) = &public {
        // The hub of the process before has ended when this returns.
        succession.take_routes(public.routes()).await?;
    }
    let mut after = succession.has_predecessor().then_some(succession);

    let reason = loop {
        let began = Instant::now();
        let own = public.as_ref().map(Public::for_hub);
        let running = Running::start(&config, listener.try_clone()?, internal.clone(), own, &runtime).await?;
        if let Some(public) = public.as_mut().filter(|_| after.is_none()) {
            public.serve(&runtime, None).await?;
        }
        // What runs from here on is ended in order.
        let mut signals = Signals::begin();
        running.start_services().await?;
        if let Some(public) = &mut public {
            public.serve(&runtime, after.take()).await?;
        }
        // Nobody waits for this: people who are at work have their routes.
        let told_early = tokio::select! {
            begun = running.begin() => {
                begun?;
                running.greet(began, public.is_some());
                false
            }
            () = signals.next() => true,
        };
        let (reason, heir) = if told_early {
            (Reason::Signal, None)
        } else {
            tokio::select! {
                reason = shutdown::wait(&running.hub, &mut signals) => (reason, None),
                heir = asked(public.as_ref()) => (Reason::Replaced, Some(heir)),
            }
        };
        running.stop(reason, public.as_ref()).await?;
        let given = match (heir, &mut public) {
            (Some(heir), Some(public)) => public.give(heir).await,
            _ => true,
        };
        if given {
            break reason;
        }
        info!("the hub goes on here");
    };
    drop(listener);
    match public {
        Some(public) if reason == Reason::Replaced => public.retire().await?,
        Some(public) => {
            tokio::select! {
                ended = public.ended() => ended?,
                () = shutdown::signalled() => return Err(impatient()),
            }
        }
        None => {}
    }
    info!("goodbye");
    if reason == Reason::GaveUp {
        bail!("too many servers failed to start in a row (spawner.consecutive_failure_limit)");
    }
    Ok(())
}

async fn asked(public: Option<&Public>) -> Heir {
    match public {
        Some(public) => public.asked().await,
        None => std::future::pending().await,
    }
}

fn impatient() -> anyhow::Error {
    anyhow!("told to end once more while ending: what is not done is left to the next hub")
}

/// A hub whose web server answers.
struct Running {
    hub: web::Data<Hub>,
    handle: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(
        config: &Arc<Config>,
        listener: TcpListener,
        internal: Option<Arc<InternalSsl>>,
        own_proxy: Option<InProcess>,
        runtime: &Handle,
    ) -> anyhow::Result<Self> {
        let (bound, tasks) = (listener.local_addr()?, Tasks::on(runtime.clone()));
        let tls = internal.as_deref().map(InternalSsl::listener).transpose()?;
        let registry = Registry::built_in();
        let hub = parts::build(Arc::clone(config), bound, internal, own_proxy, tasks, &registry).await?;
        let hub = web::Data::new(hub);
        hub.init().await?;
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8);
        let shared = hub.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .wrap(actix_web::middleware::from_fn(pages::middleware::around))
                .configure(|cfg| pages::routes::configure(cfg, &shared))
        })
        .workers(workers)
        .disable_signals()
        .shutdown_timeout(2)
        .max_connection_rate(HANDSHAKES)
        .client_request_timeout(Duration::from_secs(30));
        let server = match tls {
            Some(tls) => server.listen_rustls_0_23(listener, tls),
            None => server.listen(listener),
        };
        let server = server.context("cannot serve the hub")?.run();
        let handle = server.handle();
        let serving = runtime.spawn(server);
        hub.open_routes().await?;
        Ok(Self { hub, handle, serving })
    }

    /// The services that the hub runs. The last thing that may fail for a reason which lies in the configuration.
    async fn start_services(&self) -> anyhow::Result<()> {
        if let Err(error) = crate::services::managed::start(&self.hub).await {
            self.hub.managed.stop().await;
            return Err(error);
        }
        Ok(())
    }

    /// Servers that ran before, and what is done every now and then.
    async fn begin(&self) -> anyhow::Result<()> {
        self.hub.begin().await?;
        periodic::start(&self.hub.clone().into_inner());
        Ok(())
    }

    fn greet(&self, began: Instant, has_proxy: bool) {
        let hub = &self.hub;
        hub.metrics.started(began.elapsed());
        let address = if has_proxy { hub.public_address() } else { hub.urls.hub().to_owned() };
        info!(ms = began.elapsed().as_millis(), "JupyterHub is now running at {address}");
        hub.greet();
    }

    async fn stop(self, reason: Reason, public: Option<&Public>) -> anyhow::Result<()> {
        tokio::select! {
            () = shutdown::stop(&self.hub, reason, self.handle, public) => {}
            () = shutdown::signalled() => return Err(impatient()),
        }
        self.serving.await.context("the hub's web server was lost")??;
        shutdown::close_database(&self.hub).await;
        Ok(())
    }
}

/// A hub that listens nowhere, with the plugins of `registry` and a proxy that is only a table of routes: what tests
/// send requests to through [`crate::web::routes::configure`]. `bound` is where its servers would reach it.
pub async fn without_sockets(
    config: Config,
    bound: SocketAddr,
    registry: &Registry,
) -> anyhow::Result<web::Data<Hub>> {
    let tasks = Tasks::on(tokio::runtime::Handle::current());
    let routes = RouteTable::new(config.hub.subdomain_host().is_some());
    let own_proxy = InProcess { routes, scissors: None, mark: own_mark(&config)? };
    let hub = parts::build(Arc::new(config), bound, None, Some(own_proxy), tasks, registry).await?;
    hub.init().await?;
    hub.open_routes().await?;
    hub.begin().await?;
    let hub = web::Data::new(hub);
    let own = hub.clone();
    hub.tasks.spawn(async move { periodic::open_missing_routes(&own).await });
    let own = hub.clone();
    hub.tasks.spawn(async move { crate::notices::follow(&own).await });
    Ok(hub)
}
