//! The authenticators that need nothing outside of the hub: `dummy`, `shared-password` and `null`, which answer to
//! stock's of the same names, `remote-user` for proxies that log people in, and `first-admin`, which lets the first
//! administrator into a hub that has no configuration yet.
//!
//! How names are normalised and who is allowed in belongs to the hub; slowing down those who guess does too.

mod compare;
mod dummy;
mod first_admin;
mod null;
mod remote_user;
mod shared_password;
#[cfg(test)]
mod testing;

use hub_core::plugin::options_schema;
use hub_core::{AuthError, AuthenticatorPlugin, LoginRequest};

pub use dummy::{DummyAuthenticator, DummyOptions};
pub use first_admin::{FirstAdminAuthenticator, FirstAdminOptions};
pub use null::{NullAuthenticator, NullOptions};
pub use remote_user::{RemoteUserAuthenticator, RemoteUserOptions};
pub use shared_password::{PasswordGroups, SharedPasswordAuthenticator, SharedPasswordOptions};

/// All authenticators of this crate.
pub fn plugins() -> Vec<AuthenticatorPlugin> {
    vec![
        AuthenticatorPlugin {
            name: dummy::NAME,
            build: dummy::build,
            describe: options_schema::<dummy::DummyOptions>,
        },
        AuthenticatorPlugin {
            name: first_admin::NAME,
            build: first_admin::build,
            describe: options_schema::<first_admin::FirstAdminOptions>,
        },
        AuthenticatorPlugin {
            name: null::NAME,
            build: null::build,
            describe: options_schema::<null::NullOptions>,
        },
        AuthenticatorPlugin {
            name: remote_user::NAME,
            build: remote_user::build,
            describe: options_schema::<remote_user::RemoteUserOptions>,
        },
        AuthenticatorPlugin {
            name: shared_password::NAME,
            build: shared_password::build,
            describe: options_schema::<shared_password::SharedPasswordOptions>,
        },
    ]
}

/// The path of an authenticator's table, for messages.
fn table(name: &str) -> String {
    format!("authenticator.{name}")
}

/// User name and password of the posted form; an absent password is the empty one.
fn credentials(rq: &LoginRequest) -> Result<(&str, &str), AuthError> {
    let field = |name: &str| rq.form.get(name).map(String::as_str).unwrap_or_default();
    let user = field("username");
    if user.trim().is_empty() {
        return Err(AuthError::Invalid("no user name was given".to_owned()));
    }
    Ok((user, field("password")))
}
