//! The table of scopes, stock ones and a site's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::stock;

/// A scope that a site defines for its own services. Answers to an entry of `c.JupyterHub.custom_scopes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomScope {
    /// `custom:` and what the site likes, for example `custom:grader:read`.
    pub name: String,
    /// Sentence for people who are asked to consent.
    pub description: String,
    /// Other custom scopes of the same site that this one includes.
    #[serde(default)]
    pub subscopes: Vec<String>,
}

/// Why a custom scope is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CustomScopeError {
    /// The name is taken, with another meaning.
    #[error(
        "custom scope {0:?} is defined already with another description or other subscopes: rename one of them"
    )]
    Redefined(String),
    /// The name does not follow the rule.
    #[error(
        "invalid custom scope name {0:?}: it must be 'custom:' followed by at least three of a-z 0-9 - _ : *, the first \
         a letter or digit, the last none of '-' and ':'"
    )]
    BadName(String),
    /// A subscope is one of the hub's own.
    #[error(
        "custom scope {scope:?} may not include {subscope:?}: combine scopes of the hub in a role instead"
    )]
    StockSubscope {
        /// The custom scope.
        scope: String,
        /// What it wants to include.
        subscope: String,
    },
    /// A subscope is nowhere defined.
    #[error("custom scope {scope:?} includes {subscope:?}, which is not defined: define it as well")]
    UnknownSubscope {
        /// The custom scope.
        scope: String,
        /// What it wants to include.
        subscope: String,
    },
}

#[derive(Debug, Clone)]
struct Entry {
    description: Arc<str>,
    doc: Option<&'static str>,
    subscopes: Vec<Arc<str>>,
    /// The scope itself and all that it includes, sorted.
    closure: Vec<Arc<str>>,
}

/// What the table knows of one scope.
#[derive(Debug, Clone, Copy)]
pub struct ScopeInfo<'a> {
    /// For example `read:users`.
    pub name: &'a str,
    /// One sentence for people who are asked to consent.
    pub description: &'a str,
    /// One sentence for the manual.
    pub doc: &'a str,
    /// Direct subscopes.
    pub subscopes: &'a [Arc<str>],
}

/// All scopes that a hub knows. Built once at start and shared.
#[derive(Debug, Clone)]
pub struct ScopeTable {
    entries: BTreeMap<Arc<str>, Entry>,
}

impl ScopeTable {
    /// The scopes of JupyterHub 6.1 alone.
    pub fn stock() -> Self {
        let entries = stock::ROWS
            .iter()
            .map(|row| {
                let entry = Entry {
                    description: row.description.into(),
                    doc: row.doc,
                    subscopes: row.subscopes.iter().map(|s| Arc::from(*s)).collect(),
                    closure: Vec::new(),
                };
                (Arc::from(row.name), entry)
            })
            .collect();
        let mut table = Self { entries };
        table.close();
        table
    }

    /// The stock scopes and a site's own. The same definition twice is harmless, two different ones are not.
    pub fn with_custom(custom: impl IntoIterator<Item = CustomScope>) -> Result<Self, CustomScopeError> {
        let mut table = Self::stock();
        let mut defined: BTreeMap<String, CustomScope> = BTreeMap::new();
        for scope in custom {
            let known = defined.get(&scope.name);
            if known.is_some_and(|other| *other != scope) || table.entries.contains_key(scope.name.as_str()) {
                return Err(CustomScopeError::Redefined(scope.name));
            }
            if !is_custom_name(&scope.name) {
                return Err(CustomScopeError::BadName(scope.name));
            }
            defined.insert(scope.name.clone(), scope);
        }
        for scope in defined.values() {
            for subscope in &scope.subscopes {
                if defined.contains_key(subscope) {
                    continue;
                }
                let (scope, subscope) = (scope.name.clone(), subscope.clone());
                return Err(if table.entries.contains_key(subscope.as_str()) {
                    CustomScopeError::StockSubscope { scope, subscope }
                } else {
                    CustomScopeError::UnknownSubscope { scope, subscope }
                });
            }
        }
        for scope in defined.into_values() {
            let entry = Entry {
                description: scope.description.into(),
                doc: None,
                subscopes: scope.subscopes.iter().map(|s| Arc::from(s.as_str())).collect(),
                closure: Vec::new(),
            };
            table.entries.insert(scope.name.into(), entry);
        }
        table.close();
        Ok(table)
    }

    /// Whether there is such a scope.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// What is known of one scope.
    pub fn get(&self, name: &str) -> Option<ScopeInfo<'_>> {
        self.entries.get_key_value(name).map(|(name, entry)| info(name, entry))
    }

    /// All scopes, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = ScopeInfo<'_>> {
        self.entries.iter().map(|(name, entry)| info(name, entry))
    }

    /// The scope and everything that it includes, sorted; empty for a name that is not a scope.
    pub fn closure(&self, name: &str) -> &[Arc<str>] {
        self.entries.get(name).map_or(&[], |entry| &entry.closure)
    }

    /// The sentence shown to people, the bare name where there is none.
    pub(super) fn description<'a>(&'a self, name: &'a str) -> &'a str {
        self.entries.get(name).map_or(name, |entry| &entry.description)
    }

    /// Computes every closure. Custom scopes may include each other in a circle; a set of the seen ends that.
    fn close(&mut self) {
        let direct: BTreeMap<Arc<str>, Vec<Arc<str>>> =
            self.entries.iter().map(|(name, entry)| (name.clone(), entry.subscopes.clone())).collect();
        for (name, entry) in &mut self.entries {
            let mut seen = BTreeSet::new();
            let mut todo = vec![name.clone()];
            while let Some(next) = todo.pop() {
                if let Some(subscopes) = direct.get(&next)
                    && seen.insert(next)
                {
                    todo.extend(subscopes.iter().cloned());
                }
            }
            entry.closure = seen.into_iter().collect();
        }
    }
}

impl Default for ScopeTable {
    fn default() -> Self {
        Self::stock()
    }
}

fn info<'a>(name: &'a str, entry: &'a Entry) -> ScopeInfo<'a> {
    let description = &*entry.description;
    ScopeInfo { name, description, doc: entry.doc.unwrap_or(description), subscopes: &entry.subscopes }
}

/// `custom:`, then one letter or digit, then one or more of `a-z0-9_-*:`, then one of `a-z0-9_*`.
fn is_custom_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("custom:") else { return false };
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let [first, middle @ .., last] = rest.as_bytes() else { return false };
    alnum(*first)
        && !middle.is_empty()
        && middle.iter().all(|b| alnum(*b) || matches!(b, b'_' | b'-' | b'*' | b':'))
        && (alnum(*last) || matches!(last, b'_' | b'*'))
}
