//! Who holds a role, and which roles somebody holds, by name.

use std::collections::HashMap;

use sea_orm::prelude::*;
use sea_orm::{ConnectionTrait, FromQueryResult, JoinType, QueryOrder as _, QuerySelect as _};

use super::grouped::Walk;
use crate::entities::{group_role_map, groups, roles, service_role_map, services, user_role_map, users};
use crate::error::DbError;

/// One membership.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Member {
    /// Id of the holder.
    pub id: i32,
    /// Name of the holder.
    pub name: String,
    /// Whether the authenticator granted it.
    pub managed_by_auth: bool,
}

/// All who hold a role, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Users, not counting members of groups.
    pub users: Vec<Member>,
    /// Groups.
    pub groups: Vec<Member>,
    /// Services.
    pub services: Vec<Member>,
}

/// The columns that connect a role with one kind of holder.
struct Holders<M: EntityTrait, H: EntityTrait> {
    holder: M::Column,
    role: M::Column,
    managed: M::Column,
    id: H::Column,
    name: H::Column,
}

impl<M: EntityTrait, H: EntityTrait> Holders<M, H> {
    async fn of(self, db: &impl ConnectionTrait, role_id: i32) -> Result<Vec<Member>, DbError> {
        let holder = M::belongs_to(H::default()).from(self.holder).to(self.id).into();
        Ok(M::find()
            .select_only()
            .column_as(self.holder, "id")
            .column_as(self.name, "name")
            .column_as(self.managed, "managed_by_auth")
            .join(JoinType::InnerJoin, holder)
            .filter(self.role.eq(role_id))
            .order_by_asc(self.name)
            .into_model::<Member>()
            .all(db)
            .await?)
    }
}

/// All who hold a role. Three queries.
pub async fn members(db: &impl ConnectionTrait, role_id: i32) -> Result<Members, DbError> {
    let users = Holders::<user_role_map::Entity, users::Entity> {
        holder: user_role_map::Column::UserId,
        role: user_role_map::Column::RoleId,
        managed: user_role_map::Column::ManagedByAuth,
        id: users::Column::Id,
        name: users::Column::Name,
    };
    let groups = Holders::<group_role_map::Entity, groups::Entity> {
        holder: group_role_map::Column::GroupId,
        role: group_role_map::Column::RoleId,
        managed: group_role_map::Column::ManagedByAuth,
        id: groups::Column::Id,
        name: groups::Column::Name,
    };
    let services = Holders::<service_role_map::Entity, services::Entity> {
        holder: service_role_map::Column::ServiceId,
        role: service_role_map::Column::RoleId,
        managed: service_role_map::Column::ManagedByAuth,
        id: services::Column::Id,
        name: services::Column::Name,
    };
    Ok(Members {
        users: users.of(db, role_id).await?,
        groups: groups.of(db, role_id).await?,
        services: services.of(db, role_id).await?,
    })
}

/// Names of the roles that users hold themselves, sorted, by user id. One query.
pub async fn names_of_users(
    db: &impl ConnectionTrait,
    user_ids: &[i32],
) -> Result<HashMap<i32, Vec<String>>, DbError> {
    let walk = Walk::<user_role_map::Entity, roles::Entity> {
        near: user_role_map::Column::UserId,
        far: user_role_map::Column::RoleId,
        id: roles::Column::Id,
        name: roles::Column::Name,
        sort: roles::Column::Name,
    };
    walk.names(db, user_ids).await
}

/// Names of the roles that groups hold themselves, sorted, by group id. One query.
pub async fn names_of_groups(
    db: &impl ConnectionTrait,
    group_ids: &[i32],
) -> Result<HashMap<i32, Vec<String>>, DbError> {
    let walk = Walk::<group_role_map::Entity, roles::Entity> {
        near: group_role_map::Column::GroupId,
        far: group_role_map::Column::RoleId,
        id: roles::Column::Id,
        name: roles::Column::Name,
        sort: roles::Column::Name,
    };
    walk.names(db, group_ids).await
}

/// Names of the roles that services hold themselves, sorted, by service id. One query.
pub async fn names_of_services(
    db: &impl ConnectionTrait,
    service_ids: &[i32],
) -> Result<HashMap<i32, Vec<String>>, DbError> {
    let walk = Walk::<service_role_map::Entity, roles::Entity> {
        near: service_role_map::Column::ServiceId,
        far: service_role_map::Column::RoleId,
        id: roles::Column::Id,
        name: roles::Column::Name,
        sort: roles::Column::Name,
    };
    walk.names(db, service_ids).await
}
