//! API tokens, OAuth access tokens among them.

use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use hub_core::token;
use sea_orm::ActiveValue::{NotSet, Set, Unchanged};
use sea_orm::prelude::*;
use sea_orm::{Condition, ConnectionTrait, DbBackend, QueryOrder as _, TryIntoModel as _};

use super::{Owner, hashing, oauth};
use crate::entities::{api_tokens, oauth_codes};
use crate::error::DbError;
use crate::types::{JsonList, Timestamp};

/// One token; the token itself is known only when it is made.
pub use crate::entities::api_tokens::Model as ApiToken;

/// Shortest token that may be chosen; generated ones are longer.
pub const MIN_LENGTH: usize = 8;

/// What to store for a new token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose token it is.
    pub owner: Owner,
    /// Hash rounds: [`token::GENERATED_ROUNDS`] or [`token::CHOSEN_ROUNDS`].
    pub rounds: u32,
    /// The OAuth client that issues it, [`oauth::HUB_CLIENT`] for plain tokens; it must exist.
    pub client_id: String,
    /// Scopes, not expanded.
    pub scopes: Vec<String>,
    /// Text for people.
    pub note: String,
    /// Browser session with which it ends.
    pub session_id: Option<String>,
    /// When it ends; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token with the OAuth client that issued it, as lists show it.
#[derive(Debug, Clone)]
pub struct TokenDetails {
    /// The row.
    pub token: ApiToken,
    /// Description of the client, or its identifier when it has none.
    pub oauth_client: Option<String>,
}

/// Stores the hash of `text`.
///
/// # Errors
/// [`DbError::Invalid`] when it has not 8 to 64 characters, [`DbError::Conflict`] when it is in use already.
pub async fn create(
    db: &impl ConnectionTrait,
    text: &str,
    new: NewToken,
    now: DateTime<Utc>,
) -> Result<ApiToken, DbError> {
    if text.len() < MIN_LENGTH {
        return Err(DbError::Invalid(format!("a token has at least {MIN_LENGTH} characters")));
    }
    let hashed = hashing::hash(text, new.rounds).await?;
    // A generated token cannot meet another; a chosen one may.
    if new.rounds != token::GENERATED_ROUNDS && find(db, text, now).await?.is_some() {
        return Err(DbError::Conflict("the token is in use already".to_owned()));
    }
    let (user_id, service_id) = match new.owner {
        Owner::User(id) => (Some(id), None),
        Owner::Service(id) => (None, Some(id)),
    };
    let moment = |at: DateTime<Utc>| Timestamp::from(at.trunc_subsecs(6));
    let mut row = api_tokens::ActiveModel {
        user_id: Set(user_id),
        service_id: Set(service_id),
        id: NotSet,
        hashed: Set(Some(hashed)),
        prefix: Set(Some(token::prefix(text))),
        client_id: Set(Some(new.client_id)),
        session_id: Set(new.session_id),
        created: Set(Some(moment(now))),
        expires_at: Set(new.expires_at.map(moment)),
        last_activity: Set(None),
        note: Set(Some(truncated(&new.note))),
        scopes: Set(JsonList(new.scopes)),
    };
    if db.get_database_backend() != DbBackend::Sqlite {
        return Ok(row.insert(db).await?);
    }
    // The row would be read again with a statement of its own, and SQLite keeps every value as it gets it.
    row.id = Unchanged(api_tokens::Entity::insert(row.clone()).exec(db).await?.last_insert_id);
    Ok(row.try_into_model()?)
}

/// The column holds 1023 characters, and a longer note must not fail on the databases that count.
fn truncated(note: &str) -> String {
    note.chars().take(1023).collect()
}

/// The token behind `text`, if it is known and has not ended. Stale rows (issued by a client that is gone) are deleted
/// when seen and are no match. Compared in constant time.
pub async fn find(
    db: &impl ConnectionTrait,
    text: &str,
    now: DateTime<Utc>,
) -> Result<Option<ApiToken>, DbError> {
    // NUL is an error and not a mismatch for PostgreSQL.
    if text.is_empty() || text.len() > token::MAX_LENGTH || text.contains('\0') {
        return Ok(None);
    }
    let mut candidates = api_tokens::Entity::find()
        .filter(api_tokens::Column::Prefix.eq(token::prefix(text)))
        .filter(not_ended(now))
        .all(db)
        .await?;
    let hashes = candidates.iter().map(|row| row.hashed.clone()).collect();
    let Some(position) = hashing::position(text, hashes).await? else { return Ok(None) };
    let found = candidates.swap_remove(position);
    if found.client_id.as_deref().is_none_or(str::is_empty) {
        tracing::warn!(token = found.id, "deleting a stale token whose OAuth client is gone");
        api_tokens::Entity::delete_by_id(found.id).exec(db).await?;
        return Ok(None);
    }
    Ok(Some(found))
}

