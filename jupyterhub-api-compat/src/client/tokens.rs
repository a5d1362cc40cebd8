//! Tokens.

use reqwest::Method;
use serde::Serialize;

use super::{Client, Result};
use crate::models::{Token, TokenCreated, TokenList};

/// What a new token shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TokenWanted {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Seconds until it ends; none for never, or for the longest that is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// What it may do; none for all that its owner may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

impl Client {
    /// The tokens of a user.
    pub async fn tokens(&self, user: &str) -> Result<Vec<Token>> {
        Ok(self.get::<TokenList>(&["users", user, "tokens"]).await?.api_tokens)
    }

    /// One token.
    pub async fn token(&self, user: &str, id: &str) -> Result<Token> {
        self.get(&["users", user, "tokens", id]).await
    }

    /// Makes a token. Its secret is in the answer and nowhere else.
    pub async fn create_token(&self, user: &str, wanted: &TokenWanted) -> Result<TokenCreated> {
        self.put(Method::POST, &["users", user, "tokens"], wanted).await
    }

    /// Revokes a token.
    pub async fn delete_token(&self, user: &str, id: &str) -> Result<()> {
        self.order(Method::DELETE, &["users", user, "tokens", id], None).await.map(drop)
    }
}
