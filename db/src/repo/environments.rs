//! Variables that running servers are to have instead of those of their start: one row for each server, encrypted by
//! whoever keeps it.
//!
//! Stock has no table for them. Like logins of browsers they are authorization codes of the hub's own OAuth client: they
//! go when they have ended, with their user, and when all logins of the user are ended.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::{ConnectionTrait, QueryOrder as _};

use super::oauth::{HUB_CLIENT, epoch};
use crate::Tx;
use crate::entities::oauth_codes::{self, Column};
use crate::error::DbError;
use crate::types::JsonList;

/// Most bytes of one environment, encrypted. The columns of MariaDB end at 65,535.
pub const LONGEST: usize = 60_000;
/// How long one is kept. Whoever has worked for longer without the hub gets another one by coming back.
const LIFE: TimeDelta = TimeDelta::days(1);
/// Begins the code of every environment; the row of the server in `spawners` follows.
const PREFIX: &str = "himalia-env:";

/// What was kept for one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// When.
    pub at: DateTime<Utc>,
    /// The variables, encrypted.
    pub encrypted: String,
}

fn code(spawner: i32) -> String {
    format!("{PREFIX}{spawner}")
}

/// Keeps an environment for a server, in place of the one before. Two statements.
///
/// # Errors
/// [`DbError::Invalid`] where it is longer than [`LONGEST`].
pub async fn put(
    tx: &Tx,
    user_id: i32,
    spawner: i32,
    encrypted: String,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    if encrypted.len() > LONGEST {
        return Err(DbError::Invalid(format!("an environment has at most {LONGEST} bytes")));
    }
    delete(tx, spawner).await?;
    let row = oauth_codes::ActiveModel {
        client_id: Set(Some(HUB_CLIENT.to_owned())),
        code: Set(Some(code(spawner))),
        expires_at: Set(Some(epoch(now + LIFE))),
        user_id: Set(Some(user_id)),
        scopes: Set(JsonList(vec![now.to_rfc3339_opts(SecondsFormat::Micros, true), encrypted])),
        ..Default::default()
    };
    row.insert(tx).await?;
    Ok(())
}

/// What is kept for a server of a user, the newest where two hubs came at once.
pub async fn find(
    db: &impl ConnectionTrait,
    user_id: i32,
    spawner: i32,
    now: DateTime<Utc>,
) -> Result<Option<Environment>, DbError> {
    let row = oauth_codes::Entity::find()
        .filter(Column::UserId.eq(user_id))
        .filter(Column::ClientId.eq(HUB_CLIENT))
        .filter(Column::Code.eq(code(spawner)))
        .filter(Column::ExpiresAt.gte(epoch(now)))
        .order_by_desc(Column::Id)
        .one(db)
        .await?;
    Ok(row.and_then(|row| {
        let [at, encrypted] = <[String; 2]>::try_from(row.scopes.0).ok()?;
        Some(Environment { at: DateTime::parse_from_rfc3339(&at).ok()?.to_utc(), encrypted })
    }))
}

/// Forgets what is kept for a server.
pub async fn delete(db: &impl ConnectionTrait, spawner: i32) -> Result<(), DbError> {
    oauth_codes::Entity::delete_many()
        .filter(Column::ClientId.eq(HUB_CLIENT))
        .filter(Column::Code.eq(code(spawner)))
        .exec(db)
        .await?;
    Ok(())
}
