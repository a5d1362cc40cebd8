//! Roles, to whom they are granted, and what scopes they bring.

use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict, Query, SelectStatement};
use sea_orm::{Condition, ConnectionTrait, QueryOrder as _};

use crate::entities::{group_role_map, roles, service_role_map, user_group_map, user_role_map};
use crate::error::DbError;
use crate::types::JsonList;

/// One role.
pub use crate::entities::roles::Model as Role;

/// Who can hold a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// `users.id`
    User(i32),
    /// `groups.id`
    Group(i32),
    /// `services.id`
    Service(i32),
}

/// What a role is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSpec {
    /// Unique name.
    pub name: String,
    /// Text for people.
    pub description: Option<String>,
    /// Scopes, not expanded.
    pub scopes: Vec<String>,
    /// Whether the authenticator owns the role.
    pub managed_by_auth: bool,
}

/// The role with this very name.
pub async fn by_name(db: &impl ConnectionTrait, name: &str) -> Result<Option<Role>, DbError> {
    let found = roles::Entity::find().filter(roles::Column::Name.eq(name)).one(db).await?;
    Ok(found.filter(|role| role.name == name))
}

/// All roles by id.
pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<Role>, DbError> {
    Ok(roles::Entity::find().order_by_asc(roles::Column::Id).all(db).await?)
}

/// Makes a role.
///
/// # Errors
/// [`DbError::Conflict`] when the name is taken.
pub async fn create(db: &impl ConnectionTrait, spec: RoleSpec) -> Result<Role, DbError> {
    let row = roles::ActiveModel {
        name: Set(spec.name),
        description: Set(spec.description),
        scopes: Set(JsonList(spec.scopes)),
        managed_by_auth: Set(spec.managed_by_auth),
        ..Default::default()
    };
    Ok(row.insert(db).await?)
}

/// Makes a role or brings it up to date; its holders stay.
pub async fn upsert(db: &impl ConnectionTrait, spec: RoleSpec) -> Result<Role, DbError> {
    let Some(known) = by_name(db, &spec.name).await? else { return create(db, spec).await };
    let unchanged = known.description == spec.description
        && known.scopes.0 == spec.scopes
        && known.managed_by_auth == spec.managed_by_auth;
    if unchanged {
        return Ok(known);
    }
    let row = roles::ActiveModel {
        id: Set(known.id),
        name: Set(known.name),
        description: Set(spec.description),
        scopes: Set(JsonList(spec.scopes)),
        managed_by_auth: Set(spec.managed_by_auth),
    };
    Ok(row.update(db).await?)
}

/// Deletes a role; who held it loses it. Four tables. `false`: there was none.
pub async fn delete(db: &impl ConnectionTrait, id: i32) -> Result<bool, DbError> {
    user_role_map::Entity::delete_many().filter(user_role_map::Column::RoleId.eq(id)).exec(db).await?;
    group_role_map::Entity::delete_many().filter(group_role_map::Column::RoleId.eq(id)).exec(db).await?;
    service_role_map::Entity::delete_many().filter(service_role_map::Column::RoleId.eq(id)).exec(db).await?;
    Ok(roles::Entity::delete_by_id(id).exec(db).await?.rows_affected > 0)
}

/// Grants a role. Who holds it keeps it, only `managed_by_auth` (always false for services) follows. One statement.
pub async fn assign(
    db: &impl ConnectionTrait,
    role_id: i32,
    holder: Holder,
    managed_by_auth: bool,
) -> Result<(), DbError> {
    match holder {
        Holder::User(user_id) => {
            let row = user_role_map::ActiveModel {
                user_id: Set(user_id),
                role_id: Set(role_id),
                managed_by_auth: Set(managed_by_auth),
            };
            let mut held =
                OnConflict::columns([user_role_map::Column::UserId, user_role_map::Column::RoleId]);
            held.update_column(user_role_map::Column::ManagedByAuth);
            user_role_map::Entity::insert(row).on_conflict(held).exec_without_returning(db).await?;
        }
        Holder::Group(group_id) => {
            let row = group_role_map::ActiveModel {
                group_id: Set(group_id),
                role_id: Set(role_id),
                managed_by_auth: Set(managed_by_auth),
            };
            let mut held =
                OnConflict::columns([group_role_map::Column::GroupId, group_role_map::Column::RoleId]);
            held.update_column(group_role_map::Column::ManagedByAuth);
            group_role_map::Entity::insert(row).on_conflict(held).exec_without_returning(db).await?;
        }
        Holder::Service(service_id) => {
            let row = service_role_map::ActiveModel {
                service_id: Set(service_id),
                role_id: Set(role_id),
                managed_by_auth: Set(false),
            };
            let mut held =
                OnConflict::columns([service_role_map::Column::ServiceId, service_role_map::Column::RoleId]);
            held.update_column(service_role_map::Column::ManagedByAuth);
            service_role_map::Entity::insert(row).on_conflict(held).exec_without_returning(db).await?;
        }
    }
    Ok(())
}

