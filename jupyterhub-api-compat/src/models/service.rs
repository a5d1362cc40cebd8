//! Services.

use hub_core::scopes::{Resource, ScopeSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;
use crate::Gate;

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Always [`Kind::Service`].
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// Names of roles.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub roles: Gate<Vec<String>>,
    /// Whether it has the `admin` role.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub admin: Gate<bool>,
    /// Where it listens, empty if it does not.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub url: Gate<String>,
    /// Path under which the proxy offers it, empty if it does not.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub prefix: Gate<String>,
    /// The command of a service that the hub runs.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub command: Gate<Vec<String>>,
    /// Its process, 0 if there is none.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub pid: Gate<u32>,
    /// Whatever the site says about it.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub info: Gate<Value>,
    /// Whether the menu of services shows it.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub display: Gate<bool>,
}

impl Service {
    /// Hides what `scopes` do not show; none where nothing is left. Stock sends `{}` in that place.
    pub fn restrict(mut self, scopes: &ScopeSet) -> Option<Self> {
        let on = Resource::Service(&self.name);
        let can = |scope| scopes.filter_for(scope).includes(&on);
        let (all, name, roles) =
            (can("read:services"), can("read:services:name"), can("read:roles:services"));
        self.roles.keep_if(roles);
        self.url.keep_if(all);
        self.prefix.keep_if(all);
        self.command.keep_if(all);
        self.pid.keep_if(all);
        self.info.keep_if(all);
        self.display.keep_if(all);
        (all || name || roles).then_some(self)
    }
}
