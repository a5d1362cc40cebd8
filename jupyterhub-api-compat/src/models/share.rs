//! Shared servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Server;
use crate::{Gate, Timestamp};

/// A name in an object of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    /// The name.
    pub name: String,
}

impl From<&str> for Named {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

/// What is told of a server to those with whom it is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShareServer {
    /// The owner.
    pub user: Named,
    /// The name.
    pub name: String,
    /// Path or URL.
    pub url: String,
    /// Full public URL, where the hub knows its own.
    pub full_url: Option<String>,
    /// Whether it can be used now.
    pub ready: bool,
}

impl ShareServer {
    /// The part of a server's model that is told.
    pub fn of(owner: &str, server: &Server) -> Self {
        Self {
            user: owner.into(),
            name: server.name.clone(),
            url: server.url.clone(),
            full_url: server.full_url.clone(),
            ready: server.ready,
        }
    }
}

/// With whom a server is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShareKind {
    /// With a user.
    User,
    /// With a group.
    Group,
}

/// A server that is shared with somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The server.
    pub server: ShareServer,
    /// What the share allows.
    pub scopes: Vec<String>,
    /// With whom, if a user.
    pub user: Option<Named>,
    /// With whom, if a group.
    pub group: Option<Named>,
    /// Which of the two.
    pub kind: ShareKind,
    /// Since when.
    pub created_at: Option<Timestamp>,
}

/// A code by which whoever has it gets a share.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShareCode {
    /// The server.
    pub server: ShareServer,
    /// What the share will allow.
    pub scopes: Vec<String>,
    /// `sc_` and the number in the database.
    pub id: String,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// How often it was used.
    pub exchange_count: u64,
    /// When it was last used.
    pub last_exchanged_at: Option<Timestamp>,
    /// The code itself, shown once.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub code: Gate<String>,
    /// Where to use it, shown once.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub accept_url: Gate<String>,
    /// The same as full public URL, where the hub knows its own.
    #[serde(default, skip_serializing_if = "Gate::is_hidden")]
    pub full_accept_url: Gate<Option<String>>,
}

impl ShareCode {
    /// `sc_7` for number 7.
    pub fn id_of(number: i64) -> String {
        format!("sc_{number}")
    }

    /// The number of `sc_7`; none for anything that does not begin so.
    pub fn parse_id(id: &str) -> Option<i64> {
        let digits = id.strip_prefix("sc_")?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    }
}

impl std::fmt::Debug for ShareCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShareCode")
            .field("id", &self.id)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
