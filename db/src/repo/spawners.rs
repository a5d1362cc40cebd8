//! Servers of users, running or not, and the addresses of those that run.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::{Condition, ConnectionTrait, IntoActiveModel as _, QueryOrder as _, QuerySelect as _};

use super::fitting::kept;
use super::grouped::around;
use super::{CHUNK, oauth};
use crate::entities::{servers, share_codes, shares, spawners};
use crate::error::DbError;
use crate::types::{JsonDict, Timestamp};

/// One server of one user, and its address while it is up, coming up or going down.
#[derive(Debug, Clone)]
pub struct Spawner {
    /// The row.
    pub row: spawners::Model,
    /// Where the hub reaches it; `None`: stopped.
    pub server: Option<servers::Model>,
}

/// Where the hub reaches a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `http` or `https`.
    pub proto: String,
    /// Address or host name.
    pub ip: String,
    /// TCP port; 0 for a unix socket.
    pub port: u16,
    /// Path prefix with slashes at both ends, like `/user/x/`.
    pub base_url: String,
}

impl From<&servers::Model> for Address {
    /// NULLs read as stock's defaults: `http`, no host, port 0, `/`.
    fn from(row: &servers::Model) -> Self {
        Self {
            proto: row.proto.clone().unwrap_or_else(|| "http".to_owned()),
            ip: row.ip.clone().unwrap_or_default(),
            port: row.port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
            base_url: row.base_url.clone().unwrap_or_else(|| "/".to_owned()),
        }
    }
}

/// The server of this user with this very name, `""` for the default one. Two queries.
pub async fn by_name(
    db: &impl ConnectionTrait,
    user_id: i32,
    name: &str,
) -> Result<Option<Spawner>, DbError> {
    let rows = spawners::Entity::find()
        .filter(spawners::Column::UserId.eq(user_id))
        .filter(spawners::Column::Name.eq(name))
        .order_by_asc(spawners::Column::Id)
        .all(db)
        .await?;
    let rows = rows.into_iter().filter(|row| row.name == name).take(1).collect();
    Ok(with_servers(db, rows).await?.pop())
}

/// The server with this id. Two queries.
pub async fn by_id(db: &impl ConnectionTrait, id: i32) -> Result<Option<Spawner>, DbError> {
    let row = spawners::Entity::find_by_id(id).one(db).await?;
    Ok(with_servers(db, row.into_iter().collect()).await?.pop())
}

/// The servers with these ids, without their addresses, by id. One query.
pub async fn rows_by_ids(
    db: &impl ConnectionTrait,
    ids: &[i32],
) -> Result<HashMap<i32, spawners::Model>, DbError> {
    let mut found = HashMap::new();
    for ids in ids.chunks(CHUNK) {
        let filter = spawners::Column::Id.is_in(ids.iter().copied());
        let rows = spawners::Entity::find().filter(filter).all(db).await?;
        found.extend(rows.into_iter().map(|row| (row.id, row)));
    }
    Ok(found)
}

/// The server whose OAuth client this is.
pub async fn by_oauth_client(
    db: &impl ConnectionTrait,
    client_id: &str,
) -> Result<Option<spawners::Model>, DbError> {
    let found =
        spawners::Entity::find().filter(spawners::Column::OauthClientId.eq(client_id)).one(db).await?;
    Ok(found.filter(|row| row.oauth_client_id.as_deref() == Some(client_id)))
}

/// All servers of one user in the order in which they were made. Two queries.
pub async fn of_user(db: &impl ConnectionTrait, user_id: i32) -> Result<Vec<Spawner>, DbError> {
    Ok(of_users(db, &[user_id]).await?.remove(&user_id).unwrap_or_default())
}

