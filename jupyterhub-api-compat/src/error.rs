//! The body of every failed call of the REST API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `{"status": 404, "message": "…"}`. Where stock raises an error without a text the message is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// The HTTP status once more.
    pub status: u16,
    /// What went wrong, for people; null where there is nothing to say beyond the status.
    pub message: Option<String>,
}

/// No or invalid credentials on an endpoint that needs scopes. Status 403.
pub const MISSING_CREDENTIALS: &str = "Missing or invalid credentials.";

/// The scope is held, but not for this resource, which may not even exist. Status 404.
pub const NO_ACCESS: &str = "No access to resources or resources not found";

/// A failure that nobody foresaw. Status 500.
pub const INTERNAL: &str = "Internal Server Error";

impl ErrorBody {
    /// An error with nothing to say beyond its status.
    pub fn bare(status: u16) -> Self {
        Self { status, message: None }
    }

    /// An error with a text.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: Some(message.into()) }
    }

    /// None of the scopes is held. Status 403.
    pub fn lacks_scopes(scopes: &[&str]) -> Self {
        Self::new(
            403,
            format!("Action is not authorized with current scopes; requires any of [{}]", scopes.join(", ")),
        )
    }
}
