//! The JSON objects of the REST API.
//!
//! The hub builds them whole and then lets `restrict` take away what the caller's scopes do not show.

mod bulk;
mod event;
mod explanation;
mod group;
mod info;
mod server;
mod service;
mod session;
mod share;
mod token;
mod user;
mod volume;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bulk::{BulkAnswer, BulkOutcome};
pub use event::{ServerAction, ServerEvent};
pub use explanation::{Explanation, Reason, Reasons, ScopeDecision, Source, SourceKind, TokenAsked};
pub use group::Group;
pub use info::{ClassInfo, Info, ShuttingDown, Version};
pub use server::{Pending, Queue, Server};
pub use service::Service;
pub use session::{Session, SessionList};
pub use share::{Named, Share, ShareCode, ShareKind, ShareServer};
pub use token::{Token, TokenCreated, TokenList};
pub use user::{Identified, SelfModel, User};
pub use volume::{Volume, VolumeList};

/// The `kind` of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A user.
    User,
    /// A group.
    Group,
    /// A service.
    Service,
    /// An API token.
    ApiToken,
}

#[cfg(test)]
mod tests;