/// All servers of users, by user id. Two queries.
pub async fn of_users(
    db: &impl ConnectionTrait,
    user_ids: &[i32],
) -> Result<HashMap<i32, Vec<Spawner>>, DbError> {
    let wanted: HashSet<i32> = user_ids.iter().copied().collect();
    let mut rows = Vec::new();
    for ids in user_ids.chunks(CHUNK) {
        let page = spawners::Entity::find()
            .filter(around(spawners::Column::UserId, ids))
            .order_by_asc(spawners::Column::Id);
        rows.extend(page.all(db).await?);
    }
    rows.retain(|row| row.user_id.is_some_and(|user| wanted.contains(&user)));
    let mut found: HashMap<i32, Vec<Spawner>> = HashMap::new();
    for spawner in with_servers(db, rows).await? {
        if let Some(user) = spawner.row.user_id {
            found.entry(user).or_default().push(spawner);
        }
    }
    Ok(found)
}

/// Every server that has an address: what a hub looks after when it starts. Two queries.
pub async fn active(db: &impl ConnectionTrait) -> Result<Vec<Spawner>, DbError> {
    let rows = spawners::Entity::find()
        .filter(spawners::Column::ServerId.is_not_null())
        .order_by_asc(spawners::Column::Id)
        .all(db)
        .await?;
    with_servers(db, rows).await
}

/// What a hub asks of the servers that run before it looks after them.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// Saved state.
    pub state: Option<Json>,
    /// Whether its address is one of `https`.
    pub tls: bool,
    /// Whether it has an address of `http`: those on their way have none yet.
    pub plain: bool,
}

/// Every server that has an address, as far as all versions of the schema have it. Two queries.
pub async fn begun(db: &impl ConnectionTrait) -> Result<Vec<Begun>, DbError> {
    let known: Vec<(i32, Option<String>, Option<i32>)> = servers::Entity::find()
        .select_only()
        .columns([servers::Column::Id, servers::Column::Proto, servers::Column::Port])
        .into_tuple()
        .all(db)
        .await?;
    let known: HashMap<i32, (bool, bool)> = known
        .into_iter()
        .map(|(id, proto, port)| {
            let tls = proto.as_deref() == Some("https");
            (id, (tls, !tls && port.is_some_and(|port| port != 0)))
        })
        .collect();
    let rows: Vec<(Option<i32>, Option<JsonDict>)> = spawners::Entity::find()
        .filter(spawners::Column::ServerId.is_not_null())
        .select_only()
        .columns([spawners::Column::ServerId, spawners::Column::State])
        .into_tuple()
        .all(db)
        .await?;
    let begun = rows.into_iter().map(|(server, state)| {
        let (tls, plain) = server.and_then(|server| known.get(&server).copied()).unwrap_or_default();
        Begun { state: state.map(|state| state.0), tls, plain }
    });
    Ok(begun.collect())
}

/// The ids of all spawners that have a server.
pub async fn active_ids(db: &impl ConnectionTrait) -> Result<Vec<i32>, DbError> {
    let ids = spawners::Entity::find()
        .filter(spawners::Column::ServerId.is_not_null())
        .select_only()
        .column(spawners::Column::Id)
        .into_tuple()
        .all(db)
        .await?;
    Ok(ids)
}

async fn with_servers(
    db: &impl ConnectionTrait,
    rows: Vec<spawners::Model>,
) -> Result<Vec<Spawner>, DbError> {
    let ids: Vec<i32> = rows.iter().filter_map(|row| row.server_id).collect();
    let mut found = HashMap::new();
    for ids in ids.chunks(CHUNK) {
        let filter = servers::Column::Id.is_in(ids.iter().copied());
        let page = servers::Entity::find().filter(filter).all(db).await?;
        found.extend(page.into_iter().map(|server| (server.id, server)));
    }
    let spawners =
        rows.into_iter().map(|row| Spawner { server: row.server_id.and_then(|id| found.remove(&id)), row });
    Ok(spawners.collect())
}

/// How many named servers a user has, running or not; the default one does not count.
pub async fn count_named(db: &impl ConnectionTrait, user_id: i32) -> Result<u64, DbError> {
    let named = spawners::Entity::find()
        .filter(spawners::Column::UserId.eq(user_id))
        .filter(spawners::Column::Name.ne(""));
    Ok(named.count(db).await?)
}

