//! What a service account has asked of the API server, from the server's own audit log.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;

use super::account::{Account, CHART_ROLE};
use super::bed::Bed;

/// A request to the API server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deed {
    /// The verb, as in rules of a Role.
    pub verb: String,
    /// The resource with its subresource (`pods/log`); the path of what is no resource.
    pub resource: String,
    /// The namespace; empty for what is in none, or for all of them.
    pub namespace: String,
}

impl Deed {
    /// Whether the chart's Role is about it.
    pub fn in_the_charts_role(&self) -> bool {
        !self.namespace.is_empty()
            && CHART_ROLE.iter().any(|(resources, verbs)| {
                resources.contains(&self.resource.as_str()) && verbs.contains(&self.verb.as_str())
            })
    }
}

/// The deeds of one account.
#[derive(Debug)]
pub struct Audit {
    bed: Arc<Bed>,
    user: String,
}

impl Audit {
    /// Of this account.
    pub fn of(bed: &Arc<Bed>, account: &Account) -> Self {
        Self { bed: bed.clone(), user: account.user.clone() }
    }

    /// All different things that it has asked for, allowed or not.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn deeds(&self) -> Result<BTreeSet<Deed>> {
        Ok(self.entries()?.iter().map(deed).collect())
    }

    /// How often it has done this to this resource.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn count(&self, verb: &str, resource: &str) -> Result<usize> {
        let deeds = self.entries()?;
        Ok(deeds.iter().map(deed).filter(|deed| deed.verb == verb && deed.resource == resource).count())
    }

    fn entries(&self) -> Result<Vec<Value>> {
        let log = fs::read_to_string(self.bed.audit_log())?;
        let mut entries = Vec::new();
        // The last line may be half written.
        for line in log.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let entry: Value = serde_json::from_str(line).with_context(|| format!("audit log: {line}"))?;
            if text(&entry, "/user/username") == self.user {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

fn deed(entry: &Value) -> Deed {
    let resource = match (text(entry, "/objectRef/resource"), text(entry, "/objectRef/subresource")) {
        ("", _) => text(entry, "/requestURI").to_owned(),
        (resource, "") => resource.to_owned(),
        (resource, subresource) => format!("{resource}/{subresource}"),
    };
    Deed {
        verb: text(entry, "/verb").to_owned(),
        resource,
        namespace: text(entry, "/objectRef/namespace").to_owned(),
    }
}

fn text<'a>(entry: &'a Value, pointer: &str) -> &'a str {
    entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
