//! What the hub reads and writes, one module per noun.
//!
//! Every function takes anything that runs statements, [`crate::Conn`] or [`crate::Tx`]. Functions that change several
//! tables say so: give them a transaction. Lists load in a fixed number of queries, whatever their length (in steps of
//! a few hundred ids, since databases bound the parameters of a statement).
//!
//! Names are compared exactly, also where the collation of a MySQL database is not case-sensitive.

pub mod auth_state;
pub mod authorities;
pub mod browser_sessions;
pub mod environments;
pub mod events;
pub mod fitting;
mod grouped;
pub mod groups;
mod hashing;
pub mod notices;
pub mod oauth;
pub mod purge;
pub mod role_members;
pub mod roles;
pub mod services;
pub mod share_codes;
pub mod shares;
pub mod spawners;
pub mod tokens;
pub mod user_list;
pub mod users;

/// Most ids in one `IN (...)`.
const CHUNK: usize = 400;

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows of the page.
    pub items: Vec<T>,
    /// How many rows the whole list has.
    pub total: u64,
}

/// Which part of a list to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Rows to pass over.
    pub offset: u64,
    /// Most rows to load.
    pub limit: u64,
}

/// Who owns a token or holds a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// `users.id`
    User(i32),
    /// `services.id`
    Service(i32),
}
