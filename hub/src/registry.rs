//! The plugins that this binary holds: one explicit list, nothing registers itself.

use hub_core::{AuthenticatorPlugin, PluginError, SpawnerPlugin};

/// All spawners.
pub fn spawners() -> Vec<SpawnerPlugin> {
    vec![hub_spawner_local::plugin()]
}

/// All authenticators.
pub fn authenticators() -> Vec<AuthenticatorPlugin> {
    hub_auth_basic::plugins()
}

/// The spawner of a kind, or an error that names those there are.
pub fn spawner(kind: &str) -> Result<SpawnerPlugin, PluginError> {
    let all = spawners();
    let names: Vec<_> = all.iter().map(|plugin| plugin.name).collect();
    all.iter()
        .find(|plugin| plugin.name == kind)
        .copied()
        .ok_or_else(|| PluginError::one("spawner.kind", unknown(kind, &names)))
}

/// The authenticator of a kind, or an error that names those there are.
pub fn authenticator(kind: &str) -> Result<AuthenticatorPlugin, PluginError> {
    let all = authenticators();
    let names: Vec<_> = all.iter().map(|plugin| plugin.name).collect();
    all.iter()
        .find(|plugin| plugin.name == kind)
        .copied()
        .ok_or_else(|| PluginError::one("authenticator.kind", unknown(kind, &names)))
}

fn unknown(kind: &str, names: &[&str]) -> String {
    format!("there is no {kind:?} in this program; it has: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_is_answered_with_those_there_are() {
        let error = spawner("docker").unwrap_err().to_string();
        assert!(error.contains("docker") && error.contains("local"), "{error}");
        let error = authenticator("ldap").unwrap_err().to_string();
        assert!(error.contains("dummy") && error.contains("first-admin"), "{error}");
    }
}
