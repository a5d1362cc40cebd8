//! From a configuration to a hub that answers. Answers to `JupyterHub.start`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use anyhow::{Context as _, bail};
use hub_config::{Config, Loaded};
use hub_proxy::RouteTable;
use tracing::info;

use super::tasks::Tasks;
use super::{Hub, Mode, listen, parts, periodic, shutdown};
use crate::registry::Registry;
use crate::web as pages;

/// Runs the hub until it is told to stop.
pub async fn run(loaded: Loaded, mode: Mode) -> anyhow::Result<()> {
    let began = Instant::now();
    let runtime = tokio::runtime::Handle::current();
    let config = Arc::new(loaded.config);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        "Running Himalia, speaking JupyterHub {}",
        crate::JUPYTERHUB_VERSION
    );
    let listener = listen::bind(&config.hub.hub_bind_url, "hub.hub_bind_url")?;
    let bound = listener.local_addr()?;
    let in_process = mode == Mode::Serve && config.proxy.should_start;
    let routes = RouteTable::new(false);
    let public =
        if in_process { Some(listen::bind_proxy(&config, bound, Arc::clone(&routes))?) } else { None };

    let hub = web::Data::new(
        parts::build(
            Arc::clone(&config),
            bound,
            in_process.then_some(routes),
            Tasks::on(runtime.clone()),
            &Registry::built_in(),
        )
        .await?,
    );
    if let Some(proxy) = &public {
        hub.routing.set_scissors(proxy.scissors());
    }
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
    .client_request_timeout(Duration::from_secs(30))
    .listen(listener)
    .context("cannot serve the hub")?
    .run();
    let handle = server.handle();
    let serving = runtime.spawn(server);

    hub.open_routes().await?;
    let stop = hub.tasks.stopping();
    let public_url = public.as_ref().map(|_| hub.public_address());
    let proxying = public.map(|proxy| runtime.spawn(proxy.run(stop.clone())));
    hub.begin().await?;
    if let Err(error) = crate::services::managed::start(&hub).await {
        hub.managed.stop().await;
        return Err(error);
    }
    periodic::start(&hub.clone().into_inner());
    hub.metrics.started(began.elapsed());
    info!(
        ms = began.elapsed().as_millis(),
        "JupyterHub is now running at {}",
        public_url.unwrap_or_else(|| hub.urls.hub().to_owned())
    );
    hub.greet();

    let reason = shutdown::wait(&hub).await;
    tokio::select! {
        stopped = shutdown::stop(&hub, reason, handle, proxying) => stopped?,
        () = shutdown::signalled() => {
            bail!("told to end once more while ending: what is not done is left to the next hub");
        }
    }
    serving.await.context("the hub's web server was lost")??;
    if reason == shutdown::Reason::GaveUp {
        bail!("too many servers failed to start in a row (spawner.consecutive_failure_limit)");
    }
    Ok(())
}

/// A hub that listens nowhere, with the plugins of `registry` and a proxy that is only a table of routes: what tests
/// send requests to through [`crate::web::routes::configure`]. `bound` is where its servers would reach it.
pub async fn without_sockets(
    config: Config,
    bound: SocketAddr,
    registry: &Registry,
) -> anyhow::Result<web::Data<Hub>> {
    let tasks = Tasks::on(tokio::runtime::Handle::current());
    let routes = Some(RouteTable::new(false));
    let hub = parts::build(Arc::new(config), bound, routes, tasks, registry).await?;
    hub.init().await?;
    hub.open_routes().await?;
    hub.begin().await?;
    Ok(web::Data::new(hub))
}
