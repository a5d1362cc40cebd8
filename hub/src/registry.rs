//! The plugins that this binary holds: one explicit list, nothing registers itself.

use hub_core::{AuthenticatorPlugin, PluginError, SpawnerPlugin};

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
    fn an_unknown_kind_is_answered_with_those_there_are() {
        let registry = Registry::built_in();
        let error = registry.spawner("docker").unwrap_err().to_string();
        assert!(error.contains("docker") && error.contains("local"), "{error}");
        let error = registry.authenticator("ldap").unwrap_err().to_string();
        assert!(error.contains("dummy") && error.contains("first-admin"), "{error}");
    }
}
