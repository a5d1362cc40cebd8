//! Users.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::secret::random_hex32;
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::{Condition, ConnectionTrait, QueryOrder as _, QuerySelect as _};

use super::{CHUNK, groups, role_members, spawners};
use crate::entities::{
    api_tokens, oauth_codes, share_codes, shares, spawners as spawner_rows, user_group_map, user_role_map,
    users,
};
use crate::error::DbError;
use crate::types::{JsonDict, Timestamp};

/// One user.
pub use crate::entities::users::Model as User;

/// A user with what its REST model shows.
#[derive(Debug, Clone)]
pub struct UserDetails {
    /// The row.
    pub user: User,
    /// Names of its groups, sorted.
    pub groups: Vec<String>,
    /// Names of the roles that it holds itself, sorted; those of its groups are not among them.
    pub roles: Vec<String>,
    /// All its servers, running or not, in the order in which they were made.
    pub spawners: Vec<spawners::Spawner>,
}

/// The user with this very name.
pub async fn by_name(db: &impl ConnectionTrait, name: &str) -> Result<Option<User>, DbError> {
    let found = users::Entity::find().filter(users::Column::Name.eq(name)).one(db).await?;
    Ok(found.filter(|user| user.name == name))
}

/// The users with these very names, in no particular order; names without a user are left out.
pub async fn by_names(db: &impl ConnectionTrait, names: &[String]) -> Result<Vec<User>, DbError> {
    let mut found = Vec::new();
    for names in names.chunks(CHUNK) {
        let filter = users::Column::Name.is_in(names);
        found.extend(users::Entity::find().filter(filter).all(db).await?);
    }
    found.retain(|user| names.contains(&user.name));
    Ok(found)
}

/// The user with this id.
pub async fn by_id(db: &impl ConnectionTrait, id: i32) -> Result<Option<User>, DbError> {
    Ok(users::Entity::find_by_id(id).one(db).await?)
}

/// The users with these ids, by id.
pub async fn by_ids(db: &impl ConnectionTrait, ids: &[i32]) -> Result<HashMap<i32, User>, DbError> {
    let mut found = HashMap::new();
    for ids in ids.chunks(CHUNK) {
        let rows = users::Entity::find().filter(users::Column::Id.is_in(ids.iter().copied())).all(db).await?;
        found.extend(rows.into_iter().map(|user| (user.id, user)));
    }
    Ok(found)
}

/// The user whose login cookie holds this value.
pub async fn by_cookie_id(db: &impl ConnectionTrait, cookie_id: &str) -> Result<Option<User>, DbError> {
    let found = users::Entity::find().filter(users::Column::CookieId.eq(cookie_id)).one(db).await?;
    Ok(found.filter(|user| user.cookie_id == cookie_id))
}

/// Every user, by id. For start-up; requests use [`super::user_list::list`].
pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<User>, DbError> {
    Ok(users::Entity::find().order_by_asc(users::Column::Id).all(db).await?)
}

/// Users by id, after this id: one page of at most `limit`.
pub async fn page(db: &impl ConnectionTrait, after: i32, limit: u64) -> Result<Vec<User>, DbError> {
    let page = users::Entity::find().filter(users::Column::Id.gt(after));
    Ok(page.order_by_asc(users::Column::Id).limit(limit).all(db).await?)
}

/// How many users there are.
pub async fn count(db: &impl ConnectionTrait) -> Result<u64, DbError> {
    Ok(users::Entity::find().count(db).await?)
}

/// How many users were active at or after `since`: the `active_users` metric.
pub async fn count_active_since(db: &impl ConnectionTrait, since: DateTime<Utc>) -> Result<u64, DbError> {
    let filter = users::Column::LastActivity.gte(Timestamp::from(since));
    Ok(users::Entity::find().filter(filter).count(db).await?)
}

/// Makes a user with a fresh `cookie_id`, and the row of its default server, which every user has. Two tables.
/// Roles and groups are the caller's.
///
/// # Errors
/// [`DbError::Conflict`] when the name is taken.
pub async fn create(
    db: &impl ConnectionTrait,
    name: &str,
    admin: bool,
    now: DateTime<Utc>,
) -> Result<User, DbError> {
    if name.is_empty() || name.chars().count() > 255 {
        return Err(DbError::Invalid("a user name has 1 to 255 characters".to_owned()));
    }
    let user = users::ActiveModel {
        name: Set(name.to_owned()),
        admin: Set(Some(admin)),
        created: Set(Some(now.into())),
        cookie_id: Set(random_hex32()),
        ..Default::default()
    };
    let user = user.insert(db).await?;
    spawners::create(db, user.id, "").await?;
    Ok(user)
}

