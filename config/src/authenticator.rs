//! `[authenticator]`: who gets in. Answers to `c.Authenticator` and `authenticator_class`.

use std::collections::BTreeMap;
use std::time::Duration;

use hub_core::plugin::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::secrets::PluginTables;

/// Who gets in, and as what.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct AuthenticatorSection {
    /// Which authenticator: `first-admin` (one-time link for the first administrator), `oidc`, `keycloak`,
    /// `openhexa`, `shared-password`, `remote-user`, `dummy`, `null`, `chain` (several of them), or the name of another
    /// plugin. Its own settings are in `[authenticator.KIND]`.
    pub kind: String,
    /// Lets in everybody whom the authenticator knows. When left out, the authenticator decides (dummy does, unless
    /// `allowed_users` is set).
    pub allow_all: Option<bool>,
    /// Lets in everybody who has a record already. On by default when `allowed_users` is set.
    pub allow_existing_users: Option<bool>,
    /// Names that get in.
    pub allowed_users: Vec<String>,
    /// Names that do not get in, whatever else is said.
    pub blocked_users: Vec<String>,
    /// Names that are administrators; they get in.
    pub admin_users: Vec<String>,
    /// From the name that the authenticator gives to the name used here.
    pub username_map: BTreeMap<String, String>,
    /// Regular expression that names must match, from their beginning.
    pub username_pattern: String,
    /// Deletes records whose name is not valid any more, at start.
    pub delete_invalid_users: bool,
    /// Skips the login page where the authenticator leads elsewhere anyway.
    pub auto_login: bool,
    /// The same when a server or service asks for the login.
    pub auto_login_oauth2_authorize: bool,
    /// Name of the identity service on the login button.
    pub login_service: String,
    /// Keeps what the authenticator learned at login, encrypted with `crypt_keys` of `[hub]`.
    pub enable_auth_state: bool,
    /// How old a login may be before the authenticator is asked again; 0 never asks.
    #[serde(with = "DurationText")]
    pub auth_refresh_age: Duration,
    /// Refuses requests by token too when that check fails.
    pub auth_refresh_strict: bool,
    /// Asks again before every start of a server.
    pub refresh_pre_spawn: bool,
    /// Asks again before every stop of a server.
    pub refresh_pre_stop: bool,
    /// Groups come from the authenticator.
    pub manage_groups: bool,
    /// Roles come from the authenticator.
    pub manage_roles: bool,
    /// Takes away roles that the authenticator gave before, at start.
    pub reset_managed_roles_on_startup: bool,
    /// Shows a field for a one-time password.
    pub request_otp: bool,
    /// Label of that field.
    pub otp_prompt: String,
    /// How often a name may fail to log in from one network within `login_failures_window`; 0 never slows down.
    pub login_failures_per_account: u32,
    /// How often all names together may fail from one network (a /24 or /64) in that time.
    pub login_failures_per_network: u32,
    /// The time in which failures are forgotten.
    #[serde(with = "DurationText")]
    pub login_failures_window: Duration,
    /// Tables of the plugins.
    #[schemars(skip)]
    pub plugins: PluginTables,
}

impl Default for AuthenticatorSection {
    fn default() -> Self {
        Self {
            kind: "first-admin".to_owned(),
            allow_all: None,
            allow_existing_users: None,
            allowed_users: Vec::new(),
            blocked_users: Vec::new(),
            admin_users: Vec::new(),
            username_map: BTreeMap::new(),
            username_pattern: String::new(),
            delete_invalid_users: false,
            auto_login: false,
            auto_login_oauth2_authorize: false,
            login_service: String::new(),
            enable_auth_state: false,
            auth_refresh_age: Duration::from_mins(5),
            auth_refresh_strict: false,
            refresh_pre_spawn: false,
            refresh_pre_stop: false,
            manage_groups: false,
            manage_roles: false,
            reset_managed_roles_on_startup: false,
            request_otp: false,
            otp_prompt: "OTP:".to_owned(),
            login_failures_per_account: 10,
            login_failures_per_network: 300,
            login_failures_window: Duration::from_mins(10),
            plugins: PluginTables::default(),
        }
    }
}

impl AuthenticatorSection {
    /// The table `[authenticator.KIND]`, empty when there is none. The plugin reads it into its own struct.
    pub fn options(&self, kind: &str) -> Value {
        self.plugins.of(kind)
    }
}
