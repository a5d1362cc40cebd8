//! Bodies of requests: read, checked, typed.
//!
//! Each body has a `read` that takes the raw bytes. What stock answers with an internal error for lack of a check is
//! a [`RequestError`] here; everything that stock accepts deliberately is accepted.

mod activity;
mod body;
mod bulk;
mod display_name;
mod groups;
mod hub;
mod python;
mod servers;
mod services;
mod shares;
mod tokens;
mod users;

use thiserror::Error;

pub use activity::Activity;
pub use bulk::{BulkServer, BulkServers};
pub use display_name::{check_server_name, normalise_display_name};
pub use groups::{CreateGroup, CreateGroups, GroupMembers, GroupProperties};
pub use hub::{ProxyLocation, Shutdown};
pub use python::quoted;
pub use servers::{EditServer, ServerOptions, StopServer};
pub use services::CreateService;
pub use shares::{ShareCodeRequest, ShareRequest, ShareWith};
pub use tokens::CreateToken;
pub use users::{CreateUser, CreateUsers, EditUser, ListUsers, UserSort, UserState};

/// A request that makes no sense. Status 400; the text goes into the error's `message`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The body is not JSON.
    #[error("Invalid JSON in body of request")]
    NotJson,
    /// The body or an argument is not what the endpoint takes.
    #[error("{0}")]
    Invalid(String),
}

impl RequestError {
    /// Always 400.
    pub const STATUS: u16 = 400;

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

#[cfg(test)]
mod tests;
