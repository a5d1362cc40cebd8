//! Shares: access to one server, given to a user or a group.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::sea_query::Query;
use sea_orm::{Condition, ConnectionTrait, JoinType, QueryOrder as _, QuerySelect as _};

use super::{Page, Range, groups, spawners, users};
use crate::entities::{share_codes, shares, spawners as spawner_rows, user_group_map, users as user_rows};
use crate::error::DbError;
use crate::types::{JsonList, Timestamp};

/// One share.
pub use crate::entities::shares::Model as Share;

/// Who receives a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Receiver {
    /// `users.id`
    User(i32),
    /// `groups.id`
    Group(i32),
}

/// The server that is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// `spawners.id`
    pub spawner_id: i32,
    /// Name of the server, `""` for the default one.
    pub server_name: String,
    /// `users.id` of the owner.
    pub owner_id: i32,
    /// Name of the owner.
    pub owner_name: String,
}

/// A share with what its REST model shows.
#[derive(Debug, Clone)]
pub struct ShareDetails {
    /// The row; its scopes are pinned to the present names of owner and server.
    pub share: Share,
    /// The shared server.
    pub server: Shared,
    /// Name of the receiving user.
    pub user: Option<String>,
    /// Name of the receiving group.
    pub group: Option<String>,
}

/// Which shares to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareFilter {
    /// Given to a user, directly or through its groups.
    ToUserOrItsGroups(i32),
    /// Given to a user directly.
    ToUser(i32),
    /// Given to a group.
    ToGroup(i32),
    /// Of one server, by `spawners.id`.
    OfServer(i32),
    /// Of all servers of one owner.
    OfOwner(i32),
}

/// Scopes with their filter set to this server: `access:servers` becomes `access:servers!server=owner/name`.
/// Sorted, each once.
pub fn pinned<'a>(scopes: impl IntoIterator<Item = &'a String>, owner: &str, server: &str) -> Vec<String> {
    let pinned: BTreeSet<String> = scopes
        .into_iter()
        .map(|scope| {
            let base = scope.split('!').next().unwrap_or_default();
            format!("{base}!server={owner}/{server}")
        })
        .collect();
    pinned.into_iter().collect()
}

fn filter(filter: ShareFilter) -> Condition {
    match filter {
        ShareFilter::ToUser(id) => Condition::all().add(shares::Column::UserId.eq(id)),
        ShareFilter::ToGroup(id) => Condition::all().add(shares::Column::GroupId.eq(id)),
        ShareFilter::OfServer(id) => Condition::all().add(shares::Column::SpawnerId.eq(id)),
        ShareFilter::OfOwner(id) => Condition::all().add(shares::Column::OwnerId.eq(id)),
        ShareFilter::ToUserOrItsGroups(id) => {
            let groups = Query::select()
                .column(user_group_map::Column::GroupId)
                .from(user_group_map::Entity)
                .and_where(user_group_map::Column::UserId.eq(id))
                .take();
            Condition::any()
                .add(shares::Column::UserId.eq(id))
                .add(shares::Column::GroupId.in_subquery(groups))
        }
    }
}

fn not_ended(now: DateTime<Utc>) -> Condition {
    Condition::any()
        .add(shares::Column::ExpiresAt.is_null())
        .add(shares::Column::ExpiresAt.gt(Timestamp::from(now)))
}

/// One page of shares that have not ended, by id. Six queries.
pub async fn list(
    db: &impl ConnectionTrait,
    which: ShareFilter,
    range: Range,
    now: DateTime<Utc>,
) -> Result<Page<ShareDetails>, DbError> {
    let select = shares::Entity::find().filter(filter(which)).filter(not_ended(now));
    let total = select.clone().count(db).await?;
    let rows =
        select.order_by_asc(shares::Column::Id).offset(range.offset).limit(range.limit).all(db).await?;
    Ok(Page { items: with_details(db, rows).await?, total })
}

/// All shares that have not ended: what scopes are computed from. Five queries.
pub async fn all(
    db: &impl ConnectionTrait,
    which: ShareFilter,
    now: DateTime<Utc>,
) -> Result<Vec<ShareDetails>, DbError> {
    let rows = shares::Entity::find()
        .filter(filter(which))
        .filter(not_ended(now))
        .order_by_asc(shares::Column::Id)
        .all(db)
        .await?;
    with_details(db, rows).await
}

/// The share of one server with one receiver that has not ended. Five queries.
pub async fn find(
    db: &impl ConnectionTrait,
    spawner_id: i32,
    receiver: Receiver,
    now: DateTime<Utc>,
) -> Result<Option<ShareDetails>, DbError> {
    let row = shares::Entity::find()
        .filter(to(receiver))
        .filter(shares::Column::SpawnerId.eq(spawner_id))
        .filter(not_ended(now))
        .one(db)
        .await?;
    Ok(with_details(db, row.into_iter().collect()).await?.pop())
}

