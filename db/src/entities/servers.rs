//! Where the hub reaches a running server or service.

use sea_orm::entity::prelude::*;

/// One row of `servers`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "servers")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// `http` or `https`.
    pub proto: Option<String>,
    /// Address or host name; empty for any.
    pub ip: Option<String>,
    /// TCP port.
    pub port: Option<i32>,
    /// Path prefix with slashes at both ends, like `/user/x/`.
    pub base_url: Option<String>,
    /// Legacy; stock stores `cookie`.
    pub cookie_name: Option<String>,
}

/// Joins are written where they are used.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
