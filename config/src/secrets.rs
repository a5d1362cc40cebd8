//! The raw tables that plugins read, and which of their keys are secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whether a key of a plugin's table holds a secret, by its name: the plugins' own structs are not known here.
pub(crate) fn is_secret_name(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "passwd", "secret", "token", "passphrase"].iter().any(|word| {
        key == *word || key.strip_suffix(word).is_some_and(|rest| rest.ends_with('_') || rest.ends_with('-'))
    })
}

/// The tables of plugins (`[authenticator.dummy]`, `[spawner.local]`), as written. The plugin reads its own into a
/// struct that refuses unknown keys. Debug output shows the names of the tables only, for they may hold secrets.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginTables(BTreeMap<String, Map<String, Value>>);

impl PluginTables {
    /// The table of one plugin; an empty table where the configuration has none.
    pub fn of(&self, kind: &str) -> Value {
        Value::Object(self.0.get(kind).cloned().unwrap_or_default())
    }

    /// The names of the plugins that have a table.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Puts the table of a plugin in place, for tests and embedders.
    pub fn insert(&mut self, kind: impl Into<String>, table: Map<String, Value>) {
        self.0.insert(kind.into(), table);
    }
}

impl fmt::Debug for PluginTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
