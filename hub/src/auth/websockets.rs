//! Websockets that were opened with what has just been revoked: the proxy is told to end exactly those. Stock leaves
//! them open.

use std::collections::BTreeSet;
use std::sync::Arc;

use hub_core::names::escape_segment;
use hub_db::entities::api_tokens::Model as ApiToken;
use hub_db::{DbError, repo};
use hub_proxy::{Cut, TokenHash};
use tracing::warn;

use crate::app::Hub;
use crate::rbac::HUB_CLIENT;
use crate::routing::decoded;

impl Hub {
    /// Ends the websockets of a browser's session, on all servers and services.
    pub fn cut_sessions(&self, sessions: impl IntoIterator<Item = String>) {
        let sessions: BTreeSet<String> = sessions.into_iter().collect();
        self.cut(sessions.into_iter().map(|id| Cut { session: Some(id), ..Cut::default() }).collect());
    }

    /// Ends the websockets that tokens opened which are no more. What a server or service got for a browser's session
    /// concerns that session there, and nowhere else.
    pub async fn cut_tokens(&self, revoked: &[ApiToken]) -> Result<(), DbError> {
        let mut orders = Vec::new();
        let mut seen = BTreeSet::new();
        for token in revoked {
            match (token.client_id.as_deref(), &token.session_id) {
                (None | Some(HUB_CLIENT), _) => orders.extend(by_hash(token)),
                (Some(client), Some(session)) => {
                    if seen.insert((client, session)) {
                        let route = self.route_of_client(client).await?;
                        orders.extend(route.map(|route| Cut {
                            session: Some(session.clone()),
                            route: Some(route),
                            ..Cut::default()
                        }));
                    }
                }
                (Some(_), None) => {}
            }
        }
        self.cut(orders);
        Ok(())
    }

    /// Where the server or service with this OAuth client is reached.
    async fn route_of_client(&self, client: &str) -> Result<Option<String>, DbError> {
        if let Some(service) = repo::services::by_oauth_client(self.db.conn(), client).await? {
            let path = format!("{}services/{}/", self.urls.base(), escape_segment(&service.name));
            return Ok(Some(decoded(&path)));
        }
        let active = self.servers.store.active().await?;
        let server = active.iter().find(|record| record.oauth_client_id.as_deref() == Some(client));
        Ok(server.map(|record| decoded(&self.urls.server(&record.key))))
    }

    /// Gives the orders beside whatever goes on: a proxy that is away for a moment delays nobody.
    fn cut(&self, orders: Vec<Cut>) {
        if orders.is_empty() {
            return;
        }
        let routing = Arc::clone(&self.routing);
        self.tasks.spawn(async move {
            for order in orders {
                if let Err(error) = routing.cut(order).await {
                    warn!(%error, "websockets of a session or token that ended may go on");
                }
            }
        });
    }
}

fn by_hash(token: &ApiToken) -> Option<Cut> {
    let (prefix, hashed) = (token.prefix.clone()?, token.hashed.clone()?);
    Some(Cut { token_hash: Some(TokenHash { prefix, hashed }), ..Cut::default() })
}
