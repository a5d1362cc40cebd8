//! Logins of browsers, one row for each, so that one of them can be seen and ended.
//!
//! Stock has no table for them: its login cookie is one for all browsers of a user. They are rows of `api_tokens` without
//! a prefix, which no token can match; `hashed` holds the number that the login cookie carries. Stock purges such a row
//! when it ends, deletes it with the tokens of its `session_id` at logout and with its user, and lists it by its note.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::{Condition, ConnectionTrait, QueryOrder as _};

use super::oauth;
use crate::entities::api_tokens;
use crate::error::DbError;
use crate::types::{JsonList, Timestamp};

/// One login of a browser.
pub use crate::entities::api_tokens::Model as BrowserSession;

/// How `hashed` begins.
const MARK: &str = "himalia-session:";

/// What to store for a new login.
#[derive(Debug, Clone)]
pub struct NewBrowserSession {
    /// Whose login it is.
    pub user_id: i32,
    /// The number in the login cookie, never used before.
    pub number: u64,
    /// The browser session with whose end it ends, and the tokens that servers got in it.
    pub session_id: String,
    /// From where and with what, in at most 1023 characters.
    pub note: String,
    /// When the login cookie ends.
    pub expires_at: DateTime<Utc>,
}

fn stored(number: u64) -> String {
    format!("{MARK}{number:016x}")
}

/// Rows that are logins and not tokens.
pub(super) fn is_session() -> Expr {
    api_tokens::Column::Hashed.starts_with(MARK)
}

fn not_ended(now: DateTime<Utc>) -> Expr {
    api_tokens::Column::ExpiresAt.gte(Timestamp::from(now))
}

/// The number in the login cookie of a session.
pub fn number(session: &BrowserSession) -> Option<u64> {
    u64::from_str_radix(session.hashed.as_deref()?.strip_prefix(MARK)?, 16).ok()
}

/// Notes a login.
pub async fn begin(
    db: &impl ConnectionTrait,
    new: NewBrowserSession,
    now: DateTime<Utc>,
) -> Result<BrowserSession, DbError> {
    let row = api_tokens::ActiveModel {
        user_id: Set(Some(new.user_id)),
        hashed: Set(Some(stored(new.number))),
        client_id: Set(Some(oauth::HUB_CLIENT.to_owned())),
        session_id: Set(Some(new.session_id)),
        created: Set(Some(now.into())),
        last_activity: Set(Some(now.into())),
        expires_at: Set(Some(new.expires_at.into())),
        note: Set(Some(new.note)),
        scopes: Set(JsonList(Vec::new())),
        ..Default::default()
    };
    Ok(row.insert(db).await?)
}

/// The login of a user with this number, if it has not been ended. It may have ended by itself.
pub async fn find(
    db: &impl ConnectionTrait,
    user_id: i32,
    number: u64,
) -> Result<Option<BrowserSession>, DbError> {
    Ok(api_tokens::Entity::find()
        .filter(api_tokens::Column::Hashed.eq(stored(number)))
        .filter(api_tokens::Column::UserId.eq(user_id))
        .one(db)
        .await?)
}

/// The login with this id, whosever it is.
pub async fn by_id(
    db: &impl ConnectionTrait,
    id: i32,
    now: DateTime<Utc>,
) -> Result<Option<BrowserSession>, DbError> {
    let wanted = Condition::all().add(is_session()).add(not_ended(now));
    Ok(api_tokens::Entity::find_by_id(id).filter(wanted).one(db).await?)
}

/// The logins of a user that have not ended, the one seen last first.
pub async fn of_user(
    db: &impl ConnectionTrait,
    user_id: i32,
    now: DateTime<Utc>,
) -> Result<Vec<BrowserSession>, DbError> {
    Ok(api_tokens::Entity::find()
        .filter(api_tokens::Column::UserId.eq(user_id))
        .filter(is_session())
        .filter(not_ended(now))
        .order_by_desc(api_tokens::Column::LastActivity)
        .order_by_desc(api_tokens::Column::Id)
        .all(db)
        .await?)
}

/// Forgets the logins of a user in one browser session that began before a moment, whose cookie is about to be replaced.
/// Tokens stay.
pub async fn forget_in(
    db: &impl ConnectionTrait,
    user_id: i32,
    session_id: &str,
    before: DateTime<Utc>,
) -> Result<(), DbError> {
    api_tokens::Entity::delete_many()
        .filter(is_session())
        .filter(api_tokens::Column::UserId.eq(user_id))
        .filter(api_tokens::Column::SessionId.eq(session_id))
        .filter(api_tokens::Column::Created.lt(Timestamp::from(before)))
        .exec(db)
        .await?;
    Ok(())
}

/// Ends one login. Not by its id alone: SQLite gives that of the newest row out again.
pub async fn delete(db: &impl ConnectionTrait, session: &BrowserSession) -> Result<(), DbError> {
    api_tokens::Entity::delete_many()
        .filter(api_tokens::Column::Id.eq(session.id))
        .filter(api_tokens::Column::Hashed.eq(session.hashed.clone()))
        .exec(db)
        .await?;
    Ok(())
}

/// Ids of all that was made for a user in one browser session, logins among them.
pub async fn ids_in(db: &impl ConnectionTrait, user_id: i32, session_id: &str) -> Result<Vec<i32>, DbError> {
    let rows = api_tokens::Entity::find()
        .filter(api_tokens::Column::UserId.eq(user_id))
        .filter(api_tokens::Column::SessionId.eq(session_id))
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
