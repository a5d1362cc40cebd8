//! Which scopes tokens and OAuth clients get, and what a token may do when it is used.

use std::collections::BTreeSet;

use thiserror::Error;

use super::expand::{Client, ExpandContext, Note, Owner};
use super::intersect::Membership;
use super::parse::ScopeError;
use super::set::ScopeSet;
use super::table::ScopeTable;

const INHERIT: &str = "inherit";
const OWN_ACTIVITY: &str = "users:activity!user";

/// The least that every token may do, resolved: know its owner. Answers to `identify_scopes(owner)`.
pub fn identify_scopes(owner: Owner<'_>) -> Vec<String> {
    match owner {
        Owner::User(name) => {
            vec![format!("read:users:groups!user={name}"), format!("read:users:name!user={name}")]
        }
        Owner::Service(name) => vec![format!("read:services:name!service={name}")],
    }
}

/// The scope that the use of a client's server or service takes; none for the hub's own client and for orphans.
/// Answers to `access_scopes`.
pub fn access_scope(client: &Client<'_>) -> Option<String> {
    match client {
        Client::Hub | Client::Orphan => None,
        Client::Server { user, server } => Some(format!("access:servers!server={user}/{server}")),
        Client::Service(name) => Some(format!("access:services!service={name}")),
    }
}

/// What every OAuth client gets whatever it asks for: to know the user (filters still bare) and to be used.
pub fn required_client_scopes(client: &Client<'_>) -> BTreeSet<String> {
    let mut scopes = BTreeSet::from(["read:users:groups!user".to_owned(), "read:users:name!user".to_owned()]);
    scopes.extend(access_scope(client));
    scopes
}

/// The scopes that an OAuth client may ask for: configured ones and its own access scope, sorted. Stored in
/// `oauth_clients.allowed_scopes`.
pub fn client_allowed_scopes<T: AsRef<str>>(
    configured: impl IntoIterator<Item = T>,
    client: &Client<'_>,
) -> BTreeSet<String> {
    configured.into_iter().map(|scope| scope.as_ref().to_owned()).chain(access_scope(client)).collect()
}

/// What a token may do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenScopes {
    /// All that is allowed.
    pub scopes: ScopeSet,
    /// What the token asks for and its owner does not hold (any more). Worth a line in the log.
    pub excess: ScopeSet,
    /// What could not be expanded.
    pub notes: Vec<Note>,
}

/// What a token may do now: its own scopes within those that its owner holds at this moment. Answers to
/// `get_scopes_for(token)`.
///
/// `owner_scopes` are the owner's roles (those of groups included) expanded, and the shares granted directly to the
/// owner. `groups` must know the users that [`ScopeSet::users_to_look_up`] names; loading all users with a filter
/// of their own in either list is enough.
pub fn resolve_token_scopes<T: AsRef<str>>(
    table: &ScopeTable,
    stored: &[T],
    owner: Owner<'_>,
    client: Client<'_>,
    owner_scopes: &ScopeSet,
    groups: &dyn Membership,
) -> TokenScopes {
    if stored.iter().any(|scope| scope.as_ref() == INHERIT) {
        return TokenScopes { scopes: owner_scopes.clone(), ..TokenScopes::default() };
    }
    let wanted = token_wants(table, stored, owner, client);
    let scopes = wanted.scopes.intersect(owner_scopes, groups);
    TokenScopes { excess: wanted.scopes.without(&scopes), scopes, notes: wanted.notes }
}

/// What a token would be allowed if its owner held everything.
fn token_wants<T: AsRef<str>>(
    table: &ScopeTable,
    stored: &[T],
    owner: Owner<'_>,
    client: Client<'_>,
) -> super::expand::Expansion {
    let mut wanted = table.expand_stored(stored, &ExpandContext::token(owner, client));
    let always = identify_scopes(owner).into_iter().chain(access_scope(&client));
    match ScopeSet::from_expanded(always) {
        Ok(always) => wanted.scopes.extend(always),
        // Only an owner or service with an empty name gets here, and such a one holds nothing.
        Err(error) => wanted.notes.push(Note::Unknown(error)),
    }
    wanted
}

