//! Users.

use std::collections::BTreeMap;

use hub_core::scopes::{Resource, ScopeSet};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Kind, Pending, Server, Service};
use crate::{Gate, Timestamp};

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Always [`Kind::User`].
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// Whether an administrator.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub admin: Gate<bool>,
    /// Names of roles, without those of groups.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub roles: Gate<Vec<String>>,
    /// Names of groups.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub groups: Gate<Vec<String>>,
    /// URL of the default server while that is ready.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub server: Gate<Option<String>>,
    /// What the default server is busy with.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub pending: Gate<Option<Pending>>,
    /// When the user was created.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub created: Gate<Option<Timestamp>>,
    /// When the user was last active.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub last_activity: Gate<Option<Timestamp>>,
    /// Login state. Null in lists even for those who may see it.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub auth_state: Gate<Option<Value>>,
    /// Servers by name: active ones, and stopped ones where those were asked for.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub servers: Gate<BTreeMap<String, Server>>,
    /// Facts for servers to show (display name, picture).
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub user_info: Gate<Option<Value>>,
}

impl User {
    /// Hides what `scopes` do not show; none where nothing is left, and then lists leave the user out. `groups` are
    /// the groups the user is in, as scopes may be limited to those.
    pub fn restrict(mut self, scopes: &ScopeSet, groups: &[String]) -> Option<Self> {
        let on = Resource::User { name: &self.name, groups };
        let can = |scope| scopes.filter_for(scope).includes(&on);
        let all = can("read:users");
        let (name, of_groups, activity) =
            (can("read:users:name"), can("read:users:groups"), can("read:users:activity"));
        let (servers, roles, auth_state) =
            (can("read:servers"), can("read:roles:users"), can("admin:auth_state"));
        if !(all || name || of_groups || activity || servers || roles || auth_state) {
            return None;
        }
        self.admin.keep_if(all || name || roles);
        self.user_info.keep_if(all || name);
        self.roles.keep_if(all || roles);
        self.groups.keep_if(all || of_groups);
        self.server.keep_if(all);
        self.pending.keep_if(all);
        self.created.keep_if(all);
        self.last_activity.keep_if(all || activity);
        self.auth_state.keep_if(auth_state);
        if let Gate::Shown(all_servers) = &mut self.servers {
            let shown: BTreeMap<String, Server> = std::mem::take(all_servers)
                .into_iter()
                .filter_map(|(key, server)| Some((key, server.restrict(scopes, &self.name, groups)?)))
                .collect();
            self.servers = if servers || !shown.is_empty() { Gate::Shown(shown) } else { Gate::Hidden };
        }
        Some(self)
    }
}

/// Who is behind a credential.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Identified {
    /// A user.
    User(Box<User>),
    /// A service.
    Service(Box<Service>),
}

impl<'de> Deserialize<'de> for Identified {
    /// By `kind`: every other field may be missing.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let model = Value::deserialize(deserializer)?;
        let service = model.get("kind").and_then(Value::as_str) == Some("service");
        let read = if service {
            serde_json::from_value(model).map(Self::Service)
        } else {
            serde_json::from_value(model).map(Self::User)
        };
        read.map_err(serde::de::Error::custom)
    }
}

/// The answer of `GET /hub/api/user`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelfModel {
    /// The owner of the credential.
    #[serde(flatten)]
    pub owner: Identified,
    /// Id of the token, null for a cookie.
    pub token_id: Option<String>,
    /// Browser session that the token belongs to.
    pub session_id: Option<String>,
    /// All that the credential allows, expanded and sorted.
    pub scopes: Vec<String>,
}
