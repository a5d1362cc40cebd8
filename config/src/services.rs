//! `[[services]]`: other applications behind the hub. Answers to `c.JupyterHub.services`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hub_core::plugin::{DurationText, SecretText};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One service: managed by the hub when it has a `command`, external otherwise.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceSection {
    /// Name; part of the address `/services/NAME/`.
    pub name: String,
    /// Whether it has all rights of an administrator. Prefer a role.
    pub admin: bool,
    /// Address of its web server; it is then reachable at `/services/NAME/`.
    pub url: Option<String>,
    /// Its API token; follows from the cookie secret for managed services when left out.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<SecretText>")]
    pub api_token: Option<SecretString>,
    /// Command that the hub runs and keeps running.
    pub command: Vec<String>,
    /// Working directory of the command.
    pub cwd: Option<PathBuf>,
    /// Environment of the command.
    pub environment: BTreeMap<String, String>,
    /// System user that runs the command.
    pub user: Option<String>,
    /// OAuth client id, `service-NAME` when left out. Must begin with `service-`.
    pub oauth_client_id: Option<String>,
    /// Where OAuth sends people back to, `/services/NAME/oauth_callback` when left out.
    pub oauth_redirect_uri: Option<String>,
    /// Skips the page that asks people whether the service may know who they are.
    pub oauth_no_confirm: bool,
    /// Scopes that it may ask for on behalf of whoever visits it.
    pub oauth_client_allowed_scopes: Vec<String>,
    /// Roles for the same purpose. Deprecated by stock: prefer `oauth_client_allowed_scopes`.
    pub oauth_roles: Vec<String>,
    /// Facts about it for others to read.
    pub info: Map<String, Value>,
    /// Whether it is listed in the menu.
    pub display: bool,
    /// How long its web server may take to answer at start.
    #[serde(with = "DurationText")]
    pub timeout: Duration,
}

impl Default for ServiceSection {
    fn default() -> Self {
        Self {
            name: String::new(),
            admin: false,
            url: None,
            api_token: None,
            command: Vec::new(),
            cwd: None,
            environment: BTreeMap::new(),
            user: None,
            oauth_client_id: None,
            oauth_redirect_uri: None,
            oauth_no_confirm: false,
            oauth_client_allowed_scopes: Vec::new(),
            oauth_roles: Vec::new(),
            info: Map::new(),
            display: true,
            timeout: Duration::from_secs(30),
        }
    }
}

impl ServiceSection {
    /// Whether the hub runs it.
    pub fn is_managed(&self) -> bool {
        !self.command.is_empty()
    }

    /// The OAuth client id.
    pub fn client_id(&self) -> String {
        self.oauth_client_id.clone().unwrap_or_else(|| format!("service-{}", self.name))
    }

    /// Whether it can log people in through the hub: it has an address or says something about OAuth.
    pub fn oauth_available(&self) -> bool {
        self.url.is_some()
            || self.oauth_client_id.is_some()
            || self.oauth_redirect_uri.is_some()
            || self.oauth_no_confirm
            || !self.oauth_client_allowed_scopes.is_empty()
            || !self.oauth_roles.is_empty()
    }
}
