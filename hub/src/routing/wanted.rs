//! Which routes there should be, from the database and the configuration.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hub_db::repo;
use serde_json::{Map, Value, json};

use super::{Route, RoutingError, Wanted, canonical, extra_data, hub_data, server_data};
use crate::app::Hub;
use crate::servers::live::Pending;

impl Hub {
    /// The route of the hub itself: all that nothing else is there for, unless the configuration gives it less.
    pub(crate) fn own_route(&self) -> String {
        canonical(self.config.hub.hub_routespec.as_deref().unwrap_or(self.urls.hub_route()))
    }

    /// Routes of hub, servers, services and configuration.
    async fn wanted_routes(&self) -> Result<Wanted, hub_db::DbError> {
        let mut wanted = Wanted::default();
        wanted.routes.insert(self.own_route(), (self.urls.connect(), hub_data()));
        for (routespec, target) in &self.config.proxy.extra_routes {
            wanted.routes.insert(canonical(routespec), (target.clone(), extra_data()));
        }
        for record in self.servers.store.active().await? {
            let routespec = canonical(&self.urls.server_route(&record.key));
            match (self.servers.snapshot(record.id).pending, &record.address) {
                (Some(Pending::Spawn | Pending::Stop), _) | (_, None) => {
                    wanted.undecided.insert(routespec);
                }
                (None, _)
                    if self.servers.store.is_elsewhere(&record)
                        || self.servers.store.is_being_stopped_elsewhere(&record) =>
                {
                    wanted.undecided.insert(routespec);
                }
                (_, Some(address)) => {
                    wanted.routes.insert(routespec, (address.to_string(), server_data(&record.key)));
                }
            }
        }
        for service in repo::services::all(self.db.conn()).await? {
            if let Some(url) = service.url.as_deref().filter(|url| !url.is_empty()) {
                let routespec = canonical(&self.urls.service_route(&service.name));
                wanted.routes.insert(routespec, (url.to_owned(), service_data(&service.name)));
            }
        }
        Ok(wanted)
    }

    /// Makes the proxy's routes what they should be, and takes over the activity that the proxy saw.
    pub async fn check_routes(&self) -> Result<(), CheckError> {
        let check = self.routing.begin_check().await;
        let wanted = self.wanted_routes().await?;
        let routes = check.apply(&wanted).await?;
        self.take_over_activity(&routes).await?;
        Ok(())
    }

    /// Activity of servers and their owners, never backwards.
    async fn take_over_activity(&self, routes: &BTreeMap<String, Route>) -> Result<(), hub_db::DbError> {
        let seen: BTreeMap<&str, DateTime<Utc>> = routes
            .iter()
            .filter_map(|(routespec, route)| Some((routespec.as_str(), route.last_activity?)))
            .collect();
        let mut active = 0;
        for record in self.servers.store.active().await? {
            active += u64::from(record.address.is_some());
            let routespec = canonical(&self.urls.server_route(&record.key));
            let Some(at) = seen.get(routespec.as_str()) else { continue };
            let resolution = self.activity.resolution();
            if record.last_activity.is_some_and(|last| *at - last <= resolution) {
                continue;
            }
            if repo::spawners::bump_activity(self.db.conn(), record.id, *at, resolution).await? {
                repo::users::bump_activity(self.db.conn(), record.user_id, *at, resolution).await?;
            }
        }
        self.metrics.set_running_servers(active);
        Ok(())
    }
}

/// Why the routes could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The proxy did not do what it was told.
    #[error(transparent)]
    Proxy(#[from] RoutingError),
    /// The database did not answer.
    #[error(transparent)]
    Db(#[from] hub_db::DbError),
}

fn service_data(name: &str) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("service".to_owned(), json!(name));
    data.insert("jupyterhub".to_owned(), json!(true));
    data
}
