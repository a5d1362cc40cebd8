//! What hubs on one database tell each other: short texts that every hub reads once.
//!
//! The schema is stock's and has no table for that. A notice is an authorization code of the hub's own OAuth client,
//! which gets none otherwise: it belongs to nobody, nobody is told it, and it goes with the codes that have ended, in
//! stock as well.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::secret::random_hex32;
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::{Condition, ConnectionTrait, QueryOrder as _, QuerySelect as _};

use super::CHUNK;
use super::oauth::{HUB_CLIENT, epoch};
use crate::entities::oauth_codes;
use crate::error::DbError;
use crate::types::{JsonList, python_json};

/// Most bytes that a text may have as it is stored, see [`stored_size`]. The columns of MariaDB end at 65,535.
pub const LONGEST: usize = 60_000;
/// How long a notice stays to be read. The clocks of hubs may differ by a few seconds.
const LIFE: TimeDelta = TimeDelta::minutes(2);
/// Begins the code of every notice; codes that people get have other lengths and letters.
const PREFIX: &str = "himalia:";

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Different for each.
    pub id: i32,
    /// What is told.
    pub text: String,
}

/// Bytes that a text has in its column: a letter beyond ASCII takes six or twelve.
pub fn stored_size(text: &str) -> usize {
    python_json(&serde_json::json!([text])).len()
}

/// Leaves a notice.
///
/// # Errors
/// [`DbError::Invalid`] where its [`stored_size`] is beyond [`LONGEST`].
pub async fn put(db: &impl ConnectionTrait, text: String, now: DateTime<Utc>) -> Result<(), DbError> {
    if stored_size(&text) > LONGEST {
        return Err(DbError::Invalid(format!("a notice has at most {LONGEST} bytes")));
    }
    let random = random_hex32();
    let code = format!("{PREFIX}{}", random.get(..24).unwrap_or(&random));
    row(code, text, now + LIFE).insert(db).await?;
    Ok(())
}

/// A row for a text that belongs to nobody.
pub(super) fn row(code: String, text: String, end: DateTime<Utc>) -> oauth_codes::ActiveModel {
    oauth_codes::ActiveModel {
        client_id: Set(Some(HUB_CLIENT.to_owned())),
        code: Set(Some(code)),
        expires_at: Set(Some(epoch(end))),
        scopes: Set(JsonList(vec![text])),
        ..Default::default()
    }
}

/// The rows of texts whose codes begin like this.
pub(super) fn left(prefix: &str) -> Condition {
    Condition::all()
        .add(oauth_codes::Column::ClientId.eq(HUB_CLIENT))
        .add(oauth_codes::Column::UserId.is_null())
        .add(oauth_codes::Column::Code.starts_with(prefix))
}

/// The notices that are still to be read and are not in `seen`, oldest first, whoever left them. `seen` then has all that
/// are still to be read, and forgets those that have gone. One query, and one for every few hundred new ones.
pub async fn unseen(
    db: &impl ConnectionTrait,
    seen: &mut BTreeSet<i32>,
    now: DateTime<Utc>,
) -> Result<Vec<Notice>, DbError> {
    let all: Vec<i32> = oauth_codes::Entity::find()
        .select_only()
        .column(oauth_codes::Column::Id)
        .filter(left(PREFIX))
        .filter(oauth_codes::Column::ExpiresAt.gte(epoch(now)))
        .order_by_asc(oauth_codes::Column::Id)
        .into_tuple()
        .all(db)
        .await?;
    let new: Vec<i32> = all.iter().copied().filter(|id| !seen.contains(id)).collect();
    let mut notices = Vec::with_capacity(new.len());
    for ids in new.chunks(CHUNK) {
        let rows = oauth_codes::Entity::find()
            .filter(oauth_codes::Column::Id.is_in(ids.iter().copied()))
            .order_by_asc(oauth_codes::Column::Id)
            .all(db)
            .await?;
        let notice =
            |row: oauth_codes::Model| Some(Notice { id: row.id, text: row.scopes.0.into_iter().next()? });
        notices.extend(rows.into_iter().filter_map(notice));
    }
    *seen = all.into_iter().collect();
    Ok(notices)
}
