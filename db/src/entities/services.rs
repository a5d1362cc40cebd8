//! Services, from the configuration or made through the API.

use sea_orm::entity::prelude::*;

use crate::types::{JsonDict, JsonList};

/// One row of `services`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "services")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// Unique name.
    pub name: String,
    /// NULL means no.
    pub admin: Option<bool>,
    /// Where the service listens, when it is proxied.
    pub url: Option<String>,
    /// Scopes that its OAuth client may ask for.
    pub oauth_client_allowed_scopes: JsonList,
    /// Free information shown in the API.
    pub info: Option<JsonDict>,
    /// Whether the home page lists it.
    pub display: Option<bool>,
    /// Whether users skip the confirmation page.
    pub oauth_no_confirm: Option<bool>,
    /// Command of a managed service, empty otherwise.
    pub command: JsonList,
    /// Working directory of a managed service.
    pub cwd: Option<String>,
    /// Extra environment of a managed service.
    pub environment: Option<JsonDict>,
    /// System user of a managed service.
    pub user: Option<String>,
    /// Seconds to wait for a managed service to answer.
    pub timeout: i32,
    /// False for services made through the API; stock deletes the others when the configuration no longer
    /// names them.
    pub from_config: Option<bool>,
    /// Row of `servers` of a proxied service (column `_server_id`).
    #[sea_orm(column_name = "_server_id")]
    pub server_id: Option<i32>,
    /// Process id of a managed service.
    pub pid: Option<i32>,
    /// Identifier in `oauth_clients`.
    pub oauth_client_id: Option<String>,
}

/// Joins are written where they are used.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The admin flag, NULL being no.
    pub fn is_admin(&self) -> bool {
        self.admin.unwrap_or(false)
    }
}
