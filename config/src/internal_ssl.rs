//! What `internal_ssl` of `[hub]` needs to be told in a table of its own.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Config;
use crate::spawner::SpawnerSection;

/// Authorities of `internal_ssl`, each with the folder of its name below `internal_certs_location`.
pub const AUTHORITIES: [&str; 5] =
    ["hub-ca", "notebooks-ca", "proxy-api-ca", "proxy-client-ca", "services-ca"];

/// An authority that somebody else made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorityFiles {
    /// Its private key, where the hub is to sign with it.
    pub key: Option<PathBuf>,
    /// Its certificate.
    pub cert: PathBuf,
    /// Certificates above it, believed as well.
    pub ca: Option<PathBuf>,
}

/// Key of an address by which servers reach the hub, in tables of spawners as well.
const CONNECT: &str = "hub_connect_url";

impl Config {
    /// All addresses by which servers are told to reach the hub, each with its key.
    pub fn hub_connect_urls(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        found.extend(self.hub.hub_connect_url.clone().map(|url| (format!("hub.{CONNECT}"), url)));
        of_spawner("spawner", &self.spawner, &mut found);
        for (name, profile) in &self.spawner.profiles {
            of_spawner(&format!("spawner.profiles.{name}"), &profile.spawner, &mut found);
        }
        found
    }
}

fn of_spawner(key: &str, spawner: &SpawnerSection, found: &mut Vec<(String, String)>) {
    found.extend(spawner.hub_connect_url.clone().map(|url| (format!("{key}.{CONNECT}"), url)));
    // The table of the spawner, with its own profiles and changes for groups.
    of_table(&format!("{key}.{}", spawner.kind), &spawner.options(&spawner.kind), found);
}

fn of_table(key: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                match value {
                    Value::String(url) if name == CONNECT => {
                        found.push((format!("{key}.{name}"), url.clone()));
                    }
                    value => of_table(&format!("{key}.{name}"), value, found),
                }
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                of_table(&format!("{key}[{index}]"), value, found);
            }
        }
        _ => {}
    }
}
