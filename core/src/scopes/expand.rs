//! From abbreviated scopes to all that they mean for one owner.

use std::sync::Arc;

use thiserror::Error;

use super::filter::Access;
use super::parse::{Filter, Scope, ScopeError};
use super::set::ScopeSet;
use super::table::ScopeTable;

/// What `self` stands for, each limited to the user.
const SELF: [&str; 7] =
    ["read:users", "users:shares", "read:shares", "users:activity", "servers", "tokens", "access:servers"];

/// What `self` stands for, each to be limited to the user.
pub fn self_scopes() -> &'static [&'static str] {
    &SELF
}

/// Who holds a role or a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A user, by name.
    User(&'a str),
    /// A service, by name.
    Service(&'a str),
}

impl<'a> Owner<'a> {
    /// The name.
    pub fn name(self) -> &'a str {
        match self {
            Self::User(name) | Self::Service(name) => name,
        }
    }
}

/// Which OAuth client issued a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client<'a> {
    /// The hub itself (`jupyterhub`): tokens made on the token page or by the API.
    Hub,
    /// The client of a user's server.
    Server {
        /// The owner of the server.
        user: &'a str,
        /// The server's name, empty for the default one.
        server: &'a str,
    },
    /// The client of a service.
    Service(&'a str),
    /// A client whose server or service is gone.
    Orphan,
}

/// What bare filters and `self` refer to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpandContext<'a> {
    /// Whoever holds the scopes; none for a group.
    pub owner: Option<Owner<'a>>,
    /// The client that issued the token that holds them.
    pub client: Option<Client<'a>>,
}

impl<'a> ExpandContext<'a> {
    /// Roles of an owner.
    pub fn owner(owner: Owner<'a>) -> Self {
        Self { owner: Some(owner), client: None }
    }

    /// A token of an owner.
    pub fn token(owner: Owner<'a>, client: Client<'a>) -> Self {
        Self { owner: Some(owner), client: Some(client) }
    }

    /// A bare filter with what it refers to here; none when that is nothing.
    fn resolve(&self, filter: &Filter) -> Option<Filter> {
        match filter {
            Filter::OwnUser => match self.owner? {
                Owner::User(name) => Some(Filter::User(name.to_owned())),
                Owner::Service(_) => None,
            },
            Filter::OwnService => match (self.client, self.owner) {
                (Some(Client::Service(name)), _) | (_, Some(Owner::Service(name))) => {
                    Some(Filter::Service(name.to_owned()))
                }
                _ => None,
            },
            Filter::OwnServer => match self.client? {
                Client::Server { user, server } => Some(Filter::server(user, server)),
                _ => None,
            },
            resolved => Some(resolved.clone()),
        }
    }
}

/// A scope that expansion left out, worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Note {
    /// A bare filter refers to nothing here.
    #[error("{0} is ignored: there is nothing that its filter could refer to")]
    Unresolved(Scope),
    /// `self` is for users.
    #[error("'self' is ignored: its holder is not a user")]
    SelfWithoutUser,
    /// Stored text that is not a scope (any more).
    #[error("stored scope is ignored: {0}")]
    Unknown(ScopeError),
}

/// What expansion made of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// All that is allowed.
    pub scopes: ScopeSet,
    /// What was left out, and why.
    pub notes: Vec<Note>,
}

impl ScopeTable {
    /// Everything that a list of scopes means for an owner. Answers to `expand_scopes`.
    ///
    /// Filters pass to subscopes, except that `!server` does not pass to those that read users.
    pub fn expand<'s>(
        &self,
        scopes: impl IntoIterator<Item = &'s Scope>,
        cx: &ExpandContext<'_>,
    ) -> Expansion {
        let mut done = Expansion::default();
        for scope in scopes {
            self.expand_one(scope, cx, &mut done);
        }
        done
    }

    /// The same for text from the database, which was checked when it was stored: what is no scope any more is left
    /// out with a note.
    pub fn expand_stored<T: AsRef<str>>(
        &self,
        texts: impl IntoIterator<Item = T>,
        cx: &ExpandContext<'_>,
    ) -> Expansion {
        let mut done = Expansion::default();
        for text in texts {
            match self.parse(text.as_ref()) {
                Ok(scope) => self.expand_one(&scope, cx, &mut done),
                Err(error) => done.notes.push(Note::Unknown(error)),
            }
        }
        done
    }

    fn expand_one(&self, scope: &Scope, cx: &ExpandContext<'_>, done: &mut Expansion) {
        if scope.name == "self" && scope.filter == Filter::None {
            self.expand_self(cx, done);
            return;
        }
        let Some(filter) = cx.resolve(&scope.filter) else {
            done.notes.push(Note::Unresolved(scope.clone()));
            return;
        };
        let Some(access) = Access::of(&filter) else { return };
        for name in self.closure(&scope.name) {
            if !(filter.is_server() && name.starts_with("read:user")) {
                done.scopes.add(Arc::clone(name), access.clone());
            }
        }
    }

    fn expand_self(&self, cx: &ExpandContext<'_>, done: &mut Expansion) {
        let Some(Owner::User(user)) = cx.owner else {
            done.notes.push(Note::SelfWithoutUser);
            return;
        };
        for name in SELF {
            self.expand_one(&Scope::new(name, Filter::User(user.to_owned())), cx, done);
        }
    }
}
