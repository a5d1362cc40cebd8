//! Users.

use sea_orm::entity::prelude::*;

use crate::types::{JsonDict, Timestamp};

/// One row of `users`.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// Unique name, already normalised.
    pub name: String,
    /// What the authenticator tells about the person (display name, e-mail and the like).
    pub user_info: Option<JsonDict>,
    /// Whether the role `admin` is held through the admin flag; NULL means no.
    pub admin: Option<bool>,
    /// When the row was made.
    pub created: Option<Timestamp>,
    /// NULL for a user who was never active.
    pub last_activity: Option<Timestamp>,
    /// Unique value behind the login cookie: a new one ends all browser sessions of the user.
    pub cookie_id: String,
    /// Legacy: spawner state before servers had rows of their own.
    pub state: Option<JsonDict>,
    /// Fernet token over the JSON of the authenticator's state.
    pub encrypted_auth_state: Option<Vec<u8>>,
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
