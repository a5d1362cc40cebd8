//! What somebody may do: expanded scopes by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::filter::{Access, NO_ACCESS, Resource};
use super::parse::{Scope, ScopeError};

/// The answer to "may they?", with the difference that shows outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// They may.
    Granted,
    /// They hold such a scope, but for other things. To them this one does not exist: status 404.
    Hidden,
    /// They hold no such scope, or need it unfiltered: status 403.
    Lacking,
}

/// Expanded scopes in normal form, sorted. Answers to `parsed_scopes`, and printed to `expanded_scopes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeSet {
    scopes: BTreeMap<Arc<str>, Access>,
}

impl ScopeSet {
    /// No permission at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads expanded scopes as stored with a share: no subscopes are added, names are not checked. A filter that
    /// depends on an owner is an error here, as nothing is known about owners.
    pub fn from_expanded<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, ScopeError> {
        let mut set = Self::new();
        for text in texts {
            let text = text.as_ref();
            let scope = Scope::read(text)?;
            let access = Access::of(&scope.filter).ok_or_else(|| ScopeError::EmptyFilter(text.to_owned()))?;
            set.add(scope.name.as_str().into(), access);
        }
        Ok(set)
    }

    /// Adds one scope as it is, without what it includes.
    pub(super) fn add(&mut self, name: Arc<str>, access: Access) {
        if access != Access::None {
            self.scopes.entry(name).or_default().widen(access);
        }
    }

    /// Adds everything of another set: roles and shares together.
    pub fn extend(&mut self, other: Self) {
        for (name, access) in other.scopes {
            self.add(name, access);
        }
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Whether the scope is held at all, filtered or not. What list endpoints require before they filter.
    pub fn has_any(&self, name: &str) -> bool {
        self.scopes.contains_key(name)
    }

    /// How far the scope reaches.
    pub fn filter_for(&self, name: &str) -> &Access {
        self.scopes.get(name).unwrap_or(&NO_ACCESS)
    }

    /// Whether the scope allows an action on the resource. Answers to `has_scope`.
    pub fn allows(&self, name: &str, on: &Resource<'_>) -> bool {
        self.filter_for(name).covers(on)
    }

    /// Whether a handler that needs any of `names` on the resource may run. Answers to `needs_scope`.
    pub fn decide(&self, names: &[&str], on: &Resource<'_>) -> Decision {
        if names.iter().any(|name| self.allows(name, on)) {
            Decision::Granted
        } else if *on != Resource::None && names.iter().any(|name| self.has_any(name)) {
            Decision::Hidden
        } else {
            Decision::Lacking
        }
    }

    /// Whether the whole reach of one resolved scope is held: `access:servers!server=alice/lab` by
    /// `access:servers!user=alice`, too. Groups of a user in the filter count if given.
    pub fn holds(&self, scope: &Scope, groups: &[String]) -> bool {
        use super::parse::Filter;
        match &scope.filter {
            Filter::None => self.allows(&scope.name, &Resource::None),
            Filter::User(name) => self.allows(&scope.name, &Resource::User { name, groups }),
            Filter::Server { user, server: Some(server) } => {
                self.allows(&scope.name, &Resource::Server { user, server, user_groups: groups })
            }
            Filter::Group(name) => self.allows(&scope.name, &Resource::Group(name)),
            Filter::Service(name) => self.allows(&scope.name, &Resource::Service(name)),
            Filter::Server { server: None, .. }
            | Filter::OwnUser
            | Filter::OwnService
            | Filter::OwnServer => false,
        }
    }

    /// Names and reaches, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Access)> {
        self.scopes.iter().map(|(name, access)| (&**name, access))
    }

    pub(super) fn entries(&self) -> &BTreeMap<Arc<str>, Access> {
        &self.scopes
    }

    /// The scopes as text, one per filter, sorted as Python sorts them.
    pub fn to_vec(&self) -> Vec<String> {
        let mut texts = Vec::with_capacity(self.scopes.len());
        for (name, access) in &self.scopes {
            match access {
                Access::None => {}
                Access::All => texts.push(name.to_string()),
                Access::Filtered(filters) => {
                    texts.extend(filters.texts().map(|filter| format!("{name}!{filter}")));
                }
            }
        }
        texts
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.to_vec())
    }
}