/// Makes the row of a server that was never started. The table has no unique key over user and name: look before, in
/// one transaction after [`super::users::lock`].
pub async fn create(db: &impl ConnectionTrait, user_id: i32, name: &str) -> Result<spawners::Model, DbError> {
    if name.chars().count() > 255 {
        return Err(DbError::Invalid("a server name has at most 255 characters".to_owned()));
    }
    let row = spawners::ActiveModel {
        user_id: Set(Some(user_id)),
        name: Set(name.to_owned()),
        // Stock's default servers have an empty one; named ones get theirs from whoever makes them.
        display_name: Set(name.is_empty().then(String::new)),
        ..Default::default()
    };
    Ok(row.insert(db).await?)
}

/// Notes where the server is reached, which makes it active. Two tables.
pub async fn set_server(
    db: &impl ConnectionTrait,
    id: i32,
    address: &Address,
) -> Result<servers::Model, DbError> {
    let row = spawners::Entity::find_by_id(id).one(db).await?;
    let Some(row) = row else {
        return Err(DbError::Conflict("the server was deleted meanwhile".to_owned()));
    };
    let known = match row.server_id {
        Some(server_id) => servers::Entity::find_by_id(server_id).one(db).await?,
        None => None,
    };
    let fill = |server: &mut servers::ActiveModel| {
        server.proto = Set(Some(address.proto.clone()));
        server.ip = Set(Some(address.ip.clone()));
        server.port = Set(Some(i32::from(address.port)));
        server.base_url = Set(Some(kept(db, address.base_url.clone(), 255)));
    };
    if let Some(known) = known {
        let mut server = known.into_active_model();
        fill(&mut server);
        return Ok(server.update(db).await?);
    }
    let mut server =
        servers::ActiveModel { cookie_name: Set(Some("cookie".to_owned())), ..Default::default() };
    fill(&mut server);
    let server = server.insert(db).await?;
    set(db, id, spawners::Column::ServerId, Some(server.id)).await?;
    Ok(server)
}

/// Forgets where this run of the server was reached, which makes it stopped. Of several that try, it is true for one:
/// false tells that the run was over already. Two tables.
pub async fn clear_server(db: &impl ConnectionTrait, id: i32, server_id: i32) -> Result<bool, DbError> {
    let done = spawners::Entity::update_many()
        .col_expr(spawners::Column::ServerId, Expr::value(None::<i32>))
        .filter(spawners::Column::Id.eq(id))
        .filter(spawners::Column::ServerId.eq(server_id))
        .exec(db)
        .await?;
    if done.rows_affected == 0 {
        return Ok(false);
    }
    servers::Entity::delete_by_id(server_id).exec(db).await?;
    Ok(true)
}

