//! What a login changes: the user's row, groups, roles, encrypted state.

use std::time::Instant;

use hub_core::{AuthError, Identity};
use hub_db::entities::users;
use hub_db::{DbError, Tx, repo};
use tracing::{info, warn};

use super::names::UserNameError;
use super::refresh::reload;
use crate::app::Hub;
use crate::rbac::managed::{self, ManagedRole};
use crate::rbac::roles;
use crate::web::error::{ApiError, ApiResult};
use crate::workspaces;

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
    let known = repo::users::by_name(hub.db.conn(), name.as_str()).await?;
    let blocked = hub.auth.allow.blocked.contains(name.as_str());
    if blocked || !(identity.allowed || hub.auth.allow.allows(name.as_str(), known.is_some())) {
        let why = format!("user {name} is not allowed");
        return Err(match hub.auth.authenticator.denied_text() {
            Some(text) => {
                warn!(user = %name, reason = "not_allowed", "{why}");
                AuthError::Denied(text).into()
            }
            None => AuthError::Invalid(why).into(),
        });
    }
    if let Some(known) = &known {
        same_account(hub, known, &identity)?;
    }
    let identity = with_configured_admins(hub, name.as_str(), identity);
    let roles = roles_of(hub, &identity)?;
    let mut entered = enter(hub, name.as_str(), &identity, roles.as_deref()).await;
    if entered.as_ref().is_err_and(DbError::is_conflict) {
        // The same person, or another one of the same new group, came at this very moment.
        entered = enter(hub, name.as_str(), &identity, roles.as_deref()).await;
    }
    let id = entered?;
    hub.auth.looks.holds(id, hub.clock.now(), hub.auth.authenticator.fresh_until(&identity));
    let user = reload(hub, id).await?;
    workspaces::after_change(hub, &user).await;
    Ok(user)
}

/// The database after a login, in one transaction. Returns the user's id.
async fn enter(
    hub: &Hub,
    name: &str,
    identity: &Identity,
    roles: Option<&[ManagedRole]>,
) -> Result<i32, DbError> {
    let tx = hub.db.begin().await?;
    let user = ensure_user(hub, &tx, name).await?;
    write(hub, &tx, &user, identity, roles).await?;
    let state = if hub.auth.settings.auth_state { identity.auth_state.as_ref() } else { None };
    let stored = state.and_then(|state| hub.auth.crypt.encrypt(state));
    if stored.is_some() || user.encrypted_auth_state.is_some() {
        repo::users::set_auth_state(&tx, user.id, stored).await?;
    }
    tx.commit().await?;
    Ok(user.id)
}

/// The roles that the authenticator assigns, where it manages them.
fn roles_of(hub: &Hub, identity: &Identity) -> ApiResult<Option<Vec<ManagedRole>>> {
    if !hub.auth.settings.manage_roles {
        return Ok(None);
    }
    managed::read(identity, hub.rbac.table()).map_err(|error| ApiError::conflict(error.to_string()))
}

/// A name stays with the account that had it, where the authenticator wants that and something was kept to tell.
fn same_account(hub: &Hub, known: &users::Model, identity: &Identity) -> ApiResult<()> {
    let authenticator = &hub.auth.authenticator;
    if authenticator.names_may_change_hands() {
        return Ok(());
    }
    let before =
        Identity { name: known.name.clone(), auth_state: hub.auth_state(known), ..Identity::default() };
    let (Some(before), Some(now)) = (authenticator.account(&before), authenticator.account(identity)) else {
        return Ok(());
    };
    if (&before.issuer, &before.subject) == (&now.issuer, &now.subject) {
        return Ok(());
    }
    warn!(
        user = %known.name,
        reason = "account_changed",
        "another account of the identity service has this name now; if that is right, clear the user's auth_state \
         (PATCH /hub/api/users/NAME) or set pin_subject = false"
    );
    Err(AuthError::Denied(
        "Your name belongs to another account here. Ask those who run this hub.".to_owned(),
    )
    .into())
}

/// Whoever the configuration names an administrator is one, whatever the identity service says.
fn with_configured_admins(hub: &Hub, name: &str, identity: Identity) -> Identity {
    let admin = if hub.auth.allow.admins.contains(name) { Some(true) } else { identity.admin };
    Identity { admin, ..identity }
}

/// Whether the rules that let somebody in still do after a refresh.
pub(super) fn may_stay(hub: &Hub, name: &str, identity: &Identity) -> bool {
    let rules = &hub.auth.allow;
    !rules.blocked.contains(name) && (identity.allowed || rules.allows(name, true))
}

/// Takes over what a refresh told of a user who is in already. `stored` is the encrypted state that it was told about:
/// where that has changed meanwhile, by a new login or another hub, the state is left as it is.
pub(super) async fn update(
    hub: &Hub,
    user: &users::Model,
    stored: Option<&[u8]>,
    before: &Identity,
    newer: &Identity,
) -> ApiResult<users::Model> {
    let newer = with_configured_admins(hub, &user.name, newer.clone());
    let roles = roles_of(hub, &newer)?;
    let is_marked = stored != user.encrypted_auth_state.as_deref();
    let tx = hub.db.begin().await?;
    if hub.auth.settings.auth_state
        && let Some(stored) = stored
        && (is_marked || newer.auth_state != before.auth_state)
    {
        let state = newer.auth_state.as_ref().and_then(|state| hub.auth.crypt.encrypt(state));
        if !repo::auth_state::swap(&tx, user.id, stored, state.as_deref()).await? {
            info!(user = %user.name, "the login changed while it was refreshed; the change stays");
            tx.rollback().await?;
            return reload(hub, user.id).await;
        }
    }
    write(hub, &tx, user, &newer, roles.as_deref()).await?;
    tx.commit().await?;
    let user = reload(hub, user.id).await?;
    workspaces::after_change(hub, &user).await;
    Ok(user)
}

/// Admin flag, groups, roles and facts of an identity.
async fn write(
    hub: &Hub,
    tx: &Tx,
    user: &users::Model,
    identity: &Identity,
    roles: Option<&[ManagedRole]>,
) -> Result<(), DbError> {
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
    if let Some(wanted) = roles {
        let configured = hub.config.roles.iter().map(|role| role.name.as_str()).collect();
        managed::assign(tx, user.id, identity.admin.unwrap_or(user.is_admin()), wanted, &configured).await?;
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
