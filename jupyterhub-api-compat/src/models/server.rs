//! Servers of users.

use hub_core::scopes::{Resource, ScopeSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Gate, Timestamp};

/// What a server is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    /// Starting.
    Spawn,
    /// Stopping.
    Stop,
    /// Being looked for after the hub started.
    Check,
    /// Getting another name.
    Rename,
}

/// A place in the line of starts. Not in JupyterHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// 1 is next.
    pub place: usize,
    /// When the start will begin, going by how long the last ones took; left out while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_at: Option<Timestamp>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// The name, empty for the default server.
    pub name: String,
    /// What people see. Null for servers from before version 6.
    #[serde(default)]
    pub display_name: Option<String>,
    /// `user/name`.
    pub full_name: String,
    /// When it was last used.
    pub last_activity: Option<Timestamp>,
    /// When it was started; null when stopped.
    pub started: Option<Timestamp>,
    /// What it is busy with.
    pub pending: Option<Pending>,
    /// Its place in line; left out unless its start waits for its turn. Not in JupyterHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Whether it can be used.
    pub ready: bool,
    /// Whether it is neither running nor pending.
    pub stopped: bool,
    /// `/base/user/name/server/`, a full URL with subdomains.
    pub url: String,
    /// The options it was started with. A stopped one that never had any: null.
    pub user_options: Option<Value>,
    /// Where events of its start are streamed.
    pub progress_url: String,
    /// The full public URL, where the hub knows its own.
    pub full_url: Option<String>,
    /// The full public URL of the events.
    pub full_progress_url: Option<String>,
    /// What the spawner keeps about it.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub state: Gate<Option<Value>>,
}

impl Server {
    /// None if `scopes` do not show the server. Hides its state unless they show that, too.
    pub fn restrict(self, scopes: &ScopeSet, user: &str, user_groups: &[String]) -> Option<Self> {
        let on = Resource::Server { user, server: &self.name, user_groups };
        scopes
            .filter_for("read:servers")
            .includes(&on)
            .then(|| self.restrict_state(scopes, user, user_groups))
    }

    /// Hides the state unless `scopes` show it. For handlers that have decided already that the server itself may be
    /// seen: who may start a server gets its model without `read:servers`.
    pub fn restrict_state(mut self, scopes: &ScopeSet, user: &str, user_groups: &[String]) -> Self {
        let on = Resource::Server { user, server: &self.name, user_groups };
        let shown = scopes.filter_for("admin:server_state").includes(&on);
        self.state.keep_if(shown);
        self
    }
}
