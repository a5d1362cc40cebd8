//! Roles: named lists of scopes.

use sea_orm::entity::prelude::*;

use crate::types::JsonList;

/// One row of `roles`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "roles")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// Unique name.
    pub name: String,
    /// Text for people.
    pub description: Option<String>,
    /// Scopes as they were configured, not expanded.
    pub scopes: JsonList,
    /// Whether the authenticator owns the role.
    pub managed_by_auth: bool,
}

/// Joins are written where they are used.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
