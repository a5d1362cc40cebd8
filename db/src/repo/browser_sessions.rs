//! Logins of browsers, one row for each, so that one of them can be seen and ended.
//!
//! Stock has no table for them: its login cookie is one for all browsers of a user. They are authorization codes of
//! the hub's own OAuth client, which gets none otherwise and has no secret to come for one with:
//! [`super::oauth::code`] does not know them. Stock looks codes up by their text alone, purges such a row when it
//! ends and deletes it with its user; ending what a browser session or a user was given ends the codes, and so the
//! logins ([`super::tokens`]).

use std::cmp::Reverse;

use chrono::{DateTime, SecondsFormat, Utc};
use hub_core::secret::random_bytes;
use sea_orm::ActiveValue::Set;
use sea_orm::ConnectionTrait;
use sea_orm::prelude::*;

use super::oauth::{HUB_CLIENT, epoch};
use crate::entities::oauth_codes::{self, Column};
use crate::error::DbError;
use crate::types::JsonList;

/// Begins the code of every login; codes that people get have other letters.
const PREFIX: &str = "himalia-login:";

/// One login of a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserSession {
    /// Different from those of all other logins that there are now; SQLite gives that of the newest row out again.
    pub id: i32,
    /// Tells it from logins that had its id before.
    tag: u32,
    /// Whose login it is.
    pub user_id: i32,
    /// The browser session with whose end it ends, and the tokens that servers got in it.
    pub session_id: String,
    /// When it began.
    pub created: DateTime<Utc>,
    /// When the browser was last seen.
    pub last_activity: DateTime<Utc>,
    /// When the login cookie ends, to the second.
    pub expires_at: DateTime<Utc>,
    /// From where it came.
    pub address: Option<String>,
    /// What the browser said that it is.
    pub agent: Option<String>,
    /// Stands for the session at the identity service that the login came from, where that told one.
    pub mark: Option<String>,
}

/// What to store for a new login.
#[derive(Debug, Clone)]
pub struct NewBrowserSession {
    /// Whose login it is.
    pub user_id: i32,
    /// The browser session, at most 255 characters.
    pub session_id: String,
    /// When the login cookie ends.
    pub expires_at: DateTime<Utc>,
    /// From where it came.
    pub address: Option<String>,
    /// What the browser said that it is, in a few hundred characters.
    pub agent: Option<String>,
    /// Stands for the session at the identity service that it comes from, at most 255 characters.
    pub mark: Option<String>,
}

impl BrowserSession {
    /// The number for the login cookie, never 0 and never given out twice.
    pub fn number(&self) -> u64 {
        (u64::from(self.id.unsigned_abs()) << 32) | u64::from(self.tag)
    }

    /// Whether it has ended by itself. The column knows no moment after January 2038: what ends then or later ends
    /// with its cookie, and is found for as long, see [`of_user`].
    pub fn has_ended(&self, now: DateTime<Utc>) -> bool {
        self.expires_at < now && self.expires_at.timestamp() < i64::from(i32::MAX)
    }

    fn details(&self) -> JsonList {
        let moment = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        JsonList(vec![
            moment(self.created),
            moment(self.last_activity),
            text(&self.address),
            text(&self.agent),
        ])
    }

    /// Of a row; none of codes that are no logins.
    fn of(row: oauth_codes::Model) -> Option<Self> {
        let tag = row.code.as_deref()?.strip_prefix(PREFIX)?;
        let [created, last_activity, address, agent] = <[String; 4]>::try_from(row.scopes.0).ok()?;
        let moment = |text: &str| Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
        Some(Self {
            id: row.id,
            tag: u32::from_str_radix(tag, 16).ok()?,
            user_id: row.user_id?,
            session_id: row.session_id?,
            created: moment(&created)?,
            last_activity: moment(&last_activity)?,
            expires_at: DateTime::from_timestamp(row.expires_at?.into(), 0)?,
            address: Some(address).filter(|text| !text.is_empty()),
            agent: Some(agent).filter(|text| !text.is_empty()),
            // The hub's own client sends no browser anywhere.
            mark: row.redirect_uri,
        })
    }
}

fn code(tag: u32) -> String {
    format!("{PREFIX}{tag:08x}")
}

