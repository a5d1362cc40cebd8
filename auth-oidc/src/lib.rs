//! Login by OpenID Connect: authorization code with PKCE, checked id_tokens, refresh, single logout. Answers to
//! `GenericOAuthenticator`, plain OAuth 2 included, and is the engine of other authenticators.
//!
//! [`options`] is what people set, [`OidcAuthenticator`] what the hub sees. Inside, `transaction` binds a login to a
//! browser, `provider` and `keys` know the provider, `jws` and `checks` decide about tokens, `identity` makes a person
//! of claims.

mod authenticator;
mod checks;
pub mod claims;
mod client_auth;
mod engine;
mod environment;
mod exchange;
mod fault;
mod http;
mod identity;
mod jws;
mod keys;
mod logout;
pub mod options;
mod outage;
mod provider;
mod refusal;
mod tokens;
mod transaction;
mod validate;

use std::sync::Arc;

use hub_core::plugin::{options_schema, read_options};
use hub_core::{Authenticator, AuthenticatorContext, AuthenticatorPlugin, PluginError};
use serde_json::Value;

pub use authenticator::{BACK_CHANNEL_PATH, CALLBACK_PATH, LOGIN_PATH, OidcAuthenticator};
pub use fault::{Fault, TokenFault};
pub use identity::{Mapped, Mapper, NoMapper};
pub use options::OidcOptions;

/// The `kind`, and the name of the table.
pub const NAME: &str = "oidc";

/// The plugin.
pub fn plugin() -> AuthenticatorPlugin {
    AuthenticatorPlugin { name: NAME, build, describe: options_schema::<OidcOptions> }
}

fn build(options: Value, cx: &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError> {
    let table = format!("authenticator.{NAME}");
    let options = read_options(options, &table)?;
    let name = "hub_auth_oidc::OidcAuthenticator";
    Ok(Arc::new(OidcAuthenticator::new(options, &table, cx, Arc::new(NoMapper), name)?))
}
