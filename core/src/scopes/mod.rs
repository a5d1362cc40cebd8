//! The grammar and the algebra of scopes: JupyterHub's permissions as text (`read:users!group=maths`).
//!
//! Nothing here touches a database. What depends on stored facts comes in as arguments: which groups a user is in
//! ([`Membership`]), what roles grant, which client issued a token. The hub loads those and asks.
//!
//! The way of a permission:
//!
//! 1. Text from a role, a token or a request is checked and typed: [`ScopeTable::parse`] gives a [`Scope`].
//! 2. [`ScopeTable::expand`] resolves metascopes (`self`), bare filters (`!user`) and subscopes into a [`ScopeSet`].
//! 3. A token's set is narrowed to what its owner may do now: [`resolve_token_scopes`], by [`ScopeSet::intersect`].
//! 4. Handlers ask [`ScopeSet::decide`] about one [`Resource`], list handlers [`ScopeSet::filter_for`].
//!
//! Answers to `jupyterhub.scopes` and the pure parts of `jupyterhub.roles`. Intended differences:
//!
//! - A [`ScopeSet`] is always in normal form: an unfiltered scope absorbs filtered ones. Stock leaves the redundant
//!   ones in place when they come from shares, which shows in `GET /api/user` only.
//! - Stored text that no longer names a scope (a custom scope taken out of the configuration) is dropped with a
//!   [`Note`] where stock answers every request of its holder with an internal error.
//! - Everything iterates in sorted order.

mod describe;
mod expand;
mod filter;
mod grant;
mod intersect;
mod parse;
mod roles;
mod set;
mod share;
mod stock;
mod table;

pub use describe::{Description, describe_consent, describe_scopes};
pub use expand::{Client, ExpandContext, Expansion, Note, Owner, self_scopes};
pub use filter::{Access, Filters, Resource};
pub use grant::{
    GrantError, Resolved, TokenScopes, access_scope, check_token_grant, client_allowed_scopes,
    identify_scopes, requested_server_scopes, required_client_scopes, resolve_requested,
    resolve_token_scopes,
};
pub use intersect::{Membership, NoGroups};
pub use parse::{Filter, Scope, ScopeError};
pub use roles::{
    ADMIN_ROLE, RoleDef, RoleNameError, SERVER_ROLE, TOKEN_ROLE, USER_ROLE, check_role_name, default_roles,
};
pub use set::{Decision, ScopeSet};
pub use share::{ShareScopeError, default_share_scope, pin_share_scopes, repin_share_scopes};
pub use table::{CustomScope, CustomScopeError, ScopeInfo, ScopeTable};

#[cfg(test)]
mod tests;
