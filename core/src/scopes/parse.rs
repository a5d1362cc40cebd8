//! One scope as text: `name` or `name!filter`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::table::ScopeTable;

/// To what a scope is limited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// Not limited.
    None,
    /// `!user=NAME`
    User(String),
    /// `!server=USER/SERVER`; the default server is `USER/`. Without a slash there is no server: such a value is
    /// accepted by stock and matches servers of that bare name in a few places, see [`super::Access::includes`].
    Server {
        /// The owner.
        user: String,
        /// The server's name, none where the text has no slash.
        server: Option<String>,
    },
    /// `!group=NAME`: the group, its members, their servers.
    Group(String),
    /// `!service=NAME`
    Service(String),
    /// `!user`: the owner of the token or role.
    OwnUser,
    /// `!service`: the service that owns the token or issued it.
    OwnService,
    /// `!server`: the server that issued the token.
    OwnServer,
}

impl Filter {
    /// A filter on one server.
    pub fn server(user: impl Into<String>, server: impl Into<String>) -> Self {
        Self::Server { user: user.into(), server: Some(server.into()) }
    }

    /// Whether this is one of the `!server` filters, which do not pass to subscopes that read users.
    pub(super) fn is_server(&self) -> bool {
        matches!(self, Self::Server { .. } | Self::OwnServer)
    }

    fn parse(scope: &str, text: &str) -> Result<Self, ScopeError> {
        let Some((kind, value)) = text.split_once('=') else {
            return match text {
                "" => Ok(Self::None),
                "user" => Ok(Self::OwnUser),
                "service" => Ok(Self::OwnService),
                "server" => Ok(Self::OwnServer),
                _ => Err(ScopeError::UnknownFilter { scope: scope.into(), filter: text.into() }),
            };
        };
        let make: fn(String) -> Self = match kind {
            "user" => Self::User,
            "group" => Self::Group,
            "service" => Self::Service,
            "server" => |value| match value.split_once('/') {
                Some((user, server)) => Self::server(user, server),
                None => Self::Server { user: value, server: None },
            },
            _ => return Err(ScopeError::UnknownFilter { scope: scope.into(), filter: text.into() }),
        };
        if value.is_empty() {
            return Err(ScopeError::EmptyFilter(scope.into()));
        }
        Ok(make(value.to_owned()))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::User(name) => write!(f, "!user={name}"),
            Self::Server { user, server: Some(server) } => write!(f, "!server={user}/{server}"),
            Self::Server { user, server: None } => write!(f, "!server={user}"),
            Self::Group(name) => write!(f, "!group={name}"),
            Self::Service(name) => write!(f, "!service={name}"),
            Self::OwnUser => f.write_str("!user"),
            Self::OwnService => f.write_str("!service"),
            Self::OwnServer => f.write_str("!server"),
        }
    }
}

/// One scope: what may be done, and to what it is limited. Prints as JupyterHub writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// For example `read:users`.
    pub name: String,
    /// To what it is limited.
    pub filter: Filter,
}

impl Scope {
    /// A scope from its parts.
    pub fn new(name: impl Into<String>, filter: Filter) -> Self {
        Self { name: name.into(), filter }
    }

    /// Splits and types the text without asking whether there is such a scope.
    pub(super) fn read(text: &str) -> Result<Self, ScopeError> {
        let (name, filter) = text.split_once('!').unwrap_or((text, ""));
        Ok(Self::new(name, Filter::parse(text, filter)?))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.filter)
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    /// Reads the grammar; whether such a scope exists is the table's to say.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a scope. Answers to `ScopeNotFound`, and to the `ValueError` for an empty filter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// No scope has this name.
    #[error("Scope '{0}' does not exist")]
    UnknownScope(String),
    /// `all` was a draft's name for `inherit`.
    #[error("Draft scope 'all' is now called 'inherit'")]
    DraftAll,
    /// There is no such filter.
    #[error("Scope filter {filter} '!{filter}' in scope '{scope}' does not exist")]
    UnknownFilter {
        /// The whole text.
        scope: String,
        /// What follows the `!`.
        filter: String,
    },
    /// Nothing follows the `=`.
    #[error("Empty string is not a valid filter: {0}")]
    EmptyFilter(String),
}

impl ScopeError {
    /// The text that stock gives for it, which says for whom the scope was meant: `token`, `role grader`, `share`.
    pub fn message_for(&self, whom: &str) -> String {
        match self {
            Self::UnknownScope(scope) => format!("Scope '{scope}' for {whom} does not exist"),
            Self::UnknownFilter { scope, filter } => {
                format!("Scope filter {filter} '!{filter}' in scope '{scope}' for {whom} does not exist")
            }
            Self::DraftAll | Self::EmptyFilter(_) => self.to_string(),
        }
    }
}

impl ScopeTable {
    /// Checks and types one scope. A `!` with nothing behind it is no filter, as in stock.
    pub fn parse(&self, text: &str) -> Result<Scope, ScopeError> {
        let name = text.split('!').next().unwrap_or_default();
        if !self.contains(name) {
            let draft = name == "all";
            return Err(if draft { ScopeError::DraftAll } else { ScopeError::UnknownScope(text.into()) });
        }
        Scope::read(text)
    }

    /// Checks and types a list, in its order; the first bad one ends it.
    pub fn parse_all<T: AsRef<str>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Scope>, ScopeError> {
        texts.into_iter().map(|text| self.parse(text.as_ref())).collect()
    }
}
