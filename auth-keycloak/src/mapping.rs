//! From groups and roles of Keycloak to those of the hub.

use hub_auth_oidc::claims::{ClaimPath, Claims};
use hub_auth_oidc::{Mapped, Mapper};
use hub_core::AuthError;
use tracing::warn;

use crate::options::{GroupNames, KeycloakOptions};
use crate::pattern::{Pattern, fill};

/// Applies the options to what Keycloak tells about a person.
#[derive(Debug)]
pub struct RoleMapper {
    client_id: String,
    group_names: GroupNames,
    keep_other_groups: bool,
    admin_roles: Vec<String>,
    allowed_roles: Vec<String>,
    blocked_roles: Vec<String>,
    same_roles: Vec<String>,
    rules: Vec<ParsedRule>,
}

#[derive(Debug)]
struct ParsedRule {
    of_groups: bool,
    pattern: Pattern,
    groups: Vec<String>,
    roles: Vec<String>,
    admin: bool,
    allow: bool,
    block: bool,
}

impl RoleMapper {
    /// A mapper of checked options; rules that cannot be read are left out, the check names them first.
    pub fn new(options: &KeycloakOptions, client_id: &str) -> Self {
        let rules = options.rules.iter().filter_map(|rule| {
            let text = rule.group.as_ref().or(rule.role.as_ref())?;
            Some(ParsedRule {
                of_groups: rule.group.is_some(),
                pattern: Pattern::parse(text).ok()?,
                groups: rule.groups.clone(),
                roles: rule.roles.clone(),
                admin: rule.admin,
                allow: rule.allow,
                block: rule.block,
            })
        });
        Self {
            client_id: client_id.to_owned(),
            group_names: options.group_names,
            keep_other_groups: options.keep_other_groups,
            admin_roles: options.admin_roles.clone(),
            allowed_roles: options.allowed_roles.clone(),
            blocked_roles: options.blocked_roles.clone(),
            same_roles: options.same_roles.clone(),
            rules: rules.collect(),
        }
    }

    /// `NAME` for roles of the realm, `CLIENT:NAME` for those of clients.
    fn roles(claims: &Claims) -> Vec<String> {
        let of_path = |path: &str| ClaimPath::parse(path).map(|path| claims.texts(&path)).unwrap_or_default();
        let mut roles = of_path("realm_access.roles");
        // A realm role cannot pass for that of a client.
        roles.retain(|role| !role.contains(':'));
        let clients = [&claims.userinfo, &claims.id_token, &claims.access_token]
            .into_iter()
            .find_map(|source| source.get("resource_access")?.as_object());
        for (client, access) in clients.into_iter().flatten() {
            let names = access.get("roles").and_then(serde_json::Value::as_array).into_iter().flatten();
            roles.extend(names.filter_map(|name| Some(format!("{client}:{}", name.as_str()?))));
        }
        roles
    }

    /// Whether a role is named in a list; `:NAME` is a role of the hub's own client.
    fn is_in(&self, list: &[String], role: &str) -> bool {
        list.iter().any(|wanted| match wanted.strip_prefix(':') {
            Some(own) => {
                role.strip_prefix(&self.client_id).and_then(|rest| rest.strip_prefix(':')) == Some(own)
            }
            None => wanted == role,
        })
    }

    fn name(&self, group: &str) -> String {
        match self.group_names {
            GroupNames::Path => group.to_owned(),
            GroupNames::Relative => group.trim_start_matches('/').to_owned(),
            GroupNames::Last => group.rsplit('/').next().unwrap_or(group).to_owned(),
        }
    }

    /// Applies the rules to one group or role; whether any of them spoke about it.
    fn apply(&self, of_groups: bool, text: &str, mapped: &mut Mapped, blocked: &mut bool) -> bool {
        let mut spoken = false;
        for rule in self.rules.iter().filter(|rule| rule.of_groups == of_groups) {
            let Some(caught) = rule.pattern.matches(text) else { continue };
            spoken |= !rule.groups.is_empty();
            mapped.groups.extend(rule.groups.iter().map(|target| fill(target, &caught)));
            mapped.roles.extend(rule.roles.iter().map(|target| fill(target, &caught)));
            if rule.admin {
                mapped.admin = Some(true);
            }
            mapped.allowed |= rule.allow;
            *blocked |= rule.block;
        }
        spoken
    }
}

impl Mapper for RoleMapper {
    fn map(&self, claims: &Claims, mapped: &mut Mapped) -> Result<(), AuthError> {
        let mut blocked = false;
        if !self.admin_roles.is_empty() || self.rules.iter().any(|rule| rule.admin) {
            mapped.admin = Some(false);
        }
        for group in std::mem::take(&mut mapped.groups) {
            let spoken = self.apply(true, &group, mapped, &mut blocked);
            if !spoken && self.keep_other_groups {
                mapped.groups.push(self.name(&group));
            }
        }
        for role in Self::roles(claims) {
            self.apply(false, &role, mapped, &mut blocked);
            if self.is_in(&self.admin_roles, &role) {
                mapped.admin = Some(true);
            }
            mapped.allowed |= self.is_in(&self.allowed_roles, &role);
            blocked |= self.is_in(&self.blocked_roles, &role);
            if self.is_in(&self.same_roles, &role) {
                mapped.roles.push(role.rsplit(':').next().unwrap_or(&role).to_owned());
            }
        }
        if blocked {
            warn!("login refused by a group or role that is blocked");
            return Err(AuthError::Denied("Your account may not use this hub.".to_owned()));
        }
        Ok(())
    }

    /// Roles are in access tokens, unless the realm is told otherwise.
    fn reads_access_tokens(&self) -> bool {
        true
    }
}
