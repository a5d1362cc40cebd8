//! Several servers started or stopped by one call. Not in JupyterHub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of `POST /servers/start` and `POST /servers/stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkAnswer {
    /// What became of each server, in the order asked.
    pub servers: Vec<BulkOutcome>,
}

/// What became of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkOutcome {
    /// The owner.
    pub user: String,
    /// The name, empty for the default server.
    pub server: String,
    /// What a call for this server alone would have answered: 202 under way, 204 not running, 400, 403, 404, 429.
    pub status: u16,
    /// What went wrong, for people; null where nothing did.
    pub message: Option<String>,
}
