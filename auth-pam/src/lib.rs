//! Login by the accounts of this machine. Answers to `PAMAuthenticator`.
//!
//! The hub itself does not know PAM: each question goes to the program `himalia-pam`, which is linked to `libpam`, in a
//! process of its own. So the hub runs on machines without PAM, its memory is out of reach of the modules of an
//! installation, a module that hangs is ended in time, and what modules change of their process (limits, groups, audit
//! ids) they do not change of the hub.

mod accounts;
mod authenticator;
mod helper;
mod options;
pub mod protocol;
mod sessions;

use std::sync::Arc;

use hub_core::plugin::{options_schema, read_options};
use hub_core::{Authenticator, AuthenticatorContext, AuthenticatorPlugin, PluginError};
use serde_json::Value;

pub use authenticator::PamAuthenticator;
pub use options::PamOptions;

/// The `kind`, and the name of the table.
pub const NAME: &str = "pam";
/// The path of the table.
const TABLE: &str = "authenticator.pam";

/// The plugin.
pub fn plugin() -> AuthenticatorPlugin {
    AuthenticatorPlugin { name: NAME, build, describe: options_schema::<PamOptions> }
}

fn build(options: Value, _cx: &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError> {
    Ok(Arc::new(PamAuthenticator::new(read_options(options, TABLE)?)?))
}
