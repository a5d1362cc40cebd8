//! Groups and who is in them.

use std::collections::HashMap;

use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, JoinType, QueryOrder as _, QuerySelect as _};

use super::grouped::Walk;
use super::{CHUNK, Page, Range};
use crate::entities::{group_role_map, groups, shares, user_group_map, users};
use crate::error::DbError;
use crate::types::JsonDict;

/// One group.
pub use crate::entities::groups::Model as Group;

/// The group with this very name.
pub async fn by_name(db: &impl ConnectionTrait, name: &str) -> Result<Option<Group>, DbError> {
    let found = groups::Entity::find().filter(groups::Column::Name.eq(name)).one(db).await?;
    Ok(found.filter(|group| group.name == name))
}

/// The groups with these very names, in no particular order; names without a group are left out.
pub async fn by_names(db: &impl ConnectionTrait, names: &[String]) -> Result<Vec<Group>, DbError> {
    let mut found = Vec::new();
    for names in names.chunks(CHUNK) {
        found.extend(groups::Entity::find().filter(groups::Column::Name.is_in(names)).all(db).await?);
    }
    found.retain(|group| names.contains(&group.name));
    Ok(found)
}

/// The groups with these ids, by id.
pub async fn by_ids(db: &impl ConnectionTrait, ids: &[i32]) -> Result<HashMap<i32, Group>, DbError> {
    let mut found = HashMap::new();
    for ids in ids.chunks(CHUNK) {
        let rows =
            groups::Entity::find().filter(groups::Column::Id.is_in(ids.iter().copied())).all(db).await?;
        found.extend(rows.into_iter().map(|group| (group.id, group)));
    }
    Ok(found)
}

/// One page of groups by id; `only` restricts to these names (an empty list to none). Two queries.
pub async fn list(
    db: &impl ConnectionTrait,
    only: Option<&[String]>,
    range: Range,
) -> Result<Page<Group>, DbError> {
    let mut select = groups::Entity::find();
    if let Some(names) = only {
        select = select.filter(groups::Column::Name.is_in(names));
    }
    let total = select.clone().count(db).await?;
    let page = select.order_by_asc(groups::Column::Id).offset(range.offset).limit(range.limit);
    Ok(Page { items: page.all(db).await?, total })
}

/// Makes an empty group with properties `{}`.
///
/// # Errors
/// [`DbError::Conflict`] when the name is taken.
pub async fn create(db: &impl ConnectionTrait, name: &str) -> Result<Group, DbError> {
    if name.is_empty() || name.chars().count() > 255 {
        return Err(DbError::Invalid("a group name has 1 to 255 characters".to_owned()));
    }
    let properties = JsonDict(serde_json::json!({}));
    let group = groups::ActiveModel {
        name: Set(name.to_owned()),
        properties: Set(Some(properties)),
        ..Default::default()
    };
    Ok(group.insert(db).await?)
}

/// Deletes a group, its memberships, roles and received shares. Four tables. `false`: there was none.
pub async fn delete(db: &impl ConnectionTrait, id: i32) -> Result<bool, DbError> {
    user_group_map::Entity::delete_many().filter(user_group_map::Column::GroupId.eq(id)).exec(db).await?;
    group_role_map::Entity::delete_many().filter(group_role_map::Column::GroupId.eq(id)).exec(db).await?;
    shares::Entity::delete_many().filter(shares::Column::GroupId.eq(id)).exec(db).await?;
    Ok(groups::Entity::delete_by_id(id).exec(db).await?.rows_affected > 0)
}

/// Replaces the properties.
pub async fn set_properties(
    db: &impl ConnectionTrait,
    id: i32,
    properties: serde_json::Value,
) -> Result<(), DbError> {
    groups::Entity::update_many()
        .col_expr(groups::Column::Properties, Expr::value(JsonDict(properties)))
        .filter(groups::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Puts users into a group; who is in it already stays. One statement per few hundred users.
pub async fn add_users(db: &impl ConnectionTrait, group_id: i32, user_ids: &[i32]) -> Result<(), DbError> {
    for ids in user_ids.chunks(CHUNK) {
        let rows =
            ids.iter().map(|id| user_group_map::ActiveModel { user_id: Set(*id), group_id: Set(group_id) });
        let mut known =
            OnConflict::columns([user_group_map::Column::UserId, user_group_map::Column::GroupId]);
        known.do_nothing_on([user_group_map::Column::UserId]);
        user_group_map::Entity::insert_many(rows).on_conflict(known).exec_without_returning(db).await?;
    }
    Ok(())
}

/// Takes users out of a group.
pub async fn remove_users(db: &impl ConnectionTrait, group_id: i32, user_ids: &[i32]) -> Result<(), DbError> {
    for ids in user_ids.chunks(CHUNK) {
        user_group_map::Entity::delete_many()
            .filter(user_group_map::Column::GroupId.eq(group_id))
            .filter(user_group_map::Column::UserId.is_in(ids.iter().copied()))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Makes the groups of a user exactly those with these names, making the ones that do not exist. Two tables.
pub async fn set_for_user(db: &impl ConnectionTrait, user_id: i32, names: &[String]) -> Result<(), DbError> {
    let mut wanted = by_names(db, names).await?;
    for name in names {
        if !wanted.iter().any(|group| group.name == *name) {
            wanted.push(create(db, name).await?);
        }
    }
    let held = of_user(db, user_id).await?;
    for group in held.iter().filter(|held| !wanted.iter().any(|wanted| wanted.id == held.id)) {
        remove_users(db, group.id, &[user_id]).await?;
    }
    for group in wanted.iter().filter(|wanted| !held.iter().any(|held| held.id == wanted.id)) {
        add_users(db, group.id, &[user_id]).await?;
    }
    Ok(())
}

/// The groups of one user, by name.
pub async fn of_user(db: &impl ConnectionTrait, user_id: i32) -> Result<Vec<Group>, DbError> {
    let joined = user_group_map::Entity::belongs_to(groups::Entity)
        .from(user_group_map::Column::GroupId)
        .to(groups::Column::Id)
        .into();
    Ok(groups::Entity::find()
        .join_rev(JoinType::InnerJoin, joined)
        .filter(user_group_map::Column::UserId.eq(user_id))
        .order_by_asc(groups::Column::Name)
        .all(db)
        .await?)
}

/// Names of the groups of users, sorted, by user id. One query.
pub async fn names_of_users(
    db: &impl ConnectionTrait,
    user_ids: &[i32],
) -> Result<HashMap<i32, Vec<String>>, DbError> {
    let walk = Walk::<user_group_map::Entity, groups::Entity> {
        near: user_group_map::Column::UserId,
        far: user_group_map::Column::GroupId,
        id: groups::Column::Id,
        name: groups::Column::Name,
        sort: groups::Column::Name,
    };
    walk.names(db, user_ids).await
}

/// Names of the members of groups, by group id, each list in the order in which the users were made. One query.
pub async fn members(
    db: &impl ConnectionTrait,
    group_ids: &[i32],
) -> Result<HashMap<i32, Vec<String>>, DbError> {
    let walk = Walk::<user_group_map::Entity, users::Entity> {
        near: user_group_map::Column::GroupId,
        far: user_group_map::Column::UserId,
        id: users::Column::Id,
        name: users::Column::Name,
        sort: users::Column::Id,
    };
    walk.names(db, group_ids).await
}
