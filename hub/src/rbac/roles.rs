//! Roles: the built-in ones, those of the configuration, and who has them. Answers to `init_roles`,
//! `init_role_assignment` and `roles.py`.

use std::collections::BTreeSet;

use hub_config::{Config, RoleSection};
use hub_core::scopes::{
    ADMIN_ROLE, RoleDef, ScopeTable, TOKEN_ROLE, USER_ROLE, check_role_name, default_roles,
};
use hub_db::repo::roles::{Holder, RoleSpec};
use hub_db::{DbError, Tx, repo};
use thiserror::Error;
use tracing::{info, warn};

use crate::auth::names::NameRules;

/// Why the configured roles cannot be loaded.
#[derive(Debug, Error)]
pub enum RoleError {
    /// A role is not what a role can be.
    #[error("roles: role {role:?}: {problem}")]
    Role {
        /// Name of the role.
        role: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The database did not answer.
    #[error(transparent)]
    Db(#[from] DbError),
}

fn problem(role: &str, problem: impl Into<String>) -> RoleError {
    RoleError::Role { role: role.to_owned(), problem: problem.into() }
}

/// Roles that shall exist: built-in ones with the changes of the configuration, then the configuration's own.
fn wanted(config: &Config, table: &ScopeTable) -> Result<Vec<(RoleDef, Option<RoleSection>)>, RoleError> {
    let mut seen = BTreeSet::new();
    for role in &config.roles {
        check_role_name(&role.name).map_err(|e| problem(&role.name, e.to_string()))?;
        if !seen.insert(role.name.as_str()) {
            return Err(problem(&role.name, "defined twice; keep one of the two"));
        }
        for scope in role.scopes.iter().flatten() {
            table.parse(scope).map_err(|e| problem(&role.name, e.message_for("role")))?;
        }
    }
    let find = |name: &str| config.roles.iter().find(|role| role.name == name).cloned();
    let mut all = Vec::new();
    for mut role in default_roles() {
        let change = find(&role.name);
        if let Some(change) = &change {
            if role.name == ADMIN_ROLE && (change.scopes.is_some() || change.description.is_some()) {
                return Err(problem(
                    ADMIN_ROLE,
                    "scopes and description of this role are fixed; define another role",
                ));
            }
            if let Some(scopes) = &change.scopes {
                if role.name == USER_ROLE && !scopes.iter().any(|scope| scope == "self") {
                    warn!(
                        "the role 'user' is configured without 'self': people cannot use their own servers"
                    );
                }
                role.scopes.clone_from(scopes);
            }
            if let Some(description) = &change.description {
                role.description.clone_from(description);
            }
        }
        let overridden = change.as_ref().is_some_and(|change| change.scopes.is_some());
        if role.name == USER_ROLE && !config.hub.extra_user_scopes.is_empty() {
            if overridden {
                warn!("hub.extra_user_scopes is ignored: the role 'user' has scopes of its own");
            } else {
                for scope in &config.hub.extra_user_scopes {
                    table
                        .parse(scope)
                        .map_err(|e| problem(USER_ROLE, e.message_for("hub.extra_user_scopes")))?;
                    role.scopes.push(scope.clone());
                }
            }
        }
        all.push((role, change));
    }
    let known: BTreeSet<String> = all.iter().map(|(role, _)| role.name.clone()).collect();
    for role in config.roles.iter().filter(|role| !known.contains(&role.name)) {
        let def = RoleDef {
            name: role.name.clone(),
            description: role.description.clone().unwrap_or_default(),
            scopes: role.scopes.clone().unwrap_or_default(),
        };
        all.push((def, Some(role.clone())));
    }
    Ok(all)
}

/// Makes the roles of the database those of the configuration. Roles that nobody defines any more go, unless the
/// authenticator owns them and they are not to be reset.
pub async fn load(tx: &Tx, config: &Config, table: &ScopeTable) -> Result<(), RoleError> {
    let wanted = wanted(config, table)?;
    let names: BTreeSet<&str> = wanted.iter().map(|(role, _)| role.name.as_str()).collect();
    // No authenticator of this hub loads roles at the start, so that none of its roles is wanted from the outset.
    let reset = config.authenticator.manage_roles && config.authenticator.reset_managed_roles_on_startup;
    for role in repo::roles::all(tx).await? {
        if !names.contains(role.name.as_str()) && (reset || !role.managed_by_auth) {
            info!(role = %role.name, "deleting a role that is not configured any more");
            repo::roles::delete(tx, role.id).await?;
        }
    }
    for (role, _) in &wanted {
        let spec = RoleSpec {
            name: role.name.clone(),
            description: Some(role.description.clone()),
            scopes: role.scopes.clone(),
            managed_by_auth: false,
        };
        repo::roles::upsert(tx, spec).await?;
    }
    Ok(())
}

/// Gives the roles to those who shall have them. Users, groups and services exist by now, users under their normalised
/// names.
pub async fn assign(
    tx: &Tx,
    config: &Config,
    table: &ScopeTable,
    admins: &BTreeSet<String>,
    names: &NameRules,
) -> Result<(), RoleError> {
    for (role, section) in wanted(config, table)? {
        let Some(row) = repo::roles::by_name(tx, &role.name).await? else { continue };
        let members = repo::role_members::members(tx, row.id).await?;
        let section = section.unwrap_or_default();
        let is_admin = role.name == ADMIN_ROLE;

        let mut users: Option<BTreeSet<String>> =
            section.users.map(|users| users.iter().map(|name| names.normalize(name)).collect());
        if is_admin && let Some(users) = &mut users {
            users.extend(admins.iter().cloned());
        }
        match users {
            Some(wanted) => {
                for member in members.users.iter().filter(|member| !wanted.contains(&member.name)) {
                    if role.name == USER_ROLE {
                        continue;
                    }
                    take(tx, row.id, is_admin, member.id).await?;
                }
                for name in &wanted {
                    let Some(user) = repo::users::by_name(tx, name).await? else {
                        return Err(problem(&role.name, format!("no user {name:?}")));
                    };
                    give(tx, row.id, is_admin, user.id).await?;
                }
            }
            None if is_admin => {
                for name in admins {
                    if let Some(user) = repo::users::by_name(tx, name).await? {
                        give(tx, row.id, true, user.id).await?;
                    }
                }
            }
            None if role.name == USER_ROLE => {}
            None => {
                for member in members.users.iter().filter(|member| !member.managed_by_auth) {
                    repo::roles::revoke(tx, row.id, Holder::User(member.id)).await?;
                }
            }
        }

        let groups: BTreeSet<String> = section.groups.into_iter().flatten().collect();
        for member in members.groups.iter().filter(|member| !groups.contains(&member.name)) {
            repo::roles::revoke(tx, row.id, Holder::Group(member.id)).await?;
        }
        for name in &groups {
            let group = match repo::groups::by_name(tx, name).await? {
                Some(group) => group,
                None => repo::groups::create(tx, name).await?,
            };
            repo::roles::assign(tx, row.id, Holder::Group(group.id), false).await?;
        }

        let services = section.services.map(|names| names.into_iter().collect::<BTreeSet<_>>());
        if let Some(wanted) = services.or_else(|| (!is_admin).then(BTreeSet::new)) {
            for member in members.services.iter().filter(|member| !wanted.contains(&member.name)) {
                repo::roles::revoke(tx, row.id, Holder::Service(member.id)).await?;
            }
            for name in &wanted {
                let service = repo::services::by_name(tx, name).await?.ok_or_else(|| {
                    problem(&role.name, format!("no service {name:?}; define it under [[services]]"))
                })?;
                repo::roles::assign(tx, row.id, Holder::Service(service.id), false).await?;
            }
        }
    }
    Ok(())
}

async fn give(tx: &Tx, role: i32, is_admin: bool, user: i32) -> Result<(), DbError> {
    repo::roles::assign(tx, role, Holder::User(user), false).await?;
    if is_admin { repo::users::set_admin(tx, user, true).await } else { Ok(()) }
}

async fn take(tx: &Tx, role: i32, is_admin: bool, user: i32) -> Result<(), DbError> {
    repo::roles::revoke(tx, role, Holder::User(user)).await?;
    if is_admin { repo::users::set_admin(tx, user, false).await } else { Ok(()) }
}

/// Gives a user the role `user`, which everybody has.
pub async fn grant_default(tx: &Tx, user: i32) -> Result<(), DbError> {
    if let Some(role) = repo::roles::by_name(tx, USER_ROLE).await? {
        repo::roles::assign(tx, role.id, Holder::User(user), false).await?;
    }
    Ok(())
}

/// Sets the admin flag and the role that goes with it.
pub async fn set_admin(tx: &Tx, user: i32, admin: bool) -> Result<(), DbError> {
    repo::users::set_admin(tx, user, admin).await?;
    if let Some(role) = repo::roles::by_name(tx, ADMIN_ROLE).await? {
        if admin {
            repo::roles::assign(tx, role.id, Holder::User(user), false).await?;
        } else {
            repo::roles::revoke(tx, role.id, Holder::User(user)).await?;
        }
    }
    Ok(())
}

/// The scopes that a new token gets when none are asked for.
pub async fn default_token_scopes(db: &impl hub_db::ConnectionTrait) -> Result<Vec<String>, DbError> {
    Ok(repo::roles::by_name(db, TOKEN_ROLE)
        .await?
        .map_or_else(|| vec!["inherit".to_owned()], |role| role.scopes.0))
}