/// Whether a token that was read before has ended meanwhile.
pub fn has_ended(token: &ApiToken, now: DateTime<Utc>) -> bool {
    token.expires_at.is_some_and(|end| end.utc() < now)
}

fn not_ended(now: DateTime<Utc>) -> Condition {
    Condition::any()
        .add(api_tokens::Column::ExpiresAt.is_null())
        .add(api_tokens::Column::ExpiresAt.gte(Timestamp::from(now)))
}

fn owned_by(owner: Owner) -> Expr {
    match owner {
        Owner::User(id) => api_tokens::Column::UserId.eq(id),
        Owner::Service(id) => api_tokens::Column::ServiceId.eq(id),
    }
}

/// The tokens of an owner that have not ended, the most recently used (or else made) last. Two queries.
pub async fn of_owner(
    db: &impl ConnectionTrait,
    owner: Owner,
    now: DateTime<Utc>,
) -> Result<Vec<TokenDetails>, DbError> {
    let mut rows = api_tokens::Entity::find()
        .filter(owned_by(owner))
        .filter(not_ended(now))
        .order_by_asc(api_tokens::Column::Id)
        .all(db)
        .await?;
    rows.sort_by_key(|row| row.last_activity.or(row.created));
    with_clients(db, rows).await
}

/// A token with its client, as lists show it. One query.
pub async fn with_client(db: &impl ConnectionTrait, token: ApiToken) -> Result<TokenDetails, DbError> {
    let found = with_clients(db, vec![token.clone()]).await?.pop();
    Ok(found.unwrap_or(TokenDetails { token, oauth_client: None }))
}

async fn with_clients(db: &impl ConnectionTrait, rows: Vec<ApiToken>) -> Result<Vec<TokenDetails>, DbError> {
    let ids: Vec<String> = rows.iter().filter_map(|row| row.client_id.clone()).collect();
    let clients = oauth::clients_by_ids(db, &ids).await?;
    let details = rows.into_iter().map(|token| TokenDetails {
        oauth_client: token.client_id.as_ref().map(|id| {
            let described = clients.get(id).and_then(|client| client.description.clone());
            described.filter(|text| !text.is_empty()).unwrap_or_else(|| id.clone())
        }),
        token,
    });
    Ok(details.collect())
}

/// The token with this id, if it is this owner's and has not ended. Two queries.
pub async fn by_id(
    db: &impl ConnectionTrait,
    owner: Owner,
    id: i32,
    now: DateTime<Utc>,
) -> Result<Option<TokenDetails>, DbError> {
    let row =
        api_tokens::Entity::find_by_id(id).filter(owned_by(owner)).filter(not_ended(now)).one(db).await?;
    Ok(with_clients(db, row.into_iter().collect()).await?.pop())
}

/// The tokens that a client issued to a user and that have not ended.
pub async fn of_user_and_client(
    db: &impl ConnectionTrait,
    user_id: i32,
    client_id: &str,
    now: DateTime<Utc>,
) -> Result<Vec<ApiToken>, DbError> {
    Ok(api_tokens::Entity::find()
        .filter(api_tokens::Column::UserId.eq(user_id))
        .filter(api_tokens::Column::ClientId.eq(client_id))
        .filter(not_ended(now))
        .order_by_asc(api_tokens::Column::Id)
        .all(db)
        .await?)
}

/// Ends a token. `false`: there was none.
pub async fn delete(db: &impl ConnectionTrait, id: i32) -> Result<bool, DbError> {
    Ok(api_tokens::Entity::delete_by_id(id).exec(db).await?.rows_affected > 0)
}

/// Ends what one browser session of a user was given: its logout. Codes that could still be made tokens go, too, and
/// the login ([`super::browser_sessions`]). How many tokens.
pub async fn delete_by_session(
    db: &impl ConnectionTrait,
    user_id: i32,
    session_id: &str,
) -> Result<u64, DbError> {
    oauth_codes::Entity::delete_many()
        .filter(oauth_codes::Column::UserId.eq(user_id))
        .filter(oauth_codes::Column::SessionId.eq(session_id))
        .exec(db)
        .await?;
    let done = api_tokens::Entity::delete_many()
        .filter(api_tokens::Column::UserId.eq(user_id))
        .filter(api_tokens::Column::SessionId.eq(session_id))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}