/// Notes a login.
pub async fn begin(
    db: &impl ConnectionTrait,
    new: NewBrowserSession,
    now: DateTime<Utc>,
) -> Result<BrowserSession, DbError> {
    let expires_at = epoch(new.expires_at);
    let mut session = BrowserSession {
        id: 0,
        tag: u32::from_ne_bytes(random_bytes()),
        user_id: new.user_id,
        session_id: new.session_id,
        created: now,
        last_activity: now,
        expires_at: DateTime::from_timestamp(expires_at.into(), 0).unwrap_or(new.expires_at),
        address: new.address,
        agent: new.agent,
        mark: new.mark,
    };
    let row = oauth_codes::ActiveModel {
        client_id: Set(Some(HUB_CLIENT.to_owned())),
        code: Set(Some(code(session.tag))),
        expires_at: Set(Some(expires_at)),
        redirect_uri: Set(session.mark.clone()),
        session_id: Set(Some(session.session_id.clone())),
        user_id: Set(Some(session.user_id)),
        scopes: Set(session.details()),
        ..Default::default()
    };
    session.id = row.insert(db).await?.id;
    Ok(session)
}

/// The login of a user with this number, if it has not been ended. It may have ended by itself. Found by its key.
pub async fn find(
    db: &impl ConnectionTrait,
    user_id: i32,
    number: u64,
) -> Result<Option<BrowserSession>, DbError> {
    let Ok(id) = i32::try_from(number >> 32) else { return Ok(None) };
    let row = oauth_codes::Entity::find_by_id(id).filter(Column::UserId.eq(user_id)).one(db).await?;
    Ok(row.and_then(BrowserSession::of).filter(|session| session.number() == number))
}

/// The login with this id, whosever it is.
pub async fn by_id(
    db: &impl ConnectionTrait,
    id: i32,
    now: DateTime<Utc>,
) -> Result<Option<BrowserSession>, DbError> {
    let row = oauth_codes::Entity::find_by_id(id).filter(Column::ClientId.eq(HUB_CLIENT)).one(db).await?;
    Ok(row.and_then(BrowserSession::of).filter(|session| !session.has_ended(now)))
}

/// The logins of a user that have not ended, the one seen last first.
pub async fn of_user(
    db: &impl ConnectionTrait,
    user_id: i32,
    now: DateTime<Utc>,
) -> Result<Vec<BrowserSession>, DbError> {
    let rows = oauth_codes::Entity::find()
        .filter(Column::UserId.eq(user_id))
        .filter(Column::ClientId.eq(HUB_CLIENT))
        .filter(Column::ExpiresAt.gte(epoch(now)))
        .all(db)
        .await?;
    let mut sessions: Vec<_> = rows.into_iter().filter_map(BrowserSession::of).collect();
    sessions.sort_by_key(|session| Reverse((session.last_activity, session.id)));
    Ok(sessions)
}

/// The logins with this mark, whosever they are. One statement, which reads all codes that have not ended.
pub async fn of_mark(
    db: &impl ConnectionTrait,
    mark: &str,
    now: DateTime<Utc>,
) -> Result<Vec<BrowserSession>, DbError> {
    let rows = oauth_codes::Entity::find()
        .filter(Column::RedirectUri.eq(mark))
        .filter(Column::ClientId.eq(HUB_CLIENT))
        .filter(Column::ExpiresAt.gte(epoch(now)))
        .all(db)
        .await?;
    Ok(rows.into_iter().filter_map(BrowserSession::of).collect())
}

/// Notes that the browser was seen. One statement.
pub async fn seen(
    db: &impl ConnectionTrait,
    session: &BrowserSession,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    let details = BrowserSession { last_activity: at, ..session.clone() }.details();
    oauth_codes::Entity::update_many()
        .col_expr(Column::Scopes, Expr::value(details))
        .filter(Column::Id.eq(session.id))
        .filter(Column::Code.eq(code(session.tag)))
        .exec(db)
        .await?;
    Ok(())
}

/// Forgets one login. Tokens stay.
pub async fn delete(db: &impl ConnectionTrait, session: &BrowserSession) -> Result<(), DbError> {
    oauth_codes::Entity::delete_many()
        .filter(Column::Id.eq(session.id))
        .filter(Column::Code.eq(code(session.tag)))
        .exec(db)
        .await?;
    Ok(())
}
