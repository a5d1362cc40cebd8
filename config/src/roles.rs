//! `[[roles]]`, `[groups]` and `[custom_scopes]`. Answers to `load_roles`, `load_groups` and `custom_scopes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One role. Lists of members are exact where they are given: whoever is not listed loses the role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoleSection {
    /// Name: 3 to 255 characters of `a-z0-9-_~.`, a letter first, a letter or digit last.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it allows.
    pub scopes: Option<Vec<String>>,
    /// Users that have it.
    pub users: Option<Vec<String>>,
    /// Services that have it.
    pub services: Option<Vec<String>>,
    /// Groups whose members have it.
    pub groups: Option<Vec<String>>,
}

/// One group: its members, or members and properties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum GroupSection {
    /// Names of the members.
    Members(Vec<String>),
    /// Members and properties.
    Full(GroupTable),
}

/// Members and properties of a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupTable {
    /// Names of the members.
    pub users: Vec<String>,
    /// Facts about the group for spawners and services to read.
    pub properties: Map<String, Value>,
}

impl GroupSection {
    /// The members.
    pub fn users(&self) -> &[String] {
        match self {
            Self::Members(users) | Self::Full(GroupTable { users, .. }) => users,
        }
    }

    /// The properties; empty when only members were given.
    pub fn properties(&self) -> Map<String, Value> {
        match self {
            Self::Members(_) => Map::new(),
            Self::Full(table) => table.properties.clone(),
        }
    }
}

/// A scope of your own, used by services. Its name begins with `custom:`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CustomScopeSection {
    /// What it allows.
    pub description: String,
    /// Custom scopes that it includes.
    pub subscopes: Vec<String>,
}
