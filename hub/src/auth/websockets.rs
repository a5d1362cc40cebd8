//! Websockets that were opened with what has just been revoked: the proxies of all hubs on the database are told to end
//! exactly those. Stock leaves them open.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hub_core::{ServerKey, ServerName, UserName};
use hub_db::entities::api_tokens::Model as ApiToken;
use hub_proxy::{Cut, TokenHash};
use tracing::warn;

use crate::app::Hub;
use crate::notices::Notice;
use crate::rbac::{ClientKind, HUB_CLIENT};
use crate::routing::decoded;

impl Hub {
    /// Ends the websockets of a browser's session, on all servers and services.
    pub fn cut_sessions(&self, sessions: impl IntoIterator<Item = String>) {
        let sessions: BTreeSet<String> = sessions.into_iter().collect();
        self.cut(sessions.into_iter().map(|id| Cut { session: Some(id), ..Cut::default() }).collect());
    }

    /// Ends the websockets that tokens opened which are no more. What a server or service got for a browser's session
    /// concerns that session there, and nowhere else. The tokens are gone whatever comes of it, so nothing fails by it.
    pub async fn cut_tokens(&self, revoked: &[ApiToken]) {
        let mut orders: Vec<Cut> = revoked.iter().filter_map(by_hash).collect();
        let mut routes = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (client, session) in revoked.iter().filter_map(of_client) {
            if !seen.insert((client, session)) {
                continue;
            }
            let route = match routes.entry(client) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.route_of_client(client).await),
            };
            orders.extend(route.clone().map(|route| Cut {
                session: Some(session.to_owned()),
                route: Some(route),
                ..Cut::default()
            }));
        }
        self.cut(orders);
    }

    /// The same where the sessions end as a whole: only the tokens of scripts are left to be told of.
    pub fn cut_sessions_and_scripts(&self, sessions: BTreeSet<String>, revoked: &[ApiToken]) {
        let sessions = sessions.into_iter().map(|id| Cut { session: Some(id), ..Cut::default() });
        self.cut(sessions.chain(revoked.iter().filter_map(by_hash)).collect());
    }

    /// Where the server or service with this OAuth client is reached; nowhere when that cannot be told now.
    async fn route_of_client(&self, client: &str) -> Option<String> {
        let path = match self.rbac.client_of(self.db.conn(), Some(client)).await {
            Ok(ClientKind::Server(user, server)) => {
                let key = ServerKey::new(UserName::stored(user), ServerName::stored(server));
                self.urls.server_route(&key)
            }
            Ok(ClientKind::Service(name)) => self.urls.service_route(&name),
            Ok(ClientKind::Hub | ClientKind::Orphan) => return None,
            Err(error) => {
                warn!(client, %error, "websockets of a token that ended may go on");
                return None;
            }
        };
        Some(decoded(&path))
    }

    /// Gives the orders beside whatever goes on: a proxy that is away for a moment delays nobody.
    fn cut(&self, orders: Vec<Cut>) {
        if orders.is_empty() {
            return;
        }
        self.notices.tell(&self.tasks, Notice::of_cuts(&orders));
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

/// The client and the browser's session that a token was made for.
fn of_client(token: &ApiToken) -> Option<(&str, &str)> {
    let client = token.client_id.as_deref().filter(|client| *client != HUB_CLIENT)?;
    Some((client, token.session_id.as_deref()?))
}

/// The order for a token that a script sends along with what it opens.
fn by_hash(token: &ApiToken) -> Option<Cut> {
    if token.client_id.as_deref().is_some_and(|client| client != HUB_CLIENT) {
        return None;
    }
    let (prefix, hashed) = (token.prefix.clone()?, token.hashed.clone()?);
    Some(Cut { token_hash: Some(TokenHash { prefix, hashed }), ..Cut::default() })
}
