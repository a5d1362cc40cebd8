//! A stand-in for `jupyterhub-singleuser` that needs little: for tests and load with a hundred servers at once.
//!
//! Towards the hub it does all that the real one does: it reads the `JUPYTERHUB_*` environment, looks for the hub
//! before it listens, logs people in by OAuth with PKCE, checks their scopes, reports activity, and ends on SIGTERM
//! or SIGINT. Instead of notebooks it has a few pages that tell what it knows (see [`routes`]). Arguments are
//! ignored, so that it can take the place of the real command with whatever arguments that has.

mod activity;
mod client;
mod cookies;
mod hub;
mod login;
mod oauth;
mod routes;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::activity::Activity;
use crate::hub::Hub;
use crate::login::Logins;
use crate::routes::App;
use crate::settings::Settings;

/// Most connections at once; further ones wait.
const MOST_CONNECTIONS: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let settings = Arc::new(Settings::from_env(&std::env::vars().collect())?);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ended = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        served = serve(settings) => served,
        () = ended => {
            eprintln!("asked to end");
            Ok(())
        }
    }
}

async fn serve(settings: Arc<Settings>) -> anyhow::Result<()> {
    let hub = Hub::new(Arc::clone(&settings));
    let version = hub.wait_until_there().await?;
    let bind = (settings.host.as_str(), settings.port);
    let listener =
        TcpListener::bind(bind).await.with_context(|| format!("cannot listen on {}:{}", bind.0, bind.1))?;
    eprintln!("listening on {}:{}{}", bind.0, bind.1, settings.prefix);
    let activity = Arc::new(Activity::default());
    let app = Arc::new(App {
        logins: Logins::default(),
        hub: hub.clone(),
        activity: Arc::clone(&activity),
        version,
        settings,
    });
    tokio::select! {
        accepted = accept(listener, app) => accepted,
        () = activity.report(&hub) => Ok(()),
    }
}

async fn accept(listener: TcpListener, app: Arc<App>) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // too many open files, say: that passes
                eprintln!("cannot accept a connection: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let app = Arc::clone(&app);
                async move { Ok::<_, std::convert::Infallible>(app.answer(&request).await) }
            });
            // A peer that goes away in the middle is the peer's business.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(place);
        });
    }
}
