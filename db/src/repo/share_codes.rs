//! Codes that can be exchanged for a share.

use chrono::{DateTime, Utc};
use hub_core::secret::random_urlsafe;
use hub_core::token;
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{Condition, ConnectionTrait, QueryOrder as _, QuerySelect as _};

use super::shares::{Receiver, Share, Shared, grant, pinned, shared_servers};
use super::{Page, Range, hashing};
use crate::entities::share_codes;
use crate::error::DbError;
use crate::types::{JsonList, Timestamp};

/// One code; the code itself is known only when it is made.
pub use crate::entities::share_codes::Model as ShareCode;

/// A code with what its REST model shows.
#[derive(Debug, Clone)]
pub struct ShareCodeDetails {
    /// The row; its scopes are pinned to the present names of owner and server.
    pub code: ShareCode,
    /// The server that it opens.
    pub server: Shared,
}

/// Which codes to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFilter {
    /// Of one server, by `spawners.id`.
    OfServer(i32),
    /// Of all servers of one owner.
    OfOwner(i32),
}

fn not_ended(now: DateTime<Utc>) -> Condition {
    Condition::any()
        .add(share_codes::Column::ExpiresAt.is_null())
        .add(share_codes::Column::ExpiresAt.gte(Timestamp::from(now)))
}

/// Makes a code for a server and returns it with its row. The scopes are pinned to the server.
///
/// # Errors
/// [`DbError::Invalid`] without scopes.
pub async fn create(
    db: &impl ConnectionTrait,
    server: &Shared,
    scopes: &[String],
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(ShareCode, String), DbError> {
    if scopes.is_empty() {
        return Err(DbError::Invalid("a share code needs at least one scope".to_owned()));
    }
    let text = random_urlsafe();
    let row = share_codes::ActiveModel {
        hashed: Set(Some(hashing::hash(&text, token::GENERATED_ROUNDS).await?)),
        prefix: Set(Some(token::prefix(&text))),
        exchange_count: Set(Some(0)),
        created_at: Set(now.into()),
        scopes: Set(JsonList(pinned(scopes, &server.owner_name, &server.server_name))),
        expires_at: Set(Some(expires_at.into())),
        owner_id: Set(Some(server.owner_id)),
        spawner_id: Set(Some(server.spawner_id)),
        ..Default::default()
    };
    Ok((row.insert(db).await?, text))
}

/// The code behind `text`, if it is known and has not ended. Three queries. Compared in constant time.
pub async fn find(
    db: &impl ConnectionTrait,
    text: &str,
    now: DateTime<Utc>,
) -> Result<Option<ShareCodeDetails>, DbError> {
    // NUL is an error and not a mismatch for PostgreSQL.
    if text.is_empty() || text.len() > token::MAX_LENGTH || text.contains('\0') {
        return Ok(None);
    }
    let mut candidates = share_codes::Entity::find()
        .filter(share_codes::Column::Prefix.eq(token::prefix(text)))
        .filter(not_ended(now))
        .all(db)
        .await?;
    let hashes = candidates.iter().map(|row| row.hashed.clone()).collect();
    let Some(position) = hashing::position(text, hashes).await? else { return Ok(None) };
    let found = candidates.swap_remove(position);
    Ok(with_servers(db, vec![found]).await?.pop())
}

/// The code with this id that has not ended. Three queries.
pub async fn by_id(
    db: &impl ConnectionTrait,
    id: i32,
    now: DateTime<Utc>,
) -> Result<Option<ShareCodeDetails>, DbError> {
    let row = share_codes::Entity::find_by_id(id).filter(not_ended(now)).one(db).await?;
    Ok(with_servers(db, row.into_iter().collect()).await?.pop())
}

fn filter(which: CodeFilter) -> Expr {
    match which {
        CodeFilter::OfServer(id) => share_codes::Column::SpawnerId.eq(id),
        CodeFilter::OfOwner(id) => share_codes::Column::OwnerId.eq(id),
    }
}

/// One page of codes that have not ended, by id. Four queries.
pub async fn list(
    db: &impl ConnectionTrait,
    which: CodeFilter,
    range: Range,
    now: DateTime<Utc>,
) -> Result<Page<ShareCodeDetails>, DbError> {
    let select = share_codes::Entity::find().filter(filter(which)).filter(not_ended(now));
    let total = select.clone().count(db).await?;
    let page = select.order_by_asc(share_codes::Column::Id).offset(range.offset).limit(range.limit);
    let rows = page.all(db).await?;
    Ok(Page { items: with_servers(db, rows).await?, total })
}

async fn with_servers(
    db: &impl ConnectionTrait,
    rows: Vec<ShareCode>,
) -> Result<Vec<ShareCodeDetails>, DbError> {
    let ids: Vec<i32> = rows.iter().filter_map(|code| code.spawner_id).collect();
    let servers = shared_servers(db, &ids).await?;
    let details = rows.into_iter().filter_map(|mut code| {
        let server = servers.get(&code.spawner_id?)?.clone();
        code.scopes = JsonList(pinned(&code.scopes.0, &server.owner_name, &server.server_name));
        Some(ShareCodeDetails { code, server })
    });
    Ok(details.collect())
}

/// Gives `receiver` what the code offers and counts the exchange, also when it brings nothing new. Several statements;
/// give it a transaction.
pub async fn exchange(
    db: &impl ConnectionTrait,
    code: &ShareCodeDetails,
    receiver: Receiver,
    now: DateTime<Utc>,
) -> Result<Share, DbError> {
    let share = grant(db, &code.server, receiver, &code.code.scopes.0, now).await?;
    let count = Expr::col(share_codes::Column::ExchangeCount);
    share_codes::Entity::update_many()
        // Two exchanges at once must count as two.
        .col_expr(share_codes::Column::ExchangeCount, count.if_null(0).add(1))
        .col_expr(share_codes::Column::LastExchangedAt, Expr::value(Timestamp::from(now)))
        .filter(share_codes::Column::Id.eq(code.code.id))
        .exec(db)
        .await?;
    Ok(share)
}

/// Deletes a code. `false`: there was none.
pub async fn delete(db: &impl ConnectionTrait, id: i32) -> Result<bool, DbError> {
    Ok(share_codes::Entity::delete_by_id(id).exec(db).await?.rows_affected > 0)
}

/// Deletes all codes of a server. How many.
pub async fn delete_of_server(db: &impl ConnectionTrait, spawner_id: i32) -> Result<u64, DbError> {
    let done =
        share_codes::Entity::delete_many().filter(filter(CodeFilter::OfServer(spawner_id))).exec(db).await?;
    Ok(done.rows_affected)
}
