//! API tokens of users and services, OAuth access tokens among them.

use sea_orm::entity::prelude::*;

use crate::types::{JsonList, Timestamp};

/// One row of `api_tokens`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_tokens")]
pub struct Model {
    /// Owning user; exactly one of `user_id` and `service_id` is set.
    pub user_id: Option<i32>,
    /// Owning service.
    pub service_id: Option<i32>,
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// `sha512:ROUNDS:SALT:HEX`.
    pub hashed: Option<String>,
    /// First four characters of the token.
    pub prefix: Option<String>,
    /// OAuth client that issued it, `jupyterhub` for plain tokens. A token without one is stale.
    pub client_id: Option<String>,
    /// Browser session that it ends with.
    pub session_id: Option<String>,
    /// When the row was made.
    pub created: Option<Timestamp>,
    /// NULL: never.
    pub expires_at: Option<Timestamp>,
    /// Last activity seen.
    pub last_activity: Option<Timestamp>,
    /// Text given by whoever made the token.
    pub note: Option<String>,
    /// Scopes as requested, not expanded.
    pub scopes: JsonList,
}

/// Joins are written where they are used.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
