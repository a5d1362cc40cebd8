//! What happens to servers, in an order that is the same for all hubs on a database. The last events are kept there.
//!
//! As notices ([`super::notices`]) they are authorization codes of the hub's own OAuth client that belong to nobody;
//! the numbers of the rows are the order. A row must not appear when somebody has read beyond it: so hubs write one
//! after the other.

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::secret::random_hex32;
use sea_orm::prelude::*;
use sea_orm::{ConnectionTrait, DbBackend, QueryOrder as _, QuerySelect as _, Statement};

use super::CHUNK;
use super::notices::{LONGEST, left, row, stored_size};
use super::oauth::epoch;
use crate::entities::oauth_codes;
use crate::error::DbError;
use crate::session::Tx;

/// How many events are kept, and given to whoever reads from the beginning.
pub const KEPT: u64 = 1_000;
/// How long an event is kept at most.
const LIFE: TimeDelta = TimeDelta::days(7);
/// How much clocks of hubs may differ.
const SKEW: TimeDelta = TimeDelta::minutes(1);
/// Begins the code of every event.
const PREFIX: &str = "himalia.event:";

/// Where an event stands. SQLite gives the number of a row again when the row is gone, so there is a mark beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The number of the row.
    pub id: i32,
    /// Chosen at random.
    pub mark: u32,
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub text: String,
}

/// An event that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    code: String,
    text: String,
    /// Whether it may be kept already: nobody knows how an attempt ended.
    pub uncertain: bool,
}

impl NewEvent {
    /// An event that says this.
    ///
    /// # Errors
    /// [`DbError::Invalid`] where its [`stored_size`] is beyond [`LONGEST`].
    pub fn new(text: String) -> Result<Self, DbError> {
        if stored_size(&text) > LONGEST {
            return Err(DbError::Invalid(format!("an event has at most {LONGEST} bytes")));
        }
        let random = random_hex32();
        Ok(Self { code: format!("{PREFIX}{}", random.get(..22).unwrap_or(&random)), text, uncertain: false })
    }
}

/// Keeps events behind all others, but those that are kept already. Commit soon, since others wait for it.
pub async fn put(tx: &Tx, events: &[NewEvent], now: DateTime<Utc>) -> Result<(), DbError> {
    wait_in_line(tx).await?;
    let kept = kept(tx, events).await?;
    let new = events.iter().filter(|event| !kept.contains(&event.code));
    let rows: Vec<_> = new.map(|event| row(event.code.clone(), event.text.clone(), now + LIFE)).collect();
    if !rows.is_empty() {
        oauth_codes::Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// The codes of those that are kept already. No query where that is certain.
async fn kept(tx: &Tx, events: &[NewEvent]) -> Result<Vec<String>, DbError> {
    let uncertain: Vec<&str> =
        events.iter().filter(|event| event.uncertain).map(|event| event.code.as_str()).collect();
    if uncertain.is_empty() {
        return Ok(Vec::new());
    }
    let codes = oauth_codes::Entity::find()
        .select_only()
        .column(oauth_codes::Column::Code)
        .filter(left(PREFIX))
        .filter(oauth_codes::Column::Code.is_in(uncertain));
    Ok(codes.into_tuple().all(tx).await?)
}

/// Waits until the transactions of others that keep events have ended. SQLite's writers are in a line anyway.
async fn wait_in_line(tx: &Tx) -> Result<(), DbError> {
    let sql = match tx.get_database_backend() {
        // An arbitrary number, the same in every version.
        DbBackend::Postgres => "SELECT pg_advisory_xact_lock(7251963440219)",
        // A row that nothing else locks but upgrades, and that no other row refers to.
        DbBackend::MySql => "SELECT version_num FROM alembic_version FOR UPDATE",
        _ => return Ok(()),
    };
    tx.query_one_raw(Statement::from_string(tx.get_database_backend(), sql)).await?;
    Ok(())
}

/// The events from a row on, with that row if it is still there; without one from the first that is kept. If there are
/// more than [`KEPT`], the last of them. One query.
pub async fn since(
    db: &impl ConnectionTrait,
    from: Option<i32>,
    now: DateTime<Utc>,
) -> Result<Vec<Event>, DbError> {
    let mut rows = oauth_codes::Entity::find()
        .filter(left(PREFIX))
        .filter(oauth_codes::Column::Id.gte(from.unwrap_or(0)))
        .order_by_desc(oauth_codes::Column::Id)
        .limit(KEPT)
        .all(db)
        .await?;
    // Rows go when their time is over, and a little earlier for a hub whose clock is ahead. What comes before such a
    // row is of no use: what came after may be gone.
    let end = epoch(now + SKEW);
    if let Some(over) = rows.iter().position(|row| row.expires_at.is_some_and(|expires| expires < end)) {
        rows.truncate(over);
    }
    Ok(rows.into_iter().rev().filter_map(event).collect())
}

fn event(row: oauth_codes::Model) -> Option<Event> {
    let mark =
        row.code?.strip_prefix(PREFIX)?.get(..8).and_then(|mark| u32::from_str_radix(mark, 16).ok())?;
    Some(Event { place: Place { id: row.id, mark }, text: row.scopes.0.into_iter().next()? })
}

/// Deletes what comes before the last [`KEPT`], a few hundred at most. Two statements; the second locks no other rows.
pub async fn prune(db: &impl ConnectionTrait) -> Result<(), DbError> {
    let gone: Vec<i32> = oauth_codes::Entity::find()
        .select_only()
        .column(oauth_codes::Column::Id)
        .filter(left(PREFIX))
        .order_by_desc(oauth_codes::Column::Id)
        .offset(KEPT)
        .limit(CHUNK as u64)
        .into_tuple()
        .all(db)
        .await?;
    if !gone.is_empty() {
        oauth_codes::Entity::delete_many().filter(oauth_codes::Column::Id.is_in(gone)).exec(db).await?;
    }
    Ok(())
}
