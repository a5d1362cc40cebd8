//! Servers of users, running or not: the default one is named `""`.

use sea_orm::entity::prelude::*;

use crate::types::{JsonDict, Timestamp};

/// One row of `spawners`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "spawners")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// Owner.
    pub user_id: Option<i32>,
    /// Row of `servers` while the server is up or coming up.
    pub server_id: Option<i32>,
    /// What the spawner needs to find its server again.
    pub state: Option<JsonDict>,
    /// Name among the owner's servers, `""` for the default one.
    pub name: String,
    /// Name shown to people. Stock refuses to start when it is set on a row whose `name` is not a valid
    /// version 6 name.
    pub display_name: Option<String>,
    /// When the server was last started; NULL while it is stopped.
    pub started: Option<Timestamp>,
    /// Last activity seen.
    pub last_activity: Option<Timestamp>,
    /// Options of the last start; NULL before the first.
    pub user_options: Option<JsonDict>,
    /// Identifier in `oauth_clients`.
    pub oauth_client_id: Option<String>,
}

/// Joins are written where they are used.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
