//! Login, credentials and logout by OpenHEXA.
//!
//! OpenHEXA is an application (Django) whose pages embed JupyterLab, one server for each workspace. People log in there
//! and nowhere else: the hub shows the application the two cookies that a request brought, `sessionid` and
//! `csrftoken`, and takes its word for whose they are. Before a start it asks in the same way for the credentials of
//! the workspace, and the application's backend logs people out by calling the hub with their cookies.
//!
//! Only the addresses of the configuration are called; redirects are not followed. Answers to the configuration that
//! OpenHEXA publishes for stock JupyterHub.

mod app;
mod authenticator;
mod credentials;
mod hook;
mod options;
mod session;

use std::sync::Arc;

use hub_core::plugin::{options_schema, read_options};
use hub_core::{Authenticator, AuthenticatorContext, AuthenticatorPlugin, PluginError};
use serde_json::Value;

pub use authenticator::OpenHexaAuthenticator;
pub use hook::WorkspaceCredentials;
pub use options::OpenHexaOptions;

/// The `kind`, and the name of the table.
pub const NAME: &str = "openhexa";

/// The plugin.
pub fn plugin() -> AuthenticatorPlugin {
    AuthenticatorPlugin { name: NAME, build, describe: options_schema::<OpenHexaOptions> }
}

fn build(options: Value, cx: &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError> {
    let table = format!("authenticator.{NAME}");
    let options: OpenHexaOptions = read_options(options, &table)?;
    Ok(Arc::new(OpenHexaAuthenticator::new(options, &table, cx)?))
}