/// Why a token is not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrantError {
    /// A scope does not exist.
    #[error("{}", .0.message_for("token"))]
    Scope(#[from] ScopeError),
    /// The owner does not hold all of them.
    #[error("Not assigning requested scopes {} not held by {kind} {name}", scopes.join(","))]
    Excess {
        /// What is too much, expanded and sorted.
        scopes: Vec<String>,
        /// `User` or `Service`.
        kind: &'static str,
        /// The owner's name.
        name: String,
    },
}

/// Checks the scopes for a new token: they exist and the owner holds them all. `inherit` is always fine.
///
/// `owner_scopes` are all scopes that the owner holds: roles, and shares granted directly or by groups.
pub fn check_token_grant<T: AsRef<str>>(
    table: &ScopeTable,
    requested: &[T],
    owner: Owner<'_>,
    client: Client<'_>,
    owner_scopes: &ScopeSet,
    groups: &dyn Membership,
) -> Result<(), GrantError> {
    let scopes = table.parse_all(requested)?;
    let plain = scopes.iter().filter(|scope| scope.to_string() != INHERIT);
    let wanted = table.expand(plain, &ExpandContext::token(owner, client)).scopes;
    let excess = wanted.without(&wanted.intersect(owner_scopes, groups));
    if excess.is_empty() {
        return Ok(());
    }
    let kind = if matches!(owner, Owner::User(_)) { "User" } else { "Service" };
    Err(GrantError::Excess { scopes: excess.to_vec(), kind, name: owner.name().to_owned() })
}

/// A request for scopes, sorted into what is granted and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Granted, abbreviated where all of an abbreviation is granted.
    pub allowed: BTreeSet<String>,
    /// Not granted, or not as a whole.
    pub disallowed: BTreeSet<String>,
}

/// Grants what of a request is held, abbreviations kept. Answers to `_resolve_requested_scopes`, used for OAuth
/// authorisation and for the tokens of servers.
///
/// Both lists are abbreviated scopes. Of a requested scope that is held in part, that part is granted and the scope
/// is reported in [`Resolved::disallowed`] as well.
pub fn resolve_requested(
    table: &ScopeTable,
    requested: &BTreeSet<String>,
    have: &BTreeSet<String>,
    cx: &ExpandContext<'_>,
    groups: &dyn Membership,
) -> Resolved {
    let mut allowed: BTreeSet<String> = requested.intersection(have).cloned().collect();
    let mut disallowed = BTreeSet::new();
    let held = table.expand_stored(have, cx).scopes;
    let mut granted = table.expand_stored(&allowed, cx).scopes;
    for text in requested.difference(have) {
        let Ok(scope) = table.parse(text) else {
            disallowed.insert(text.clone());
            continue;
        };
        let wanted = table.expand([&scope], cx).scopes.without(&granted);
        let common = wanted.intersect(&held, groups);
        if common == wanted {
            allowed.insert(text.clone());
        } else {
            disallowed.insert(text.clone());
            allowed.extend(common.to_vec());
        }
        granted = table.expand_stored(&allowed, cx).scopes;
    }
    Resolved { allowed, disallowed }
}

/// What the token of a server asks for: the configured scopes, or those of the `server` role, with `!server` written
/// out and reporting activity added. To be granted by [`resolve_requested`] with the raw scopes of the user's roles
/// and `inherit` as what is held, and [`Client::Hub`] as the client.
///
/// The second value tells that `users:activity!user` had to be added to a configured list, which deserves a warning.
pub fn requested_server_scopes<T: AsRef<str>>(
    configured: impl IntoIterator<Item = T>,
    user: &str,
    server: &str,
) -> (BTreeSet<String>, bool) {
    let write_out = |scope: T| {
        let scope = scope.as_ref();
        if scope.ends_with("!server") { format!("{scope}={user}/{server}") } else { scope.to_owned() }
    };
    let mut scopes: BTreeSet<String> = configured.into_iter().map(write_out).collect();
    let added = ![OWN_ACTIVITY, "users:activity", INHERIT].iter().any(|scope| scopes.contains(*scope));
    if added {
        scopes.insert(OWN_ACTIVITY.to_owned());
    }
    (scopes, added)
}