/// Deletes a user and everything that hangs on it: servers with their OAuth clients, tokens, codes, shares given and
/// received, memberships, roles. Many tables. Running servers must have been stopped. `false`: there was none.
pub async fn delete(db: &impl ConnectionTrait, id: i32) -> Result<bool, DbError> {
    let owned = spawner_rows::Entity::find().filter(spawner_rows::Column::UserId.eq(id)).all(db).await?;
    spawners::delete_rows(db, &owned).await?;
    api_tokens::Entity::delete_many().filter(api_tokens::Column::UserId.eq(id)).exec(db).await?;
    oauth_codes::Entity::delete_many().filter(oauth_codes::Column::UserId.eq(id)).exec(db).await?;
    let shared = Condition::any().add(shares::Column::UserId.eq(id)).add(shares::Column::OwnerId.eq(id));
    shares::Entity::delete_many().filter(shared).exec(db).await?;
    share_codes::Entity::delete_many().filter(share_codes::Column::OwnerId.eq(id)).exec(db).await?;
    user_group_map::Entity::delete_many().filter(user_group_map::Column::UserId.eq(id)).exec(db).await?;
    user_role_map::Entity::delete_many().filter(user_role_map::Column::UserId.eq(id)).exec(db).await?;
    Ok(users::Entity::delete_by_id(id).exec(db).await?.rows_affected > 0)
}

async fn update(
    db: &impl ConnectionTrait,
    id: i32,
    column: users::Column,
    value: impl Into<sea_orm::Value>,
) -> Result<(), DbError> {
    let value = Expr::value(value);
    users::Entity::update_many().col_expr(column, value).filter(users::Column::Id.eq(id)).exec(db).await?;
    Ok(())
}

/// Gives the user another name. Scopes of its shares name the owner: see [`super::shares::repin`].
///
/// # Errors
/// [`DbError::Conflict`] when the name is taken.
pub async fn rename(db: &impl ConnectionTrait, id: i32, name: &str) -> Result<(), DbError> {
    if name.is_empty() || name.chars().count() > 255 {
        return Err(DbError::Invalid("a user name has 1 to 255 characters".to_owned()));
    }
    update(db, id, users::Column::Name, name).await
}

/// Sets the admin flag. The role `admin` that goes with it is the caller's.
pub async fn set_admin(db: &impl ConnectionTrait, id: i32, admin: bool) -> Result<(), DbError> {
    update(db, id, users::Column::Admin, admin).await
}

/// Stores the encrypted state of the authenticator, or forgets it.
pub async fn set_auth_state(
    db: &impl ConnectionTrait,
    id: i32,
    token: Option<Vec<u8>>,
) -> Result<(), DbError> {
    update(db, id, users::Column::EncryptedAuthState, token).await
}

/// Stores what the authenticator tells about the person, or forgets it.
pub async fn set_user_info(
    db: &impl ConnectionTrait,
    id: i32,
    info: Option<serde_json::Value>,
) -> Result<(), DbError> {
    update(db, id, users::Column::UserInfo, info.map(JsonDict)).await
}

/// Gives the user a new `cookie_id`, which ends all its browser sessions, and returns it.
pub async fn reset_cookie_id(db: &impl ConnectionTrait, id: i32) -> Result<String, DbError> {
    let cookie_id = random_hex32();
    update(db, id, users::Column::CookieId, cookie_id.as_str()).await?;
    Ok(cookie_id)
}

/// Notes activity at `at` unless the row has a time later than `at - resolution`: at most one write every `resolution`,
/// and never backwards. One statement. Whether the row changed.
pub async fn bump_activity(
    db: &impl ConnectionTrait,
    id: i32,
    at: DateTime<Utc>,
    resolution: TimeDelta,
) -> Result<bool, DbError> {
    let due = Condition::any()
        .add(users::Column::LastActivity.is_null())
        .add(users::Column::LastActivity.lt(Timestamp::from(at - resolution)));
    let done = users::Entity::update_many()
        .col_expr(users::Column::LastActivity, Expr::value(Timestamp::from(at)))
        .filter(users::Column::Id.eq(id))
        .filter(due)
        .exec(db)
        .await?;
    Ok(done.rows_affected > 0)
}

/// Adds groups, direct roles and servers to users: four queries, the order of `users` kept.
pub async fn with_details(db: &impl ConnectionTrait, users: Vec<User>) -> Result<Vec<UserDetails>, DbError> {
    let ids: Vec<i32> = users.iter().map(|user| user.id).collect();
    let mut groups = groups::names_of_users(db, &ids).await?;
    let mut roles = role_members::names_of_users(db, &ids).await?;
    let mut spawners = spawners::of_users(db, &ids).await?;
    let details = users.into_iter().map(|user| UserDetails {
        groups: groups.remove(&user.id).unwrap_or_default(),
        roles: roles.remove(&user.id).unwrap_or_default(),
        spawners: spawners.remove(&user.id).unwrap_or_default(),
        user,
    });
    Ok(details.collect())
}

/// Locks the user's row until the transaction ends, so that two hubs do not both make the same server. SQLite's
/// transactions exclude each other anyway.
pub async fn lock(tx: &crate::Tx, id: i32) -> Result<Option<User>, DbError> {
    Ok(users::Entity::find_by_id(id).lock_exclusive().one(tx).await?)
}
