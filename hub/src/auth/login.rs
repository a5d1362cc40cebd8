//! What a login changes: the user's row, groups, roles, encrypted state.

use std::time::Instant;

use hub_core::{AuthError, Identity};
use hub_db::entities::users;
use hub_db::{DbError, Tx, repo};
use tracing::{info, warn};

use super::names::UserNameError;
use super::refresh::reload;
use crate::app::Hub;
use crate::rbac::roles;
use crate::web::error::ApiResult;

/// Lets a proven identity in: name rules, block and allow rules, then the database. Answers to `login_user`.
pub async fn admit(hub: &Hub, identity: Identity) -> ApiResult<users::Model> {
    let began = Instant::now();
    let result = admit_inner(hub, identity).await;
    hub.metrics.login(result.is_ok(), began.elapsed());
    match &result {
        Ok(user) => info!(user = %user.name, "User logged in: {}", user.name),
        Err(error) => warn!(%error, "Failed login"),
    }
    result
}

async fn admit_inner(hub: &Hub, identity: Identity) -> ApiResult<users::Model> {
    let name = hub.auth.names.accept(&identity.name).map_err(|error| match error {
        UserNameError::Shape(_) | UserNameError::Pattern => {
            AuthError::Invalid(format!("bad user name: {error}"))
        }
    })?;
    let exists = repo::users::by_name(hub.db.conn(), name.as_str()).await?.is_some();
    let blocked = hub.auth.allow.blocked.contains(name.as_str());
    if blocked || !(identity.allowed || hub.auth.allow.allows(name.as_str(), exists)) {
        return Err(AuthError::Invalid(format!("user {name} is not allowed")).into());
    }
    let admin = if hub.auth.allow.admins.contains(name.as_str()) { Some(true) } else { identity.admin };
    let identity = Identity { admin, ..identity };
    let mut entered = enter(hub, name.as_str(), &identity).await;
    if entered.as_ref().is_err_and(DbError::is_conflict) {
        // The same person, or another one of the same new group, came at this very moment.
        entered = enter(hub, name.as_str(), &identity).await;
    }
    let id = entered?;
    hub.auth.refreshed.insert(id, ());
    reload(hub, id).await
}

async fn enter(hub: &Hub, name: &str, identity: &Identity) -> Result<i32, DbError> {
    let tx = hub.db.begin().await?;
    let user = ensure_user(hub, &tx, name).await?;
    write(hub, &tx, &user, identity).await?;
    tx.commit().await?;
    Ok(user.id)
}

/// Takes over what a refresh told of a user who is in already.
pub(super) async fn update(hub: &Hub, user: &users::Model, identity: &Identity) -> ApiResult<users::Model> {
    let tx = hub.db.begin().await?;
    write(hub, &tx, user, identity).await?;
    tx.commit().await?;
    reload(hub, user.id).await
}

/// Admin flag, groups, encrypted state and facts of an identity.
async fn write(hub: &Hub, tx: &Tx, user: &users::Model, identity: &Identity) -> Result<(), DbError> {
    if let Some(admin) = identity.admin
        && admin != user.is_admin()
    {
        roles::set_admin(tx, user.id, admin).await?;
    }
    if hub.auth.settings.manage_groups
        && let Some(groups) = &identity.groups
    {
        for name in groups {
            if repo::groups::by_name(tx, name).await?.is_none() {
                repo::groups::create(tx, name).await?;
            }
        }
        repo::groups::set_for_user(tx, user.id, groups).await?;
    }
    let state = if hub.auth.settings.auth_state { identity.auth_state.as_ref() } else { None };
    let stored = state.and_then(|state| hub.auth.crypt.encrypt(state));
    if stored.is_some() || user.encrypted_auth_state.is_some() {
        repo::users::set_auth_state(tx, user.id, stored).await?;
    }
    if let Some(info) = &identity.user_info {
        repo::users::set_user_info(tx, user.id, Some(info.clone())).await?;
    }
    Ok(())
}

/// The row of a name, made with the default server and the role `user` when missing.
pub async fn ensure_user(hub: &Hub, tx: &Tx, name: &str) -> Result<users::Model, DbError> {
    if let Some(user) = repo::users::by_name(tx, name).await? {
        roles::grant_default(tx, user.id).await?;
        return Ok(user);
    }
    let user = repo::users::create(tx, name, false, hub.clock.now()).await?;
    roles::grant_default(tx, user.id).await?;
    Ok(user)
}
