//! Shares and share codes.

use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value};

use super::transport::Query;
use super::{Client, Result};
use crate::models::{Share, ShareCode};

/// With whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareTo {
    /// A user.
    User(String),
    /// A group.
    Group(String),
}

/// With whom, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShareWanted {
    /// With whom.
    #[serde(flatten)]
    pub to: ShareTo,
    /// What it allows; none for the use of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// The path of a server's shares or codes, or of those of all servers of its owner.
fn path<'a>(what: &'a str, owner: &'a str, server: Option<&'a str>) -> Vec<&'a str> {
    [what, owner].into_iter().chain(server).collect()
}

impl Client {
    /// The shares of a server, or of all servers of its owner.
    pub async fn shares(&self, owner: &str, server: Option<&str>) -> Result<Vec<Share>> {
        self.list(&path("shares", owner, server), &Query::new()).await
    }

    /// What is shared with a user.
    pub async fn shared_with_user(&self, user: &str) -> Result<Vec<Share>> {
        self.list(&["users", user, "shared"], &Query::new()).await
    }

    /// Shares a server.
    pub async fn share(&self, owner: &str, server: &str, wanted: &ShareWanted) -> Result<Share> {
        self.put(Method::POST, &path("shares", owner, Some(server)), wanted).await
    }

    /// Ends a share, or parts of it. What is left, if anything.
    pub async fn unshare(&self, owner: &str, server: &str, wanted: &ShareWanted) -> Result<Option<Share>> {
        let left: Map<String, Value> =
            self.put(Method::PATCH, &path("shares", owner, Some(server)), wanted).await?;
        if left.is_empty() {
            return Ok(None);
        }
        serde_json::from_value(Value::Object(left))
            .map(Some)
            .map_err(|error| super::ClientError::Foreign { url: "shares".to_owned(), why: error.to_string() })
    }

    /// Ends all shares of a server.
    pub async fn unshare_all(&self, owner: &str, server: &str) -> Result<()> {
        self.order(Method::DELETE, &path("shares", owner, Some(server)), None).await.map(drop)
    }

    /// The share codes of a server, or of all servers of its owner.
    pub async fn share_codes(&self, owner: &str, server: Option<&str>) -> Result<Vec<ShareCode>> {
        self.list(&path("share-codes", owner, server), &Query::new()).await
    }

    /// Makes a share code. The code is in the answer and nowhere else.
    pub async fn create_share_code(
        &self,
        owner: &str,
        server: &str,
        expires_in: Option<u64>,
    ) -> Result<ShareCode> {
        let mut body = Map::new();
        if let Some(seconds) = expires_in {
            body.insert("expires_in".to_owned(), seconds.into());
        }
        self.put(Method::POST, &path("share-codes", owner, Some(server)), &body).await
    }

    /// Deletes a share code, or without an id all of a server.
    pub async fn delete_share_code(&self, owner: &str, server: &str, id: Option<&str>) -> Result<()> {
        let query: Query<'_> = id.map(|id| ("id", id.to_owned())).into_iter().collect();
        self.send(Method::DELETE, &path("share-codes", owner, Some(server)), &query, None).await.map(drop)
    }
}
