//! The list of users, as `GET /users` filters, sorts and pages it.

use sea_orm::prelude::*;
use sea_orm::sea_query::{BinOper, ExprTrait as _, Func, Query, SelectStatement};
use sea_orm::{Condition, ConnectionTrait, DbBackend, Order, QueryOrder as _, QuerySelect as _, Select};

use super::users::User;
use super::{Page, Range};
use crate::entities::{groups, spawners, user_group_map, users};
use crate::error::DbError;
use crate::types::{JsonDict, Timestamp};

/// Which users by what their servers do. `ready` of the REST API is `Active`, filtered by the caller, who knows which
/// servers answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// At least one server is up, or coming up or going down.
    Active,
    /// No server is.
    Inactive,
}

/// What to sort by. NULL comes first ascending and last descending; ties are broken by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// In the order in which users were made.
    #[default]
    Id,
    /// By name.
    Name,
    /// By last activity.
    LastActivity,
}

/// Which users the caller may see at all: those with one of the names, and those in one of the groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Only {
    /// Names of users.
    pub users: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
}

/// One question to the list.
#[derive(Debug, Clone)]
pub struct UserQuery {
    /// Only users whose servers are in this state.
    pub state: Option<ServerState>,
    /// Only users whose name contains this, whatever the case. `%` and `_` are wildcards, as they are in stock.
    pub name_filter: Option<String>,
    /// Only these users; `None`: all. Empty lists allow nobody.
    pub only: Option<Only>,
    /// The order.
    pub sort: SortBy,
    /// Whether the order is turned round.
    pub descending: bool,
    /// The page.
    pub range: Range,
}

/// Which rows a question is about, whatever the page and the order.
fn filtered(backend: DbBackend, query: &UserQuery) -> Select<users::Entity> {
    let mut select = users::Entity::find();
    if let Some(state) = query.state {
        let active = Expr::exists(active_servers());
        select = select.filter(match state {
            ServerState::Active => active,
            ServerState::Inactive => active.not(),
        });
    }
    if let Some(only) = &query.only {
        select = select.filter(
            Condition::any()
                .add(users::Column::Name.is_in(&only.users))
                .add(Expr::exists(memberships(&only.groups))),
        );
    }
    if let Some(part) = query.name_filter.as_deref().filter(|part| !part.is_empty()) {
        select = select.filter(contains(backend, part));
    }
    select
}

/// How many users there are on all pages. One query.
pub async fn count(db: &impl ConnectionTrait, query: &UserQuery) -> Result<u64, DbError> {
    // Not sea-orm's `count()`, which would let the database read whole rows only to count them.
    let select = filtered(db.get_database_backend(), query).select_only();
    let total: Option<i64> = select.column_as(Expr::cust("COUNT(*)"), "total").into_tuple().one(db).await?;
    Ok(u64::try_from(total.unwrap_or_default()).unwrap_or_default())
}

/// One page of users, without what the authenticator and stock keep about them, which may be long. One query; add
/// [`super::users::with_details`] for the rest.
pub async fn page(db: &impl ConnectionTrait, query: &UserQuery) -> Result<Vec<User>, DbError> {
    let mut select = filtered(db.get_database_backend(), query);
    let order = if query.descending { Order::Desc } else { Order::Asc };
    let column = match query.sort {
        SortBy::Id => users::Column::Id,
        SortBy::Name => users::Column::Name,
        SortBy::LastActivity => users::Column::LastActivity,
    };
    // Databases differ in where NULL goes, so it is said where there may be one: false sorts before true. What is said
    // without need keeps the database from reading in the order of an index.
    if matches!(query.sort, SortBy::LastActivity) {
        let nulls = if query.descending { column.is_null() } else { column.is_not_null() };
        select = select.order_by(nulls, Order::Asc);
    }
    let rows: Vec<Columns> = select
        .order_by(column, order)
        .order_by_asc(users::Column::Id)
        .offset(query.range.offset)
        .limit(query.range.limit)
        .select_only()
        .columns(COLUMNS)
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(user).collect())
}

/// One page of users and how many there are in all. Two queries.
pub async fn list(db: &impl ConnectionTrait, query: &UserQuery) -> Result<Page<User>, DbError> {
    Ok(Page { total: count(db, query).await?, items: page(db, query).await? })
}

const COLUMNS: [users::Column; 7] = [
    users::Column::Id,
    users::Column::Name,
    users::Column::UserInfo,
    users::Column::Admin,
    users::Column::Created,
    users::Column::LastActivity,
    users::Column::CookieId,
];

/// The columns in their order: looked up by name, each would take several times as long.
type Columns = (i32, String, Option<JsonDict>, Option<bool>, Option<Timestamp>, Option<Timestamp>, String);

fn user((id, name, user_info, admin, created, last_activity, cookie_id): Columns) -> User {
    User {
        id,
        name,
        user_info,
        admin,
        created,
        last_activity,
        cookie_id,
        state: None,
        encrypted_auth_state: None,
    }
}

fn active_servers() -> SelectStatement {
    Query::select()
        .expr(Expr::val(1))
        .from(spawners::Entity)
        .and_where(
            Expr::col((spawners::Entity, spawners::Column::UserId))
                .equals((users::Entity, users::Column::Id)),
        )
        .and_where(Expr::col((spawners::Entity, spawners::Column::ServerId)).is_not_null())
        .take()
}

fn memberships(names: &[String]) -> SelectStatement {
    let group = (groups::Entity, groups::Column::Id);
    Query::select()
        .expr(Expr::val(1))
        .from(user_group_map::Entity)
        .inner_join(
            groups::Entity,
            Expr::col((user_group_map::Entity, user_group_map::Column::GroupId)).equals(group),
        )
        .and_where(
            Expr::col((user_group_map::Entity, user_group_map::Column::UserId))
                .equals((users::Entity, users::Column::Id)),
        )
        .and_where(Expr::col((groups::Entity, groups::Column::Name)).is_in(names))
        .take()
}

/// `ILIKE '%part%'`, which only PostgreSQL has under that name.
fn contains(backend: DbBackend, part: &str) -> Expr {
    use sea_orm::sea_query::extension::postgres::PgBinOper;
    let name = Expr::col((users::Entity, users::Column::Name));
    let pattern = format!("%{part}%");
    if backend == DbBackend::Postgres {
        return name.binary(PgBinOper::ILike, Expr::val(pattern));
    }
    let lower = |side: Expr| Expr::from(Func::lower(side));
    lower(name).binary(BinOper::Like, lower(Expr::val(pattern)))
}
