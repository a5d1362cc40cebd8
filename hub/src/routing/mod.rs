//! Routes of the proxy: wanted ones from the database, existing ones from the proxy, made equal.

mod external;
mod mark;
mod reconcile;
mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::HeaderMap;
use chrono::{DateTime, Utc};
use hub_core::ServerKey;
use hub_proxy::{Cut, RouteTable, Scissors};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::sync::{Notify, RwLock, RwLockWriteGuard};

pub use external::{ExternalProxy, ExternalSettings};
pub use mark::{MARK_HEADER, Mark};
pub use reconcile::Wanted;
use reconcile::check;
pub use wanted::CheckError;

use crate::metrics::{Metrics, Outcome};

/// Characters that stay bare in a routespec, as stock quotes keys that come back from the proxy.
const ROUTESPEC: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@').remove(b'/');

/// One spelling for a routespec: percent-encoded with `@`, `/` and `~` bare, a slash at both ends.
pub fn canonical(routespec: &str) -> String {
    let decoded = percent_decode_str(routespec).decode_utf8_lossy();
    let trimmed = decoded.trim_matches('/');
    if trimmed.is_empty() {
        return "/".to_owned();
    }
    format!("/{}/", utf8_percent_encode(trimmed, ROUTESPEC))
}

/// Why the proxy did not do what it was told.
#[derive(Debug, Error)]
pub enum RoutingError {
    /// It cannot be reached.
    #[error("the proxy at {url} does not answer: {cause}")]
    Unreachable {
        /// Its API.
        url: String,
        /// What went wrong.
        cause: String,
    },
    /// It answered with an error.
    #[error("the proxy at {url} answered {status} to {method} /api/{path}")]
    Refused {
        /// Its API.
        url: String,
        /// Status code.
        status: u16,
        /// Method of the call.
        method: &'static str,
        /// Its path below `/api/`.
        path: String,
    },
    /// An order about websockets cannot be written down.
    #[error("an order to end websockets cannot be written: {0}")]
    Order(serde_json::Error),
    /// The route cannot be.
    #[error("route {routespec}: {cause}")]
    Invalid {
        /// The route in question.
        routespec: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// One route as the proxy has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Where requests go.
    pub target: String,
    /// What the hub attached: `jupyterhub`, `user`, `server_name`, `hub`, `service`, `extra`.
    pub data: Map<String, Value>,
    /// Last traffic.
    pub last_activity: Option<DateTime<Utc>>,
}

/// The proxy that the hub feeds.
#[derive(Debug)]
pub enum Proxy {
    /// In this process.
    InProcess(InProcess),
    /// Another process with configurable-http-proxy's API.
    External(ExternalProxy),
}

/// The proxy in this process.
#[derive(Debug)]
pub struct InProcess {
    /// Its routes.
    pub routes: Arc<RouteTable>,
    /// What cuts its websockets; none where nothing listens.
    pub scissors: Option<Scissors>,
    /// What it writes on requests to the hub.
    pub mark: Mark,
}

/// The routes of this hub.
#[derive(Debug)]
pub struct Routing {
    proxy: Proxy,
    metrics: Arc<Metrics>,
    /// Held alone by a check, together by single changes: a check that ran beside a stop could put the route back.
    changing: RwLock<()>,
    /// Woken when a server was seen that runs and has no route here.
    missing: Notify,
}

/// The right to compare all routes with the wanted ones, while nothing else changes any.
#[derive(Debug)]
pub struct Checking<'a> {
    routing: &'a Routing,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl Routing {
    /// Routing through `proxy`.
    pub fn new(proxy: Proxy, metrics: Arc<Metrics>) -> Self {
        Self { proxy, metrics, changing: RwLock::new(()), missing: Notify::new() }
    }

    /// The proxy behind.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Whether a request has come through the proxy, as far as its mark tells: configurable-http-proxy writes none.
    pub fn has_marked(&self, headers: &HeaderMap) -> bool {
        match &self.proxy {
            Proxy::InProcess(own) => own.mark.is_on(headers),
            Proxy::External(proxy) => proxy.has_marked(headers),
        }
    }

    /// Adds or replaces a route.
    pub async fn add(
        &self,
        routespec: &str,
        target: &str,
        data: Map<String, Value>,
    ) -> Result<(), RoutingError> {
        let _together = self.changing.read().await;
        self.add_now(routespec, target, data).await
    }

    async fn add_now(
        &self,
        routespec: &str,
        target: &str,
        data: Map<String, Value>,
    ) -> Result<(), RoutingError> {
        let started = Instant::now();
        let result = match &self.proxy {
            Proxy::InProcess(InProcess { routes, .. }) => routes
                .add(&decoded(routespec), target, data)
                .map_err(|e| RoutingError::Invalid { routespec: routespec.to_owned(), cause: e.to_string() }),
            Proxy::External(proxy) => proxy.add(routespec, target, data).await,
        };
        self.metrics.proxy_add(outcome(&result), started.elapsed());
        result
    }

