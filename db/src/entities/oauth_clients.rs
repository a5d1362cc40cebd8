//! OAuth clients of the hub: itself, servers, services.

use sea_orm::entity::prelude::*;

use crate::types::JsonList;

/// One row of `oauth_clients`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_clients")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// Unique client id.
    pub identifier: String,
    /// Text for people.
    pub description: Option<String>,
    /// Hashed secret; empty or NULL: the client cannot authenticate.
    pub secret: Option<String>,
    /// Where the client wants the browser back.
    pub redirect_uri: Option<String>,
    /// Scopes that the client may ask for.
    pub allowed_scopes: JsonList,
}

/// Joins are written where they are used.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