fn to(receiver: Receiver) -> Expr {
    match receiver {
        Receiver::User(id) => shares::Column::UserId.eq(id),
        Receiver::Group(id) => shares::Column::GroupId.eq(id),
    }
}

/// The shared servers of rows, by `spawners.id`. Two queries. Rows whose server or owner is gone have none.
pub(super) async fn shared_servers(
    db: &impl ConnectionTrait,
    spawner_ids: &[i32],
) -> Result<std::collections::HashMap<i32, Shared>, DbError> {
    let rows = spawners::rows_by_ids(db, spawner_ids).await?;
    let owners: Vec<i32> = rows.values().filter_map(|row| row.user_id).collect();
    let owners = users::by_ids(db, &owners).await?;
    let shared = rows.into_iter().filter_map(|(spawner_id, row)| {
        let owner = owners.get(&row.user_id?)?;
        let server =
            Shared { spawner_id, server_name: row.name, owner_id: owner.id, owner_name: owner.name.clone() };
        Some((spawner_id, server))
    });
    Ok(shared.collect())
}

async fn with_details(db: &impl ConnectionTrait, rows: Vec<Share>) -> Result<Vec<ShareDetails>, DbError> {
    let ids: Vec<i32> = rows.iter().filter_map(|share| share.spawner_id).collect();
    let servers = shared_servers(db, &ids).await?;
    let ids: Vec<i32> = rows.iter().filter_map(|share| share.user_id).collect();
    let users = users::by_ids(db, &ids).await?;
    let ids: Vec<i32> = rows.iter().filter_map(|share| share.group_id).collect();
    let groups = groups::by_ids(db, &ids).await?;
    let details = rows.into_iter().filter_map(|mut share| {
        let server = servers.get(&share.spawner_id?)?.clone();
        share.scopes = JsonList(pinned(&share.scopes.0, &server.owner_name, &server.server_name));
        Some(ShareDetails {
            user: share.user_id.and_then(|id| users.get(&id)).map(|user| user.name.clone()),
            group: share.group_id.and_then(|id| groups.get(&id)).map(|group| group.name.clone()),
            server,
            share,
        })
    });
    Ok(details.collect())
}

/// The scopes that shares give to a user, pinned to the present names of owner and server, sorted, each once: shares
/// given directly, and with `groups` those given to groups of the user. One query.
pub async fn scopes_of_user(
    db: &impl ConnectionTrait,
    user_id: i32,
    groups: bool,
    now: DateTime<Utc>,
) -> Result<Vec<String>, DbError> {
    let which = if groups { ShareFilter::ToUserOrItsGroups(user_id) } else { ShareFilter::ToUser(user_id) };
    let server = shares::Entity::belongs_to(spawner_rows::Entity)
        .from(shares::Column::SpawnerId)
        .to(spawner_rows::Column::Id)
        .into();
    let owner = spawner_rows::Entity::belongs_to(user_rows::Entity)
        .from(spawner_rows::Column::UserId)
        .to(user_rows::Column::Id)
        .into();
    let rows: Vec<(JsonList, String, String)> = shares::Entity::find()
        .select_only()
        .column(shares::Column::Scopes)
        .column_as(user_rows::Column::Name, "owner_name")
        .column_as(spawner_rows::Column::Name, "server_name")
        .join(JoinType::InnerJoin, server)
        .join(JoinType::InnerJoin, owner)
        .filter(filter(which))
        .filter(not_ended(now))
        .into_tuple()
        .all(db)
        .await?;
    // The stored filter may name an owner of old, and by now another user may have that name.
    let scopes: BTreeSet<String> =
        rows.iter().flat_map(|(scopes, owner, server)| pinned(&scopes.0, owner, server)).collect();
    Ok(scopes.into_iter().collect())
}

