//! Deletion of what has ended: hourly, at start-up, and before lists.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use sea_orm::prelude::*;

use crate::entities::{api_tokens, oauth_codes, share_codes, shares};
use crate::error::DbError;
use crate::types::Timestamp;

/// How many rows went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// API tokens.
    pub tokens: u64,
    /// Authorization codes.
    pub codes: u64,
    /// Shares.
    pub shares: u64,
    /// Share codes.
    pub share_codes: u64,
}

/// Deletes all tokens, authorization codes, shares and share codes that have ended. Four statements.
pub async fn expired(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<Purged, DbError> {
    let moment = Timestamp::from(now);
    let tokens =
        api_tokens::Entity::delete_many().filter(api_tokens::Column::ExpiresAt.lt(moment)).exec(db).await?;
    let codes = oauth_codes::Entity::delete_many()
        .filter(oauth_codes::Column::ExpiresAt.lt(i32::try_from(now.timestamp()).unwrap_or(i32::MAX)))
        .exec(db)
        .await?;
    let shares = shares::Entity::delete_many().filter(shares::Column::ExpiresAt.lt(moment)).exec(db).await?;
    let share_codes =
        share_codes::Entity::delete_many().filter(share_codes::Column::ExpiresAt.lt(moment)).exec(db).await?;
    Ok(Purged {
        tokens: tokens.rows_affected,
        codes: codes.rows_affected,
        shares: shares.rows_affected,
        share_codes: share_codes.rows_affected,
    })
}
