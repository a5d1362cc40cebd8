//! Logins of browsers. Not in JupyterHub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The login of one browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// `s` and a number.
    pub id: String,
    /// Whose login it is.
    pub user: String,
    /// When the person logged in.
    pub created: Timestamp,
    /// When the browser was last seen at the hub, to some minutes.
    pub last_activity: Timestamp,
    /// When the login ends by itself.
    pub expires_at: Timestamp,
    /// From where the person logged in, as far as trusted proxies tell.
    pub address: Option<String>,
    /// The browser by its usual name; null where it is not known.
    pub browser: Option<String>,
    /// The system that it runs on; null where it is not known.
    pub system: Option<String>,
    /// What the browser said that it is.
    pub agent: Option<String>,
    /// Whether the call was made by this very browser.
    pub current: bool,
}

impl Session {
    /// The id of a row.
    pub fn id_of(row: i64) -> String {
        format!("s{row}")
    }

    /// The row of an id.
    pub fn parse_id(id: &str) -> Option<i64> {
        let digits = id.strip_prefix('s')?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    }
}

/// The answer of `GET /sessions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionList {
    /// The logins of one user, the one seen last first.
    pub sessions: Vec<Session>,
}
