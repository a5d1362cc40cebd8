//! API tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::Timestamp;

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// The owner, if a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The owner, if a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `a` and the number in the database.
    pub id: String,
    /// Always [`Kind::ApiToken`].
    pub kind: Kind,
    /// Always empty: tokens have scopes since version 3.
    pub roles: Vec<String>,
    /// All that it allows at this moment, expanded and sorted.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was last used.
    pub last_activity: Option<Timestamp>,
    /// When it ends; null for never.
    pub expires_at: Option<Timestamp>,
    /// What it is for.
    pub note: Option<String>,
    /// The browser session that it belongs to.
    pub session_id: Option<String>,
    /// Description of the OAuth client that issued it, its identifier where there is none.
    pub oauth_client: String,
}

impl Token {
    /// `a7` for number 7.
    pub fn id_of(number: i64) -> String {
        format!("a{number}")
    }

    /// The number of `a7`; none for anything else.
    pub fn parse_id(id: &str) -> Option<i64> {
        let digits = id.strip_prefix('a')?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    }
}

/// A new API token with its secret, which is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenCreated {
    /// What can be seen later, too.
    #[serde(flatten)]
    pub model: Token,
    /// The secret.
    pub token: String,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("model", &self.model).finish_non_exhaustive()
    }
}

/// The tokens of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// In order of last use, or of making.
    pub api_tokens: Vec<Token>,
}