/// Takes a role away. `false`: it was not held.
pub async fn revoke(db: &impl ConnectionTrait, role_id: i32, holder: Holder) -> Result<bool, DbError> {
    let deleted = match holder {
        Holder::User(id) => user_role_map::Entity::delete_by_id((id, role_id)).exec(db).await?,
        Holder::Group(id) => group_role_map::Entity::delete_by_id((id, role_id)).exec(db).await?,
        Holder::Service(id) => service_role_map::Entity::delete_by_id((id, role_id)).exec(db).await?,
    };
    Ok(deleted.rows_affected > 0)
}

/// Takes all roles away from a user, as blocking one does.
pub async fn revoke_all_of_user(db: &impl ConnectionTrait, user_id: i32) -> Result<u64, DbError> {
    let filter = user_role_map::Column::UserId.eq(user_id);
    Ok(user_role_map::Entity::delete_many().filter(filter).exec(db).await?.rows_affected)
}

/// Ids of the roles that a holder has itself.
fn held(holder: Holder) -> SelectStatement {
    let mut ids = Query::select();
    match holder {
        Holder::User(id) => ids
            .column(user_role_map::Column::RoleId)
            .from(user_role_map::Entity)
            .and_where(user_role_map::Column::UserId.eq(id)),
        Holder::Group(id) => ids
            .column(group_role_map::Column::RoleId)
            .from(group_role_map::Entity)
            .and_where(group_role_map::Column::GroupId.eq(id)),
        Holder::Service(id) => ids
            .column(service_role_map::Column::RoleId)
            .from(service_role_map::Entity)
            .and_where(service_role_map::Column::ServiceId.eq(id)),
    };
    ids.take()
}

/// The roles that a holder has itself, by name. One query.
pub async fn of(db: &impl ConnectionTrait, holder: Holder) -> Result<Vec<Role>, DbError> {
    Ok(roles::Entity::find()
        .filter(roles::Column::Id.in_subquery(held(holder)))
        .order_by_asc(roles::Column::Name)
        .all(db)
        .await?)
}

/// The roles of a user, its own and those of its groups, each once, by name. One query.
pub async fn effective_of_user(db: &impl ConnectionTrait, user_id: i32) -> Result<Vec<Role>, DbError> {
    let through_groups = Query::select()
        .column((group_role_map::Entity, group_role_map::Column::RoleId))
        .from(group_role_map::Entity)
        .inner_join(
            user_group_map::Entity,
            Expr::col((user_group_map::Entity, user_group_map::Column::GroupId))
                .equals((group_role_map::Entity, group_role_map::Column::GroupId)),
        )
        .and_where(Expr::col((user_group_map::Entity, user_group_map::Column::UserId)).eq(user_id))
        .take();
    let either = Condition::any()
        .add(roles::Column::Id.in_subquery(held(Holder::User(user_id))))
        .add(roles::Column::Id.in_subquery(through_groups));
    Ok(roles::Entity::find().filter(either).order_by_asc(roles::Column::Name).all(db).await?)
}

/// Scopes, not expanded, of all roles of a holder; for a user those of its groups too. Each once, in order. One query.
pub async fn scopes_of(db: &impl ConnectionTrait, holder: Holder) -> Result<Vec<String>, DbError> {
    let roles = match holder {
        Holder::User(id) => effective_of_user(db, id).await?,
        other => of(db, other).await?,
    };
    let mut scopes: Vec<String> = Vec::new();
    for scope in roles.into_iter().flat_map(|role| role.scopes.into_inner()) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}
