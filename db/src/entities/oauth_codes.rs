//! OAuth authorization codes, five minutes long.

use sea_orm::entity::prelude::*;

use crate::types::JsonList;

/// One row of `oauth_codes`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_codes")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// Identifier of the client.
    pub client_id: Option<String>,
    /// The code itself.
    pub code: Option<String>,
    /// Seconds since 1970.
    pub expires_at: Option<i32>,
    /// Where the client wants the browser back.
    pub redirect_uri: Option<String>,
    /// Browser session of the user.
    pub session_id: Option<String>,
    /// The user.
    pub user_id: Option<i32>,
    /// Granted scopes.
    pub scopes: JsonList,
    /// PKCE challenge.
    pub code_challenge: Option<String>,
    /// `plain` or `S256`.
    pub code_challenge_method: Option<String>,
}

/// Joins are written where they are used.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
