//! The end of the hub: what it finishes, what it leaves for the next one.

use std::sync::Mutex;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::Hub;
use super::public::Public;

/// How long servers may take to stop when the hub stops them.
const SERVERS_DEADLINE: Duration = Duration::from_mins(1);
/// How long background work may take to end.
const TASKS_DEADLINE: Duration = Duration::from_secs(3);

/// How long statements under way may take to end.
const DATABASE_DEADLINE: Duration = Duration::from_secs(3);

/// Why the hub ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// SIGTERM or SIGINT.
    Signal,
    /// `POST /hub/api/shutdown`.
    Asked,
    /// Too many starts failed in a row.
    GaveUp,
    /// Another process takes over.
    Replaced,
}

/// What `POST /hub/api/shutdown` may say about servers; none leaves it to the configuration. About the proxy there is
/// nothing to choose: one in this process ends with it, one of another process goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Order {
    /// Whether servers are stopped.
    pub servers: Option<bool>,
}

/// The order to shut down, given at most once.
#[derive(Debug, Default)]
pub struct ShutdownRequest {
    order: Mutex<Order>,
    asked: tokio_util::sync::CancellationToken,
}

impl ShutdownRequest {
    /// Asks for the end of the hub.
    pub fn ask(&self, order: Order) {
        *self.order.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = order;
        self.asked.cancel();
    }

    fn order(&self) -> Order {
        *self.order.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Each SIGTERM and SIGINT since it was made.
#[derive(Debug)]
pub struct Signals(Option<[Signal; 2]>);

impl Signals {
    /// From now on a signal does not end the process by itself.
    pub fn begin() -> Self {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => Self(Some([terminate, interrupt])),
            (Err(error), _) | (_, Err(error)) => {
                error!(%error, "signals cannot be caught; the process must be killed");
                Self(None)
            }
        }
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let Some([terminate, interrupt]) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Waits for SIGTERM or SIGINT.
pub async fn signalled() {
    Signals::begin().next().await;
}

/// Waits for a reason to end.
pub async fn wait(hub: &Hub, signals: &mut Signals) -> Reason {
    let failed = hub.tasks.failed();
    tokio::select! {
        () = signals.next() => Reason::Signal,
        () = hub.shutdown.asked.cancelled() => Reason::Asked,
        () = failed.cancelled() => Reason::GaveUp,
    }
}

/// Ends everything of the hub in order: servers if they shall stop, requests, background work. With the background work
/// `public` takes no more connections.
pub(super) async fn stop(hub: &Hub, reason: Reason, web: ServerHandle, public: Option<&Public>) {
    let order = hub.shutdown.order();
    let stop_servers = reason != Reason::Replaced && order.servers.unwrap_or(hub.config.hub.cleanup_servers);
    info!(?reason, servers = stop_servers, "shutting down");
    hub.managed.stop().await;
    if stop_servers && let Err(error) = hub.servers.stop_all(SERVERS_DEADLINE).await {
        error!(%error, "cannot stop the servers: the database does not answer");
    }
    if reason != Reason::Replaced
        && let Some(public) = public
    {
        public.stop();
    }
    if !hub.tasks.stop(TASKS_DEADLINE).await {
        warn!("background work did not end in time");
    }
    hub.servers.let_go().await;
    web.stop(true).await;
}

/// Closes the database after everything else. One that is away, or a file that is left as it is, harms nobody.
pub(super) async fn close_database(hub: &Hub) {
    if tokio::time::timeout(DATABASE_DEADLINE, hub.events.exchange().written()).await.is_err() {
        warn!("those who listen to events are not told of the last ones");
    }
    match tokio::time::timeout(DATABASE_DEADLINE, hub.db.clone().close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the database was not closed"),
        Err(_) => warn!("the database was not closed in time"),
    }
}