    /// Removes a route; one that is not there is no error.
    pub async fn remove(&self, routespec: &str) -> Result<(), RoutingError> {
        let _together = self.changing.read().await;
        self.remove_now(routespec).await
    }

    async fn remove_now(&self, routespec: &str) -> Result<(), RoutingError> {
        let started = Instant::now();
        let result = match &self.proxy {
            Proxy::InProcess(InProcess { routes, .. }) => {
                routes.remove(&decoded(routespec));
                Ok(())
            }
            Proxy::External(proxy) => proxy.remove(routespec).await,
        };
        self.metrics.proxy_delete(outcome(&result), started.elapsed());
        result
    }

    /// All routes, also those that are not the hub's, by canonical routespec.
    pub async fn list(&self) -> Result<BTreeMap<String, Route>, RoutingError> {
        let started = Instant::now();
        let routes = match &self.proxy {
            Proxy::InProcess(InProcess { routes, .. }) => routes
                .list()
                .into_iter()
                .map(|(routespec, route)| {
                    let last_activity = Some(route.last_activity);
                    (canonical(&routespec), Route { target: route.target, data: route.data, last_activity })
                })
                .collect(),
            Proxy::External(proxy) => proxy.list().await?,
        };
        self.metrics.proxy_poll(started.elapsed());
        Ok(routes)
    }

    /// Whether a route is there, as far as that can be told without asking: a proxy elsewhere is told by whichever hub
    /// makes a route, and is taken to have it.
    pub fn has(&self, routespec: &str) -> bool {
        match &self.proxy {
            Proxy::InProcess(InProcess { routes, .. }) => routes.get(&decoded(routespec)).is_some(),
            Proxy::External(_) => true,
        }
    }

    /// A server runs, for another hub has started it, and has no route here: a check is due.
    pub fn note_missing(&self) {
        self.missing.notify_one();
    }

    /// Waits for [`Self::note_missing`].
    pub async fn missing(&self) {
        self.missing.notified().await;
    }

    /// Whether the proxy still has the hub's own route. One that was started anew has lost it, and all
    /// others with it.
    pub async fn is_intact(&self, own_route: &str) -> Result<bool, RoutingError> {
        match &self.proxy {
            Proxy::InProcess(_) => Ok(true),
            Proxy::External(proxy) => proxy.has_hub_route(own_route).await,
        }
    }

    /// Ends the websockets that fit. A proxy that cannot do it, as configurable-http-proxy, is no error.
    pub async fn cut(&self, order: Cut) -> Result<(), RoutingError> {
        match &self.proxy {
            Proxy::InProcess(InProcess { scissors: None, .. }) => Ok(()),
            Proxy::InProcess(InProcess { scissors: Some(scissors), .. }) => {
                let scissors = scissors.clone();
                // Comparing many tokens with a hash takes its time.
                let count = tokio::task::spawn_blocking(move || scissors.cut(&order)).await;
                count.map(drop).map_err(|e| RoutingError::Unreachable {
                    url: "this process".to_owned(),
                    cause: e.to_string(),
                })
            }
            Proxy::External(proxy) => proxy.cut(&order).await,
        }
    }

    /// Begins a check, after the changes under way. What is wanted is to be found out after that.
    pub async fn begin_check(&self) -> Checking<'_> {
        Checking { routing: self, _alone: self.changing.write().await }
    }
}

impl Checking<'_> {
    /// Makes the routes of the hub equal to `wanted`; see `check`.
    pub async fn apply(self, wanted: &Wanted) -> Result<BTreeMap<String, Route>, RoutingError> {
        let started = Instant::now();
        let routes = check(self.routing, wanted).await?;
        self.routing.metrics.check_routes(started.elapsed());
        Ok(routes)
    }
}

/// The key of a route in the table, which is decoded as configurable-http-proxy's keys are.
pub(crate) fn decoded(routespec: &str) -> String {
    percent_decode_str(routespec).decode_utf8_lossy().into_owned()
}

fn outcome<T>(result: &Result<T, RoutingError>) -> Outcome {
    if result.is_ok() { Outcome::Success } else { Outcome::Failure }
}

/// The data that goes with a server's route.
pub fn server_data(key: &ServerKey) -> Map<String, Value> {
    object(json!({ "user": key.user, "server_name": key.server, "jupyterhub": true }))
}

/// The data that goes with the hub's own route.
pub fn hub_data() -> Map<String, Value> {
    object(json!({ "hub": true, "jupyterhub": true }))
}

/// The data that goes with a configured extra route.
pub fn extra_data() -> Map<String, Value> {
    object(json!({ "extra": true, "jupyterhub": true }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_route_has_one_spelling() {
        for text in ["/user/a@b c", "/user/a%40b%20c/", "user/a@b%20c/"] {
            assert_eq!(canonical(text), "/user/a@b%20c/");
        }
        assert_eq!(canonical(""), "/");
    }
}
