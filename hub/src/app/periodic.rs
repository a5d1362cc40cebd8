//! What the hub does every now and then: routes and activity, expired rows, members of workspaces, gauges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use hub_db::repo;
use tracing::{debug, error, info, warn};

use super::Hub;
use crate::audit::Audit;
use crate::routing::Proxy;

/// How often expired tokens, codes and shares are deleted.
const PURGE_PERIOD: Duration = Duration::from_hours(1);
/// Shortest pause between two checks because of routes that are missing.
const MISSING_PAUSE: Duration = Duration::from_millis(500);
/// Shortest pause between two beats of the clockwork.
const SHORTEST_NAP: Duration = Duration::from_millis(10);
/// Periods of the gauge of active users, as stock labels them, in days.
const ACTIVE_PERIODS: [(&str, i64); 3] = [("24h", 1), ("7d", 7), ("30d", 30)];

/// Starts all of it.
pub(super) fn start(hub: &Arc<Hub>) {
    let config = Arc::clone(&hub.config);
    let own = Arc::clone(hub);
    hub.tasks.every(config.hub.last_activity_interval.max(Duration::from_secs(1)), move || {
        let hub = Arc::clone(&own);
        async move {
            if let Err(error) = hub.check_routes().await {
                error!(%error, "cannot check the routes of the proxy");
            }
        }
    });
    if matches!(hub.routing.proxy(), Proxy::External(_)) && !config.proxy.check_interval.is_zero() {
        let own = Arc::clone(hub);
        hub.tasks.spawn(async move { watch_proxy(&own).await });
    }
    let own = Arc::clone(hub);
    hub.tasks.spawn(async move {
        let pause = own.config.hub.service_check_interval;
        loop {
            crate::services::answers::check_all(&own).await;
            if pause.is_zero() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    let own = Arc::clone(hub);
    hub.tasks.every(PURGE_PERIOD, move || {
        let hub = Arc::clone(&own);
        async move {
            match repo::purge::expired(hub.db.conn(), hub.clock.now()).await {
                Ok(purged) => debug!(?purged, "expired rows deleted"),
                Err(error) => error!(%error, "cannot delete expired rows"),
            }
        }
    });
    let own = Arc::clone(hub);
    hub.tasks.spawn(async move { open_missing_routes(&own).await });
    let own = Arc::clone(hub);
    hub.tasks.spawn(async move { crate::notices::follow(&own).await });
    if hub.workspaces.is_some() {
        let own = Arc::clone(hub);
        hub.tasks.every(config.workspaces.check_interval.max(Duration::from_secs(1)), move || {
            let hub = Arc::clone(&own);
            async move { crate::workspaces::periodically(&hub).await }
        });
    }
    if let Some(every) = hub.auth.authenticator.watches_accounts() {
        let own = Arc::clone(hub);
        hub.tasks.spawn(async move { crate::auth::closed::watch(&own, every).await });
    }
    if config.metrics.event_loop_interval_enabled {
        let own = Arc::clone(hub);
        hub.tasks.spawn(async move { beat(&own).await });
    }
    if config.audit.file.is_some() {
        let own = Arc::clone(hub);
        hub.tasks.every(Audit::SYNC_EVERY, move || {
            let hub = Arc::clone(&own);
            // The disk may be slow, and this runtime has better things to do than to wait for it.
            async move { drop(tokio::task::spawn_blocking(move || hub.audit.sync()).await) }
        });
    }
    if config.metrics.active_users_enabled {
        let own = Arc::clone(hub);
        hub.tasks.every(config.metrics.active_users_update_interval.max(Duration::from_secs(1)), move || {
            let hub = Arc::clone(&own);
            async move { count_users(&hub).await }
        });
        let own = Arc::clone(hub);
        hub.tasks.spawn(async move { count_users(&own).await });
    }
}

/// Opens routes to servers that other hubs have started as soon as somebody asks for one.
pub(super) async fn open_missing_routes(hub: &Hub) {
    loop {
        hub.routing.missing().await;
        if let Err(error) = hub.check_routes().await {
            error!(%error, "cannot open the route to a server that another hub has started");
        }
        tokio::time::sleep(MISSING_PAUSE).await;
    }
}

/// Looks whether the proxy has been started anew and lost its routes.
async fn watch_proxy(hub: &Hub) {
    let pause = hub.config.proxy.check_interval;
    let (mut away, mut took) = (false, Duration::ZERO);
    loop {
        // A proxy with very many routes is not asked all the time.
        tokio::time::sleep(pause.max(took * 20)).await;
        let asked = Instant::now();
        let intact = hub.routing.is_intact(&hub.own_route()).await;
        took = asked.elapsed();
        match intact {
            Ok(true) if !away => {}
            Ok(_) => {
                info!("the proxy was started anew and is told all routes");
                away = false;
                if let Err(error) = hub.check_routes().await {
                    error!(%error, "the proxy could not be told all routes");
                    away = true;
                }
            }
            Err(error) => {
                if !away {
                    warn!(%error, "the proxy is away");
                }
                away = true;
            }
        }
    }
}

/// Measures how long it takes to get back to work after a nap.
async fn beat(hub: &Hub) {
    let settings = &hub.config.metrics;
    let nap = settings.event_loop_interval_resolution.max(SHORTEST_NAP);
    loop {
        let began = Instant::now();
        tokio::time::sleep(nap).await;
        let interval = began.elapsed();
        hub.metrics.event_loop(interval);
        let delay = interval.saturating_sub(nap);
        if delay >= settings.event_loop_interval_log_threshold {
            warn!(seconds = delay.as_secs_f64(), "the hub came late to its work");
        }
    }
}

async fn count_users(hub: &Hub) {
    let counted = async {
        hub.metrics.set_total_users(repo::users::count(hub.db.conn()).await?);
        for (period, days) in ACTIVE_PERIODS {
            let since = hub.clock.now() - TimeDelta::days(days);
            hub.metrics
                .set_active_users(period, repo::users::count_active_since(hub.db.conn(), since).await?);
        }
        Ok::<_, hub_db::DbError>(())
    };
    if let Err(error) = counted.await {
        error!(%error, "cannot count users");
    }
}
