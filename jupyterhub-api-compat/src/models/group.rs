//! Groups.

use hub_core::scopes::{Resource, ScopeSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kind;
use crate::Gate;

/// A group of users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Always [`Kind::Group`].
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// Names of roles.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub roles: Gate<Vec<String>>,
    /// Names of members.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub users: Gate<Vec<String>>,
    /// Whatever administrators keep with it.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub properties: Gate<Map<String, Value>>,
}

impl Group {
    /// Hides what `scopes` do not show; none where nothing is left. Stock sends `{}` in that place.
    pub fn restrict(mut self, scopes: &ScopeSet) -> Option<Self> {
        let on = Resource::Group(&self.name);
        let can = |scope| scopes.filter_for(scope).includes(&on);
        let (all, name, roles) = (can("read:groups"), can("read:groups:name"), can("read:roles:groups"));
        self.users.keep_if(all);
        self.properties.keep_if(all);
        self.roles.keep_if(roles);
        (all || name || roles).then_some(self)
    }
}
