//! What the database tells of one server.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hub_core::{ServerKey, ServerName, ServerRef, SpawnError, UserName};
use hub_db::repo::spawners::Spawner as Row;
use serde_json::{Value, json};
use url::Url;

use crate::servers::notes::{self, AtWork, Stopping};
use crate::servers::{SpawnerId, failures};

/// What the database tells of one server.
#[derive(Debug, Clone)]
pub struct Record {
    /// Row in `spawners`.
    pub id: SpawnerId,
    /// Whose, which.
    pub key: ServerKey,
    /// Owner's row.
    pub user_id: i32,
    /// Saved state, `{}` when there is none.
    pub state: Value,
    /// Why the last start failed, where nothing was started since.
    pub failure: Option<Arc<SpawnError>>,
    /// Which hub works on the start.
    pub at_work: Option<AtWork>,
    /// The stop that a hub carries out, or has left.
    pub stopping: Option<Stopping>,
    /// Until when a start is owed, where the server was stopped to be started again.
    pub restart_until: Option<DateTime<Utc>>,
    /// Row in `servers`.
    pub server_id: Option<i32>,
    /// Where it is, once that is known.
    pub address: Option<Url>,
    /// OAuth client.
    pub oauth_client_id: Option<String>,
    /// When it was started.
    pub started: Option<DateTime<Utc>>,
    /// When somebody last used it.
    pub last_activity: Option<DateTime<Utc>>,
}

impl Record {
    /// Whether it runs, or is on its way.
    pub fn is_active(&self) -> bool {
        self.server_id.is_some()
    }

    /// Whether a spawner saved anything.
    pub fn has_state(&self) -> bool {
        self.state.as_object().is_some_and(|map| !map.is_empty())
    }

    /// For the spawner.
    pub fn server_ref(&self) -> ServerRef {
        ServerRef { key: self.key.clone(), state: self.state.clone(), address: self.address.clone() }
    }

    /// From rows, with the owner's name.
    pub fn of(row: &Row, owner: &str) -> Self {
        let name = ServerName::stored(row.row.name.clone());
        let mut state = row.row.state.clone().map_or_else(|| json!({}), |state| state.0);
        let failure = failures::take(&mut state).map(Arc::new);
        let at_work = notes::take_start(&mut state);
        let stopping = notes::take_stop(&mut state);
        let restart_until = notes::take_restart(&mut state);
        Self {
            id: row.row.id,
            key: ServerKey::new(UserName::stored(owner), name),
            user_id: row.row.user_id.unwrap_or_default(),
            state,
            failure,
            at_work,
            stopping,
            restart_until,
            server_id: row.server.as_ref().map(|server| server.id),
            address: row.server.as_ref().and_then(address),
            oauth_client_id: row.row.oauth_client_id.clone(),
            started: row.row.started.map(hub_db::Timestamp::utc),
            last_activity: row.row.last_activity.map(hub_db::Timestamp::utc),
        }
    }
}

/// The address in a `servers` row; none while it is not known (port 0).
pub fn address(server: &hub_db::entities::servers::Model) -> Option<Url> {
    let port = server.port.filter(|port| *port > 0)?;
    let proto = server.proto.as_deref().unwrap_or("http");
    let ip = match server.ip.as_deref().unwrap_or_default() {
        // Stock stores the address that the server binds; "everywhere" is reached on this machine.
        "" | "0.0.0.0" | "::" => "127.0.0.1",
        ip => ip,
    };
    let host = if ip.contains(':') && !ip.starts_with('[') { format!("[{ip}]") } else { ip.to_owned() };
    Url::parse(&format!("{proto}://{host}:{port}")).ok()
}
