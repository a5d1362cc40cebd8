//! The plugins that this binary holds: one explicit list, nothing registers itself.

use hub_config::PluginTable;
use hub_core::plugin::{DescribeOptions, options_schema};
use hub_core::{AuthenticatorPlugin, PluginError, SpawnerPlugin};

use crate::auth::chain;

/// The plugins that a hub can choose from.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Spawners.
    pub spawners: Vec<SpawnerPlugin>,
    /// Authenticators.
    pub authenticators: Vec<AuthenticatorPlugin>,
}

impl Registry {
    /// All that this binary holds.
    pub fn built_in() -> Self {
        Self { spawners: spawners(), authenticators: authenticators() }
    }

    /// The spawner of a kind, or an error that names those there are.
    pub fn spawner(&self, kind: &str) -> Result<SpawnerPlugin, PluginError> {
        let names: Vec<_> = self.spawners.iter().map(|plugin| plugin.name).collect();
        let found = self.spawners.iter().find(|plugin| plugin.name == kind).copied();
        found.ok_or_else(|| PluginError::one("spawner.kind", unknown(kind, &names)))
    }

    /// The authenticator of a kind, or an error that names those there are.
    pub fn authenticator(&self, kind: &str) -> Result<AuthenticatorPlugin, PluginError> {
        let names: Vec<_> = self.authenticators.iter().map(|plugin| plugin.name).collect();
        let found = self.authenticators.iter().find(|plugin| plugin.name == kind).copied();
        found.ok_or_else(|| PluginError::one("authenticator.kind", unknown(kind, &names)))
    }

    /// What all of them, and the chain of authenticators, say about their tables.
    pub fn tables(&self) -> Vec<PluginTable> {
        let authenticators = self.authenticators.iter().map(|plugin| (plugin.name, plugin.describe));
        let authenticators =
            authenticators.chain([(chain::KIND, options_schema::<chain::ChainOptions> as DescribeOptions)]);
        let authenticators = authenticators.map(|(name, describe)| ("authenticator", name, describe));
        let spawners = self.spawners.iter().map(|plugin| ("spawner", plugin.name, plugin.describe));
        let all = authenticators.chain(spawners);
        all.map(|(section, name, describe)| PluginTable { section, name, schema: describe() }).collect()
    }
}

fn spawners() -> Vec<SpawnerPlugin> {
    vec![
        hub_spawner_local::plugin(),
        #[cfg(feature = "kube")]
        hub_spawner_kube::plugin(),
    ]
}

fn authenticators() -> Vec<AuthenticatorPlugin> {
    #[cfg_attr(
        not(any(feature = "oidc", feature = "keycloak", feature = "openhexa", feature = "pam")),
        expect(unused_mut)
    )]
    let mut plugins = hub_auth_basic::plugins();
    #[cfg(feature = "oidc")]
    plugins.push(hub_auth_oidc::plugin());
    #[cfg(feature = "keycloak")]
    plugins.push(hub_auth_keycloak::plugin());
    #[cfg(feature = "openhexa")]
    plugins.push(hub_auth_openhexa::plugin());
    #[cfg(feature = "pam")]
    plugins.push(hub_auth_pam::plugin());
    plugins
}

fn unknown(kind: &str, names: &[&str]) -> String {
    format!("there is no {kind:?} in this program; it has: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_know_every_table_down_to_secrets_and_times() {
        let schema = hub_config::json_schema(Registry::built_in().tables());
        for pointer in [
            "/properties/authenticator/properties/chain/properties/members",
            "/properties/authenticator/properties/shared-password/properties/admin_password_file",
            "/properties/authenticator/properties/keycloak/properties/client_secret_file",
            "/properties/authenticator/properties/keycloak/properties/rules/items/properties/admin",
            "/properties/spawner/properties/local/properties/term_timeout",
            "/properties/spawner/properties/profiles/additionalProperties/properties/kube/properties/storage_class",
        ] {
            assert!(schema.pointer(pointer).is_some_and(|key| key.get("type").is_some()), "{pointer}");
        }
        let text = schema.to_string();
        assert!(
            !text.contains("x-kind") && !text.contains("$ref"),
            "marks and references are not for editors"
        );
    }

    #[test]
    fn an_unknown_kind_is_answered_with_those_there_are() {
        let registry = Registry::built_in();
        let error = registry.spawner("docker").unwrap_err().to_string();
        assert!(error.contains("docker") && error.contains("local"), "{error}");
        let error = registry.authenticator("ldap").unwrap_err().to_string();
        assert!(error.contains("dummy") && error.contains("first-admin"), "{error}");
    }
}
