//! Typed configuration of Himalia: TOML files, environment and flags.
//!
//! [`load()`] lays the sources over each other and gives a [`Config`], or every problem that it found at once. Names
//! of keys are those of JupyterHub's traits wherever there is such a trait. The doc comments of the section structs
//! are the reference: `docs/configuration.md` and the JSON Schema are made from them.

pub mod addresses;
pub mod authenticator;
mod changes;
mod check;
mod cookie_secret;
pub mod db;
pub mod durations;
pub mod hub;
pub mod internal_ssl;
mod layers;
mod load;
pub mod logging;
pub mod metrics;
mod problem;
pub mod proxy;
pub mod records;
pub mod reference;
pub mod roles;
mod schema;
mod secret_files;
pub mod secrets;
pub mod services;
mod show;
pub mod spawner;
pub mod stock;
pub mod templates;
mod validate;
pub mod workspaces;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use addresses::{BindUrl, Listen, normalise_base_url};
pub use authenticator::AuthenticatorSection;
pub use changes::{GroupOverride, SpawnerChanges};
pub use cookie_secret::{
    CookieSecret, GENERATED_SECRETS_FILE, GeneratedSecrets, SecretError, decode_crypt_key,
    load_or_create_cookie_secret, load_or_create_secrets,
};
pub use db::DbSection;
pub use hub::{BeyondLimit, ExistingInvalidNames, HubSection, ServerNames};
pub use internal_ssl::AuthorityFiles;
pub use layers::{FileSource, KnownPlugins, Override, Sources};
pub use load::{Loaded, Origins, load};
pub use logging::{LogFormat, LogLevel, LoggingSection};
pub use metrics::MetricsSection;
pub use problem::{ConfigErrors, Origin, Problem};
pub use proxy::{AccessLogFormat, AcmeChallenge, AcmeSection, ProxySection};
pub use records::{AuditSection, EventsSection};
pub use roles::{CustomScopeSection, GroupSection, GroupTable, RoleSection};
pub use schema::{PluginTable, json_schema};
pub use secrets::PluginTables;
pub use services::ServiceSection;
pub use show::show;
pub use spawner::{EndCause, LOCAL_ENV_KEEP, OptionsFromForm, SpawnerProfile, SpawnerSection};
pub use templates::{PageLanguage, TemplatesSection};
pub use workspaces::{
    LostMembership, SourceKind, StaticWorkspace, WorkspaceRole, WorkspaceSource, WorkspacesSection,
};

/// What holds over the defaults for a hub that was started without any configuration file.
pub const QUICK_START: &str = include_str!("quick_start.toml");

/// The whole configuration. Secrets are not part of its debug output and are not serialised.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The hub itself.
    pub hub: HubSection,
    /// The database.
    pub db: DbSection,
    /// The public side.
    pub proxy: ProxySection,
    /// Who gets in.
    pub authenticator: AuthenticatorSection,
    /// How servers are started.
    pub spawner: SpawnerSection,
    /// Other applications behind the hub.
    pub services: Vec<ServiceSection>,
    /// Roles, beside or over the built-in `user`, `admin`, `server` and `token`.
    pub roles: Vec<RoleSection>,
    /// Groups: name to members.
    pub groups: BTreeMap<String, GroupSection>,
    /// Scopes of your own: name (`custom:...`) to description.
    pub custom_scopes: BTreeMap<String, CustomScopeSection>,
    /// Places of work that people belong to, each a named server.
    pub workspaces: WorkspacesSection,
    /// Looks.
    pub templates: TemplatesSection,
    /// The log.
    pub logging: LoggingSection,
    /// Metrics.
    pub metrics: MetricsSection,
    /// The event log.
    pub events: EventsSection,
    /// The audit log.
    pub audit: AuditSection,
}

/// Host and port of the proxy's REST API where none is given.
const PROXY_API: &str = "127.0.0.1:8001";

impl Config {
    /// Address of the proxy's REST API.
    pub fn proxy_api_url(&self) -> String {
        let scheme = if self.hub.internal_ssl { "https" } else { "http" };
        self.proxy.api_url.clone().unwrap_or_else(|| format!("{scheme}://{PROXY_API}"))
    }
}
