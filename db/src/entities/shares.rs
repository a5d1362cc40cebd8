//! Access to one server, given to a user or a group.

use sea_orm::entity::prelude::*;

use crate::types::{JsonList, Timestamp};

/// One row of `shares`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "shares")]
pub struct Model {
    /// Receiving user; exactly one of `user_id` and `group_id` is set.
    pub user_id: Option<i32>,
    /// Receiving group.
    pub group_id: Option<i32>,
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Each pinned to `!server=owner/name`.
    pub scopes: JsonList,
    /// When it ends; NULL: never.
    pub expires_at: Option<Timestamp>,
    /// Owner of the server.
    pub owner_id: Option<i32>,
    /// The server.
    pub spawner_id: Option<i32>,
}

/// Joins are written where they are used.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
