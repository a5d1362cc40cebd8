//! Roles that the authenticator assigns when somebody logs in (`manage_roles`). Answers to `User.sync_roles`.
//!
//! Unlike stock, everybody keeps the role `user`, and administrators keep `admin`, whether they are listed or not.

use std::collections::BTreeSet;

use hub_core::Identity;
use hub_core::scopes::{ADMIN_ROLE, ScopeTable, USER_ROLE, check_role_name};
use hub_db::repo::role_members::Members;
use hub_db::repo::roles::{Holder, RoleSpec};
use hub_db::{DbError, Tx, repo};
use serde::Deserialize;
use thiserror::Error;
use tracing::info;

/// A role as an authenticator gives it. What is left out stays as it is, or is empty for a new role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedRole {
    name: String,
    description: Option<String>,
    scopes: Option<Vec<String>>,
}

/// Why roles of an authenticator cannot be assigned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the authenticator gives a role that this hub cannot have: {0}")]
pub struct ManagedRoleError(String);

/// The roles of an identity, checked; none where the authenticator says nothing about roles.
pub fn read(identity: &Identity, table: &ScopeTable) -> Result<Option<Vec<ManagedRole>>, ManagedRoleError> {
    let Some(given) = &identity.roles else { return Ok(None) };
    let mut roles = Vec::with_capacity(given.len());
    for value in given {
        let role: ManagedRole = serde::Deserialize::deserialize(value)
            .map_err(|error: serde_json::Error| ManagedRoleError(error.to_string()))?;
        check_role_name(&role.name).map_err(|error| ManagedRoleError(error.to_string()))?;
        if role.name == ADMIN_ROLE && (role.description.is_some() || role.scopes.is_some()) {
            return Err(ManagedRoleError(format!("{ADMIN_ROLE:?} cannot be changed")));
        }
        for scope in role.scopes.iter().flatten() {
            table.parse(scope).map_err(|error| ManagedRoleError(error.message_for("role")))?;
        }
        roles.push(role);
    }
    Ok(Some(roles))
}

/// Makes these the roles that a user holds itself. Roles that do not exist are made; one that nobody holds any more
/// goes if it was made here and the configuration does not name it.
pub async fn assign(
    tx: &Tx,
    user: i32,
    is_admin: bool,
    roles: &[ManagedRole],
    configured: &BTreeSet<&str>,
) -> Result<(), DbError> {
    let held = repo::roles::of(tx, Holder::User(user)).await?;
    for role in roles {
        let known = repo::roles::by_name(tx, &role.name).await?;
        let spec = RoleSpec {
            name: role.name.clone(),
            description: role.description.clone().or_else(|| known.as_ref()?.description.clone()),
            scopes: match (&role.scopes, &known) {
                (Some(scopes), _) => scopes.clone(),
                (None, Some(known)) => known.scopes.0.clone(),
                (None, None) => Vec::new(),
            },
            managed_by_auth: known.as_ref().is_none_or(|known| known.managed_by_auth),
        };
        let row = repo::roles::upsert(tx, spec).await?;
        if !held.iter().any(|held| held.id == row.id) {
            info!(user, role = %row.name, "the authenticator grants a role");
            repo::roles::assign(tx, row.id, Holder::User(user), true).await?;
        }
    }
    for role in &held {
        let kept = role.name == USER_ROLE || (is_admin && role.name == ADMIN_ROLE);
        if kept || roles.iter().any(|wanted| wanted.name == role.name) {
            continue;
        }
        info!(user, role = %role.name, "the authenticator takes a role away");
        repo::roles::revoke(tx, role.id, Holder::User(user)).await?;
        if role.managed_by_auth
            && !configured.contains(role.name.as_str())
            && repo::role_members::members(tx, role.id).await? == Members::default()
        {
            repo::roles::delete(tx, role.id).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hub_core::scopes::ScopeTable;
    use serde_json::{Value, json};

    use super::*;

    fn read_one(role: Value) -> Result<Option<Vec<ManagedRole>>, ManagedRoleError> {
        read(
            &Identity { roles: Some(vec![role]), ..Identity::default() },
            &ScopeTable::with_custom([]).unwrap(),
        )
    }

    #[test]
    fn a_role_that_cannot_be_one_is_refused() {
        for bad in [
            json!("teacher"),
            json!({"scopes": []}),
            json!({"name": "No Role"}),
            json!({"name": "teacher", "scopes": ["no:such:scope"]}),
            json!({"name": "admin", "scopes": ["read:hub"]}),
            json!({"name": "teacher", "users": ["ada"]}),
        ] {
            assert!(read_one(bad.clone()).is_err(), "{bad}");
        }
        assert!(read_one(json!({"name": "teacher", "scopes": ["read:hub"]})).unwrap().is_some());
        assert!(read_one(json!({"name": "admin"})).unwrap().is_some());
        assert_eq!(read(&Identity::default(), &ScopeTable::with_custom([]).unwrap()), Ok(None));
    }
}
