//! Makes the proxy's routes equal to what the database says. Answers to `Proxy.check_routes`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tracing::{info, warn};

use super::{Route, Routing, RoutingError};

/// What should be there.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Routes that must be there: canonical routespec to target and data.
    pub routes: BTreeMap<String, (String, Map<String, Value>)>,
    /// Routes left alone whether they are there or not: of servers that are just being started or stopped.
    pub undecided: BTreeSet<String>,
}

/// Adds what is missing, corrects other targets, deletes routes of the hub that nobody wants. Routes that the hub
/// did not make (without `jupyterhub` in their data) stay. Returns what was there before, for their activity.
///
/// One route that cannot be set does not keep the others from being set; the first error is returned at the end.
pub(super) async fn check(
    routing: &Routing,
    wanted: &Wanted,
) -> Result<BTreeMap<String, Route>, RoutingError> {
    let existing = routing.list().await?;
    let mut first_error = None;
    for (routespec, (target, data)) in &wanted.routes {
        if wanted.undecided.contains(routespec) {
            continue;
        }
        let present = existing.get(routespec);
        if present.is_some_and(|route| same_target(&route.target, target) && has_all(&route.data, data)) {
            continue;
        }
        match present {
            None => info!(%routespec, %target, "adding missing route"),
            Some(route) => warn!(%routespec, %target, found = %route.target, "correcting route"),
        }
        if let Err(error) = routing.add_now(routespec, target, data.clone()).await {
            first_error.get_or_insert(error);
        }
    }
    for (routespec, route) in &existing {
        let ours = route.data.get("jupyterhub").is_some_and(|v| *v == Value::Bool(true));
        if !ours || wanted.routes.contains_key(routespec) || wanted.undecided.contains(routespec) {
            continue;
        }
        warn!(%routespec, target = %route.target, "deleting stale route");
        if let Err(error) = routing.remove_now(routespec).await {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(existing), Err)
}

fn same_target(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

fn has_all(present: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| present.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hub_proxy::RouteTable;

    use super::super::{InProcess, Mark, Proxy, canonical, extra_data, hub_data};
    use super::*;
    use crate::metrics::Metrics;

    fn in_process(routes: Arc<RouteTable>) -> Routing {
        let metrics = Arc::new(Metrics::new(&hub_config::MetricsSection::default()).unwrap());
        Routing::new(
            Proxy::InProcess(InProcess { routes, scissors: None, mark: Mark::from_secret(b"") }),
            metrics,
        )
    }

    #[tokio::test]
    async fn missing_routes_come_stale_ones_go_and_foreign_ones_stay() {
        let table = RouteTable::new(false);
        table.add("/user/gone/", "http://127.0.0.1:1", hub_data()).unwrap();
        table.add("/user/pending/", "http://127.0.0.1:2", hub_data()).unwrap();
        table.add("/foreign/", "http://127.0.0.1:3", Map::new()).unwrap();
        table.add("/moved/", "http://127.0.0.1:4", extra_data()).unwrap();
        let routing = in_process(table);
        let wanted = Wanted {
            routes: BTreeMap::from([
                (canonical("/"), ("http://127.0.0.1:8081".to_owned(), hub_data())),
                (canonical("/moved"), ("http://127.0.0.1:5".to_owned(), extra_data())),
            ]),
            undecided: BTreeSet::from([canonical("/user/pending")]),
        };
        routing.begin_check().await.apply(&wanted).await.unwrap();
        let routes = routing.list().await.unwrap();
        let found: Vec<_> =
            routes.iter().map(|(k, r)| (k.as_str(), r.target.trim_end_matches('/'))).collect();
        assert_eq!(
            found,
            [
                ("/", "http://127.0.0.1:8081"),
                ("/foreign/", "http://127.0.0.1:3"),
                ("/moved/", "http://127.0.0.1:5"),
                ("/user/pending/", "http://127.0.0.1:2"),
            ]
        );
    }

    #[tokio::test]
    async fn a_route_removed_during_a_check_stays_away() {
        let routing = in_process(RouteTable::new(false));
        let check = routing.begin_check().await;
        let routes =
            BTreeMap::from([(canonical("/user/ada"), ("http://127.0.0.1:1".to_owned(), hub_data()))]);
        let wanted = Wanted { routes, ..Wanted::default() };
        let stop = routing.remove("/user/ada/");
        let (removed, checked) = tokio::join!(biased; stop, check.apply(&wanted));
        removed.unwrap();
        checked.unwrap();
        assert!(routing.list().await.unwrap().is_empty());
    }
}
