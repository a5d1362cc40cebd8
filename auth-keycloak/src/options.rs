//! What `[authenticator.keycloak]` has beyond the options of OpenID Connect.

use std::time::Duration;

use hub_core::plugin::DurationText;
use hub_core::{AuthenticatorContext, PluginError, Problem};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pattern::Pattern;

/// Shortest pause between two questions for disabled accounts.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// How groups of Keycloak, which are paths, are named here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupNames {
    /// As Keycloak writes them: `/workspaces/alpha`.
    #[default]
    Path,
    /// Without the slash in front: `workspaces/alpha`.
    Relative,
    /// The last part: `alpha`. Groups of the same name in two places become one.
    Last,
}

/// Makes groups and roles of the hub, administrators and admission out of a group or role of Keycloak.
///
/// In patterns `*` stands for part of one name and `**` for anything; what they stand for is `{1}`, `{2}`, … in
/// `groups` and `roles`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Pattern for a group, a path: `/workspaces/*`.
    pub group: Option<String>,
    /// Pattern for a role: `teacher` of the realm, `CLIENT:teacher` of a client.
    pub role: Option<String>,
    /// Groups of the hub that this leads to.
    pub groups: Vec<String>,
    /// Roles of the hub that this leads to.
    pub roles: Vec<String>,
    /// Whether it makes an administrator.
    pub admin: bool,
    /// Whether it lets in.
    pub allow: bool,
    /// Whether it keeps out, whatever else is said.
    pub block: bool,
}

/// The options.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeycloakOptions {
    /// Address of Keycloak, with `/auth` where it is an old one; together with `realm` instead of `issuer`.
    pub url: Option<String>,
    /// The realm.
    pub realm: Option<String>,
    /// How groups are named here.
    pub group_names: GroupNames,
    /// Whether groups that no rule speaks about are groups here too.
    pub keep_other_groups: bool,
    /// Roles whose holders are administrators; all others are not. `NAME` of the realm, `CLIENT:NAME` of a client.
    pub admin_roles: Vec<String>,
    /// Roles whose holders get in.
    pub allowed_roles: Vec<String>,
    /// Roles whose holders do not, whatever else is said.
    pub blocked_roles: Vec<String>,
    /// Roles of Keycloak that are roles of the hub under the same name (without `CLIENT:`). Needs
    /// `authenticator.manage_roles`.
    pub same_roles: Vec<String>,
    /// Further rules.
    pub rules: Vec<Rule>,
    /// How often Keycloak is asked which accounts are disabled, whose owners are then out; 0: never. Needs
    /// `authenticator.enable_auth_state`, and the role `view-users` of `realm-management` for the client's service
    /// account.
    #[serde(with = "DurationText")]
    pub watch_accounts: Duration,
}

impl Default for KeycloakOptions {
    fn default() -> Self {
        Self {
            url: None,
            realm: None,
            group_names: GroupNames::Path,
            keep_other_groups: true,
            admin_roles: Vec::new(),
            allowed_roles: Vec::new(),
            blocked_roles: Vec::new(),
            same_roles: Vec::new(),
            rules: Vec::new(),
            watch_accounts: Duration::ZERO,
        }
    }
}

impl KeycloakOptions {
    /// The keys that are not those of OpenID Connect.
    pub const KEYS: &[&str] = &[
        "url",
        "realm",
        "group_names",
        "keep_other_groups",
        "admin_roles",
        "allowed_roles",
        "blocked_roles",
        "same_roles",
        "rules",
        "watch_accounts",
    ];

    /// The issuer that `url` and `realm` make.
    pub fn issuer(&self) -> Option<String> {
        let url = self.url.as_deref()?.trim_end_matches('/');
        Some(format!("{url}/realms/{}", self.realm.as_deref()?))
    }

    /// Every problem of these options.
    pub fn validate(&self, table: &str, cx: &AuthenticatorContext) -> Result<(), PluginError> {
        let mut problems = Vec::new();
        let mut wrong = |key: String, text: &str| problems.push(Problem::new(format!("{table}.{key}"), text));
        if self.url.is_some() != self.realm.is_some() {
            let missing = if self.url.is_some() { "realm" } else { "url" };
            wrong(missing.to_owned(), "is missing: url and realm belong together");
        }
        if !self.watch_accounts.is_zero() && self.watch_accounts < SHORTEST_WATCH {
            wrong("watch_accounts".to_owned(), "must be a second at least, or 0 for never");
        }
        if !self.watch_accounts.is_zero() && !cx.auth_state {
            let text = "needs authenticator.enable_auth_state: what is kept there tells whose account one is";
            wrong("watch_accounts".to_owned(), text);
        }
        let mut makes_roles = !self.same_roles.is_empty();
        for (index, rule) in self.rules.iter().enumerate() {
            let at = |key: &str| format!("rules[{index}]{key}");
            makes_roles |= !rule.roles.is_empty();
            let ((Some(pattern), None) | (None, Some(pattern))) = (&rule.group, &rule.role) else {
                wrong(at(""), "needs either group or role, and not both");
                continue;
            };
            match Pattern::parse(pattern) {
                Err(why) => wrong(at(""), &why),
                Ok(pattern) => {
                    for (key, targets) in [(".groups", &rule.groups), (".roles", &rule.roles)] {
                        for why in targets.iter().filter_map(|target| pattern.check_target(target).err()) {
                            wrong(at(key), &why);
                        }
                    }
                }
            }
            if rule.groups.is_empty() && rule.roles.is_empty() && !rule.admin && !rule.allow && !rule.block {
                wrong(at(""), "leads to nothing: give groups, roles, admin, allow or block");
            }
            if !rule.groups.is_empty() && !cx.manage_groups {
                wrong(at(".groups"), "needs authenticator.manage_groups = true");
            }
        }
        if makes_roles && !cx.manage_roles {
            wrong("rules".to_owned(), "roles need authenticator.manage_roles = true");
        }
        PluginError::check(problems)
    }
}