/// Gives access: makes a share, or adds scopes to the one there is. The scopes are pinned to the server here; that the
/// caller may give them is the caller's to check. Several statements; give it a transaction.
///
/// # Errors
/// [`DbError::Invalid`] without scopes.
pub async fn grant(
    db: &impl ConnectionTrait,
    server: &Shared,
    receiver: Receiver,
    scopes: &[String],
    now: DateTime<Utc>,
) -> Result<Share, DbError> {
    if scopes.is_empty() {
        return Err(DbError::Invalid("a share needs at least one scope".to_owned()));
    }
    let known = shares::Entity::find()
        .filter(to(receiver))
        .filter(shares::Column::SpawnerId.eq(server.spawner_id))
        .one(db)
        .await?;
    if let Some(known) = known {
        // A share that has ended, but was not purged yet, must not lend its scopes to the new one.
        let ended = known.expires_at.is_some_and(|end| end.utc() <= now);
        let held = if ended { &[][..] } else { &known.scopes.0[..] };
        let merged = pinned(held.iter().chain(scopes), &server.owner_name, &server.server_name);
        if !ended && merged == known.scopes.0 {
            return Ok(known);
        }
        let mut row = shares::ActiveModel { id: Set(known.id), ..Default::default() };
        row.scopes = Set(JsonList(merged));
        if ended {
            row.expires_at = Set(None);
            row.created_at = Set(now.into());
        }
        return Ok(row.update(db).await?);
    }
    let (user_id, group_id) = match receiver {
        Receiver::User(id) => (Some(id), None),
        Receiver::Group(id) => (None, Some(id)),
    };
    let row = shares::ActiveModel {
        user_id: Set(user_id),
        group_id: Set(group_id),
        created_at: Set(now.into()),
        scopes: Set(JsonList(pinned(scopes, &server.owner_name, &server.server_name))),
        owner_id: Set(Some(server.owner_id)),
        spawner_id: Set(Some(server.spawner_id)),
        ..Default::default()
    };
    Ok(row.insert(db).await?)
}

/// Takes scopes (`None`: all) away from a share; one without scopes is deleted. What is left. Scopes may be given with
/// or without their filter.
pub async fn revoke(
    db: &impl ConnectionTrait,
    server: &Shared,
    receiver: Receiver,
    scopes: Option<&[String]>,
) -> Result<Option<Share>, DbError> {
    let known = shares::Entity::find()
        .filter(to(receiver))
        .filter(shares::Column::SpawnerId.eq(server.spawner_id))
        .one(db)
        .await?;
    let Some(known) = known else { return Ok(None) };
    let pin = |scopes: &[String]| pinned(scopes, &server.owner_name, &server.server_name);
    let mut left = Vec::new();
    if let Some(scopes) = scopes {
        let taken = pin(scopes);
        left = pin(&known.scopes.0);
        left.retain(|scope| !taken.contains(scope));
    }
    if left.is_empty() {
        shares::Entity::delete_by_id(known.id).exec(db).await?;
        return Ok(None);
    }
    let row = shares::ActiveModel { id: Set(known.id), scopes: Set(JsonList(left)), ..Default::default() };
    Ok(Some(row.update(db).await?))
}

/// Deletes a share. `false`: there was none.
pub async fn delete(db: &impl ConnectionTrait, id: i32) -> Result<bool, DbError> {
    Ok(shares::Entity::delete_by_id(id).exec(db).await?.rows_affected > 0)
}

/// Deletes all shares of a server, not its codes. How many.
pub async fn delete_of_server(db: &impl ConnectionTrait, spawner_id: i32) -> Result<u64, DbError> {
    let filter = shares::Column::SpawnerId.eq(spawner_id);
    Ok(shares::Entity::delete_many().filter(filter).exec(db).await?.rows_affected)
}

/// Writes the present names of owner and server into the scopes of all shares and codes of an owner, after it or one
/// of its servers was renamed. Reading pins as well, so this only keeps the stored form honest for other readers.
pub async fn repin(db: &impl ConnectionTrait, owner_id: i32) -> Result<(), DbError> {
    let Some(owner) = user_rows::Entity::find_by_id(owner_id).one(db).await? else { return Ok(()) };
    let servers =
        spawner_rows::Entity::find().filter(spawner_rows::Column::UserId.eq(owner_id)).all(db).await?;
    let name = |id: Option<i32>| servers.iter().find(|row| Some(row.id) == id).map(|row| row.name.as_str());
    for row in shares::Entity::find().filter(shares::Column::OwnerId.eq(owner_id)).all(db).await? {
        let Some(server) = name(row.spawner_id) else { continue };
        let scopes = JsonList(pinned(&row.scopes.0, &owner.name, server));
        if scopes != row.scopes {
            let row = shares::ActiveModel { id: Set(row.id), scopes: Set(scopes), ..Default::default() };
            row.update(db).await?;
        }
    }
    for row in share_codes::Entity::find().filter(share_codes::Column::OwnerId.eq(owner_id)).all(db).await? {
        let Some(server) = name(row.spawner_id) else { continue };
        let scopes = JsonList(pinned(&row.scopes.0, &owner.name, server));
        if scopes != row.scopes {
            let row = share_codes::ActiveModel { id: Set(row.id), scopes: Set(scopes), ..Default::default() };
            row.update(db).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_pinned_to_the_server_sorted_and_each_once() {
        let scopes =
            ["read:servers".to_owned(), "access:servers!server=old/".to_owned(), "access:servers".to_owned()];
        assert_eq!(
            pinned(&scopes, "new", "lab"),
            ["access:servers!server=new/lab", "read:servers!server=new/lab"]
        );
    }
}
