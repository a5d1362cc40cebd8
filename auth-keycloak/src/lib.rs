//! Login by Keycloak. Everything of OpenID Connect is [`hub_auth_oidc`]'s; here is what Keycloak tells in its own way:
//! roles of the realm and of clients in access tokens, groups as paths, and rules that make groups and roles of the hub
//! out of both.

mod authenticator;
mod closed;
mod mapping;
mod options;
mod pattern;

use std::sync::Arc;

use hub_auth_oidc::{OidcAuthenticator, OidcOptions};
use hub_core::plugin::{options_schema, read_options};
use hub_core::{Authenticator, AuthenticatorContext, AuthenticatorPlugin, PluginError, Problem};
use serde_json::{Map, Value, json};

pub use authenticator::{ACCOUNT_PATH, KeycloakAuthenticator};
pub use mapping::RoleMapper;
pub use options::{GroupNames, KeycloakOptions, Rule};

/// The `kind`, and the name of the table.
pub const NAME: &str = "keycloak";

/// The plugin.
pub fn plugin() -> AuthenticatorPlugin {
    AuthenticatorPlugin { name: NAME, build, describe }
}

/// What is Keycloak's own, and all options of OpenID Connect.
fn describe() -> Value {
    let mut schema = options_schema::<KeycloakOptions>();
    let mut oidc = options_schema::<OidcOptions>();
    let shared = oidc.get_mut("properties").and_then(Value::as_object_mut).map(std::mem::take);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.extend(shared.into_iter().flatten());
    }
    schema
}

/// One table holds what is Keycloak's own and all options of OpenID Connect.
fn build(options: Value, cx: &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError> {
    let table = format!("authenticator.{NAME}");
    let mut given = match options {
        Value::Null => Map::new(),
        Value::Object(map) => map,
        _ => return Err(PluginError::one(table, "must be a table")),
    };
    let mut own = Map::new();
    for key in KeycloakOptions::KEYS {
        if let Some(value) = given.remove(*key) {
            own.insert((*key).to_owned(), value);
        }
    }
    let own: KeycloakOptions = read_options(Value::Object(own), &table)?;
    own.validate(&table, cx)?;
    match (own.issuer(), given.contains_key("issuer")) {
        (Some(issuer), false) => {
            given.insert("issuer".to_owned(), json!(issuer));
        }
        (Some(_), true) => {
            return Err(PluginError::one(
                format!("{table}.issuer"),
                "says the same as url and realm; keep one of them",
            ));
        }
        (None, true) => {}
        (None, false) => {
            let text =
                "is missing: the address of the realm, https://HOST/realms/REALM (or give url and realm)";
            return Err(PluginError { problems: vec![Problem::new(format!("{table}.issuer"), text)] });
        }
    }
    for (key, value) in [
        ("username_claim", json!("preferred_username")),
        ("login_service", json!("Keycloak")),
        ("back_channel_logout", json!(cx.auth_state)),
    ] {
        given.entry(key).or_insert(value);
    }
    let oidc: OidcOptions = read_options(Value::Object(given), &table)?;
    let mapper = Arc::new(RoleMapper::new(&own, &oidc.client_id));
    let (issuer, client_id) = (oidc.issuer.trim_end_matches('/').to_owned(), oidc.client_id.clone());
    let name = "hub_auth_keycloak::KeycloakAuthenticator";
    let inner = OidcAuthenticator::new(oidc, &table, cx, mapper, name)?;
    Ok(Arc::new(KeycloakAuthenticator::new(inner, issuer, &client_id, own.watch_accounts)))
}

#[cfg(test)]
mod tests;
