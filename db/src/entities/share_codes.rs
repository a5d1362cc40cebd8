//! Codes that can be exchanged for a share.

use sea_orm::entity::prelude::*;

use crate::types::{JsonList, Timestamp};

/// One row of `share_codes`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "share_codes")]
pub struct Model {
    /// `sha512:ROUNDS:SALT:HEX`.
    pub hashed: Option<String>,
    /// First four characters of the code.
    pub prefix: Option<String>,
    /// How often it was exchanged.
    pub exchange_count: Option<i32>,
    /// When it was last exchanged.
    pub last_exchanged_at: Option<Timestamp>,
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
