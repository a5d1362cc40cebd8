//! What authenticators keep about users, encrypted: who has any, and changes that two hubs cannot make at once.

use sea_orm::prelude::*;
use sea_orm::{ConnectionTrait, QueryOrder as _, QuerySelect as _};

use super::users::User;
use crate::entities::users;
use crate::error::DbError;

/// Replaces the state of a user if it is still `old`. One statement; `false`: somebody else was first.
pub async fn swap(
    db: &impl ConnectionTrait,
    id: i32,
    old: &[u8],
    new: Option<&[u8]>,
) -> Result<bool, DbError> {
    let done = users::Entity::update_many()
        .col_expr(users::Column::EncryptedAuthState, Expr::value(new.map(<[u8]>::to_vec)))
        .filter(users::Column::Id.eq(id))
        .filter(users::Column::EncryptedAuthState.eq(old.to_vec()))
        .exec(db)
        .await?;
    Ok(done.rows_affected > 0)
}

/// Users that have a state, by id, after this id: one page of at most `limit`.
pub async fn page(db: &impl ConnectionTrait, after: i32, limit: u64) -> Result<Vec<User>, DbError> {
    Ok(users::Entity::find()
        .filter(users::Column::EncryptedAuthState.is_not_null())
        .filter(users::Column::Id.gt(after))
        .order_by_asc(users::Column::Id)
        .limit(limit)
        .all(db)
        .await?)
}
