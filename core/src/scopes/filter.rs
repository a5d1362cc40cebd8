//! How far one scope reaches, and what it is asked about.

use std::collections::BTreeSet;

use super::parse::Filter;

/// Something that a handler is about to touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Nothing in particular: only an unfiltered scope will do.
    None,
    /// A user.
    User {
        /// Name, as in the request.
        name: &'a str,
        /// Groups the user is in; empty for a user that does not exist.
        groups: &'a [String],
    },
    /// A server of a user.
    Server {
        /// The owner's name.
        user: &'a str,
        /// The server's name, empty for the default one.
        server: &'a str,
        /// Groups the owner is in.
        user_groups: &'a [String],
    },
    /// A group.
    Group(&'a str),
    /// A service.
    Service(&'a str),
}

/// The values of the filters of one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// `!group=` values.
    pub groups: BTreeSet<String>,
    /// `!server=` values, `user/server`.
    pub servers: BTreeSet<String>,
    /// `!service=` values.
    pub services: BTreeSet<String>,
    /// `!user=` values.
    pub users: BTreeSet<String>,
}

impl Filters {
    /// Whether nothing at all gets through.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.servers.is_empty() && self.services.is_empty() && self.users.is_empty()
    }

    /// `group=a`, `server=b/c`, …, sorted.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        let kinds = [
            ("group", &self.groups),
            ("server", &self.servers),
            ("service", &self.services),
            ("user", &self.users),
        ];
        kinds.into_iter().flat_map(|(kind, values)| values.iter().map(move |value| format!("{kind}={value}")))
    }

    fn names_a_group_of(&self, groups: &[String]) -> bool {
        !self.groups.is_empty() && groups.iter().any(|group| self.groups.contains(group))
    }

    /// Whether the resource is named, or belongs to what is named: server, its user, a group of that user.
    fn covers(&self, on: &Resource<'_>) -> bool {
        match *on {
            Resource::None => false,
            Resource::User { name, groups } => self.users.contains(name) || self.names_a_group_of(groups),
            Resource::Server { user, server, user_groups } => {
                self.users.contains(user)
                    || self.names_a_group_of(user_groups)
                    || (!self.servers.is_empty() && self.servers.contains(&format!("{user}/{server}")))
            }
            Resource::Group(name) => self.groups.contains(name),
            Resource::Service(name) => self.services.contains(name),
        }
    }

    fn absorb(&mut self, other: Self) {
        self.groups.extend(other.groups);
        self.servers.extend(other.servers);
        self.services.extend(other.services);
        self.users.extend(other.users);
    }
}

/// How far one scope reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Nowhere: the scope is not held.
    #[default]
    None,
    /// Everywhere.
    All,
    /// To what is named.
    Filtered(Filters),
}

pub(super) static NO_ACCESS: Access = Access::None;

impl Access {
    /// Whether an action on the resource is allowed. Answers to `has_scope`.
    pub fn covers(&self, on: &Resource<'_>) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Filtered(filters) => filters.covers(on),
        }
    }

    /// Whether a resource shows up in lists and models, and whether a server's OAuth client may be used. Answers to
    /// `check_scope_filter`, which differs from [`Access::covers`] in one point, kept from stock: a filter of the
    /// bare name of a server (`!server=lab`, no slash) fits every user's server of that name.
    pub fn includes(&self, on: &Resource<'_>) -> bool {
        match (self, on) {
            (Self::All, _) => true,
            (Self::Filtered(filters), Resource::Server { server, .. })
                if filters.servers.contains(*server) =>
            {
                true
            }
            _ => self.covers(on),
        }
    }

    /// The filters, none when access is total or nil.
    pub fn filters(&self) -> Option<&Filters> {
        if let Self::Filtered(filters) = self { Some(filters) } else { None }
    }

    /// Widens by another reach.
    pub(super) fn widen(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) | (_, Self::None) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Filtered(mine), Self::Filtered(theirs)) => mine.absorb(theirs),
            (Self::None, theirs) => *self = theirs,
        }
    }

    /// The reach of one resolved filter; none for one that depends on an owner.
    pub(super) fn of(filter: &Filter) -> Option<Self> {
        let mut filters = Filters::default();
        match filter {
            Filter::None => return Some(Self::All),
            Filter::User(name) => filters.users.insert(name.clone()),
            Filter::Group(name) => filters.groups.insert(name.clone()),
            Filter::Service(name) => filters.services.insert(name.clone()),
            Filter::Server { user, server: Some(server) } => {
                filters.servers.insert(format!("{user}/{server}"))
            }
            Filter::Server { user, server: None } => filters.servers.insert(user.clone()),
            Filter::OwnUser | Filter::OwnService | Filter::OwnServer => return None,
        };
        Some(Self::Filtered(filters))
    }
}
