//! What happens to servers, as `GET /events` streams it. Not in JupyterHub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Queue;
use crate::Timestamp;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerAction {
    /// A start waits in line for its turn.
    Queue,
    /// A server is up and routed.
    Start,
    /// A server is down: stopped, or it ended by itself.
    Stop,
    /// A start did not succeed, or a server did not survive.
    Failure,
}

impl ServerAction {
    /// The word in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Failure => "failure",
        }
    }
}

/// One event of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerEvent {
    /// What happened.
    pub action: ServerAction,
    /// When.
    pub at: Timestamp,
    /// The owner.
    pub user: String,
    /// The name, empty for the default server.
    pub server: String,
    /// Code of the cause, such as `start-timeout`; left out where nothing went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What the owner is told; left out where nothing went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether a further try may help; left out where nothing went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
    /// The place in line; left out but for a start that has come to wait there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
}