async fn set(
    db: &impl ConnectionTrait,
    id: i32,
    column: spawners::Column,
    value: impl Into<sea_orm::Value>,
) -> Result<(), DbError> {
    spawners::Entity::update_many()
        .col_expr(column, Expr::value(value))
        .filter(spawners::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Stores what the spawner needs to find its server again, unknown keys included; `None` forgets it.
pub async fn set_state(
    db: &impl ConnectionTrait,
    id: i32,
    state: Option<serde_json::Value>,
) -> Result<(), DbError> {
    set(db, id, spawners::Column::State, state.map(JsonDict)).await
}

/// Stores a state of the run that has this row in `servers`. `false`: the server was stopped meanwhile, and perhaps
/// started again.
pub async fn set_state_of_run(
    db: &impl ConnectionTrait,
    id: i32,
    server_id: i32,
    state: serde_json::Value,
) -> Result<bool, DbError> {
    let done = spawners::Entity::update_many()
        .col_expr(spawners::Column::State, Expr::value(JsonDict(state)))
        .filter(spawners::Column::Id.eq(id))
        .filter(spawners::Column::ServerId.eq(server_id))
        .exec(db)
        .await?;
    Ok(done.rows_affected > 0)
}

/// Servers that are stopped and whose state has this key, or at least the word. One query.
pub async fn stopped_with(db: &impl ConnectionTrait, key: &str) -> Result<Vec<spawners::Model>, DbError> {
    Ok(spawners::Entity::find()
        .filter(spawners::Column::ServerId.is_null())
        .filter(spawners::Column::State.contains(key))
        .order_by_asc(spawners::Column::Id)
        .all(db)
        .await?)
}

/// Stores the options of the last start.
pub async fn set_user_options(
    db: &impl ConnectionTrait,
    id: i32,
    options: Option<serde_json::Value>,
) -> Result<(), DbError> {
    set(db, id, spawners::Column::UserOptions, options.map(JsonDict)).await
}

/// Notes when the server was started; `None` when it has stopped.
pub async fn set_started(
    db: &impl ConnectionTrait,
    id: i32,
    started: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    set(db, id, spawners::Column::Started, started.map(Timestamp::from)).await
}

/// Sets the name shown to people.
///
/// # Errors
/// [`DbError::Invalid`] beyond 255 characters.
pub async fn set_display_name(
    db: &impl ConnectionTrait,
    id: i32,
    display_name: Option<&str>,
) -> Result<(), DbError> {
    if display_name.is_some_and(|name| name.chars().count() > 255) {
        return Err(DbError::Invalid("a display name has at most 255 characters".to_owned()));
    }
    set(db, id, spawners::Column::DisplayName, display_name).await
}

/// Gives the server another name. Scopes of its shares name it: see [`super::shares::repin`].
pub async fn rename(db: &impl ConnectionTrait, id: i32, name: &str) -> Result<(), DbError> {
    if name.chars().count() > 255 {
        return Err(DbError::Invalid("a server name has at most 255 characters".to_owned()));
    }
    set(db, id, spawners::Column::Name, name).await
}

/// Ties the server to its OAuth client, which must exist, or cuts the tie.
pub async fn set_oauth_client(
    db: &impl ConnectionTrait,
    id: i32,
    client_id: Option<&str>,
) -> Result<(), DbError> {
    set(db, id, spawners::Column::OauthClientId, client_id).await
}

/// Notes activity, as [`super::users::bump_activity`] does.
pub async fn bump_activity(
    db: &impl ConnectionTrait,
    id: i32,
    at: DateTime<Utc>,
    resolution: TimeDelta,
) -> Result<bool, DbError> {
    let due = Condition::any()
        .add(spawners::Column::LastActivity.is_null())
        .add(spawners::Column::LastActivity.lt(Timestamp::from(at - resolution)));
    let done = spawners::Entity::update_many()
        .col_expr(spawners::Column::LastActivity, Expr::value(Timestamp::from(at)))
        .filter(spawners::Column::Id.eq(id))
        .filter(due)
        .exec(db)
        .await?;
    Ok(done.rows_affected > 0)
}

/// Deletes a server with its address, shares, share codes and OAuth client. Many tables. `false`: there was none.
pub async fn delete(db: &impl ConnectionTrait, id: i32) -> Result<bool, DbError> {
    let row = spawners::Entity::find_by_id(id).one(db).await?;
    let found = row.is_some();
    delete_rows(db, &row.into_iter().collect::<Vec<_>>()).await?;
    Ok(found)
}

/// Deletes servers with everything that hangs on them.
pub(super) async fn delete_rows(db: &impl ConnectionTrait, rows: &[spawners::Model]) -> Result<(), DbError> {
    for rows in rows.chunks(CHUNK) {
        let ids = || rows.iter().map(|row| row.id);
        shares::Entity::delete_many().filter(shares::Column::SpawnerId.is_in(ids())).exec(db).await?;
        share_codes::Entity::delete_many()
            .filter(share_codes::Column::SpawnerId.is_in(ids()))
            .exec(db)
            .await?;
        spawners::Entity::delete_many().filter(spawners::Column::Id.is_in(ids())).exec(db).await?;
        let addresses = rows.iter().filter_map(|row| row.server_id);
        servers::Entity::delete_many().filter(servers::Column::Id.is_in(addresses)).exec(db).await?;
        let clients: Vec<String> = rows.iter().filter_map(|row| row.oauth_client_id.clone()).collect();
        oauth::delete_clients(db, &clients).await?;
    }
    Ok(())
}