/// Ends all tokens that a client issued to a user. How many.
pub async fn delete_by_client(
    db: &impl ConnectionTrait,
    user_id: i32,
    client_id: &str,
) -> Result<u64, DbError> {
    let done = api_tokens::Entity::delete_many()
        .filter(api_tokens::Column::UserId.eq(user_id))
        .filter(api_tokens::Column::ClientId.eq(client_id))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}

/// Replaces the scopes of a token.
pub async fn set_scopes(db: &impl ConnectionTrait, id: i32, scopes: Vec<String>) -> Result<(), DbError> {
    api_tokens::Entity::update_many()
        .col_expr(api_tokens::Column::Scopes, Expr::value(JsonList(scopes)))
        .filter(api_tokens::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Notes that a token was used, as [`super::users::bump_activity`] does.
pub async fn bump_activity(
    db: &impl ConnectionTrait,
    id: i32,
    at: DateTime<Utc>,
    resolution: TimeDelta,
) -> Result<bool, DbError> {
    let due = Condition::any()
        .add(api_tokens::Column::LastActivity.is_null())
        .add(api_tokens::Column::LastActivity.lt(Timestamp::from(at - resolution)));
    let done = api_tokens::Entity::update_many()
        .col_expr(api_tokens::Column::LastActivity, Expr::value(Timestamp::from(at)))
        .filter(api_tokens::Column::Id.eq(id))
        .filter(due)
        .exec(db)
        .await?;
    Ok(done.rows_affected > 0)
}

/// Ends the tokens of a user that carry this note: how a server's own token is told from others. How many.
pub async fn delete_of_server(db: &impl ConnectionTrait, user_id: i32, note: &str) -> Result<u64, DbError> {
    let done = api_tokens::Entity::delete_many()
        .filter(api_tokens::Column::UserId.eq(user_id))
        .filter(api_tokens::Column::Note.eq(note))
        .filter(api_tokens::Column::ClientId.eq(oauth::HUB_CLIENT))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}

/// What was ended of a user.
#[derive(Debug)]
pub struct Ended {
    /// The tokens.
    pub tokens: Vec<ApiToken>,
    /// The browser sessions that had tokens, codes or logins.
    pub sessions: BTreeSet<String>,
}

/// What stays when what a user has is ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Staying<'a> {
    /// Ids of tokens.
    pub tokens: &'a [i32],
    /// A browser session, with all that it was given.
    pub session: Option<&'a str>,
}

/// Ends what the browsers of a user were given, in whatever session, codes that could still be made tokens, and the
/// logins; with `all`, also the tokens that people made for themselves. Several statements, for one transaction.
pub async fn delete_of_user(
    tx: &crate::Tx,
    user_id: i32,
    all: bool,
    staying: Staying<'_>,
) -> Result<Ended, DbError> {
    let mut codes = Condition::all().add(oauth_codes::Column::UserId.eq(user_id));
    let mut doomed = Condition::all().add(api_tokens::Column::UserId.eq(user_id));
    if !all {
        let of_browsers = Condition::any()
            .add(api_tokens::Column::SessionId.is_not_null())
            .add(api_tokens::Column::ClientId.ne(oauth::HUB_CLIENT));
        doomed = doomed.add(of_browsers);
    }
    if !staying.tokens.is_empty() {
        doomed = doomed.add(api_tokens::Column::Id.is_not_in(staying.tokens.iter().copied()));
    }
    if let Some(session) = staying.session {
        codes = codes.add(
            Condition::any()
                .add(oauth_codes::Column::SessionId.is_null())
                .add(oauth_codes::Column::SessionId.ne(session)),
        );
        doomed = doomed.add(
            Condition::any()
                .add(api_tokens::Column::SessionId.is_null())
                .add(api_tokens::Column::SessionId.ne(session)),
        );
    }
    let ended_codes = oauth_codes::Entity::find().filter(codes.clone()).all(tx).await?;
    oauth_codes::Entity::delete_many().filter(codes).exec(tx).await?;
    let tokens = api_tokens::Entity::find().filter(doomed.clone()).all(tx).await?;
    api_tokens::Entity::delete_many().filter(doomed).exec(tx).await?;
    let sessions = ended_codes.into_iter().filter_map(|code| code.session_id);
    let sessions = sessions.chain(tokens.iter().filter_map(|token| token.session_id.clone()));
    let sessions = sessions.filter(|id| !id.is_empty()).collect();
    Ok(Ended { tokens, sessions })
}
