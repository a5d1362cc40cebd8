//! People who are shut out: what they were given before is taken from them when the hub starts. Answers to
//! `init_blocked_users`. That they do not get in again is told by [`super::AllowRules`].

use hub_core::UserName;
use hub_db::{DbError, Tx, repo};
use tracing::warn;

use super::AllowRules;

/// Takes roles, groups and the admin flag from blocked people, so that their cookies and tokens are worth nothing.
pub async fn revoke(tx: &Tx, rules: &AllowRules) -> Result<(), DbError> {
    let names: Vec<String> = rules.blocked.iter().cloned().collect();
    for user in repo::users::by_names(tx, &names).await? {
        let roles = repo::roles::revoke_all_of_user(tx, user.id).await?;
        let groups = repo::groups::of_user(tx, user.id).await?;
        if roles == 0 && groups.is_empty() && !user.is_admin() {
            continue;
        }
        repo::groups::set_for_user(tx, user.id, &[]).await?;
        repo::users::set_admin(tx, user.id, false).await?;
        let groups: Vec<_> = groups.into_iter().map(|group| group.name).collect();
        warn!(user = %user.name, roles, ?groups, admin = user.is_admin(), "taking roles and groups from a blocked user");
    }
    Ok(())
}

impl AllowRules {
    /// Whether somebody is shut out.
    pub fn is_blocked(&self, name: &UserName) -> bool {
        self.blocked.contains(name.as_str())
    }
}
