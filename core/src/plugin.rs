//! How a plugin is offered to the hub: a name, and a function that builds it from its part of the configuration.
//!
//! The hub keeps one explicit list of these; nothing registers itself. A plugin reads the sub-tree under its own
//! name (`[spawner.local]`) with [`read_options`] and answers with every problem at once, each with its key path.

mod duration;
mod options;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use thiserror::Error;

pub use duration::{DurationError, DurationText, format_duration, from_seconds, parse_duration};
pub use options::read_options;
pub use schema::{DescribeOptions, SecretText, options_schema};

use crate::authenticator::Authenticator;
use crate::certificates::CertificateIssuer;
use crate::clock::Clock;
use crate::spawner::Spawner;

/// One kind of spawner, chosen by `spawner.kind`.
#[derive(Debug, Clone, Copy)]
pub struct SpawnerPlugin {
    /// The `kind`, and the name of the sub-tree with its options.
    pub name: &'static str,
    /// Builds the one object that serves the process, from the raw value of its sub-tree (`null` when absent).
    pub build: BuildSpawner,
    /// Describes the sub-tree to editors.
    pub describe: DescribeOptions,
}

/// One kind of authenticator, chosen by `authenticator.kind`.
#[derive(Debug, Clone, Copy)]
pub struct AuthenticatorPlugin {
    /// The `kind`, and the name of the sub-tree with its options.
    pub name: &'static str,
    /// Builds the one object that serves the process, from the raw value of its sub-tree (`null` when absent).
    pub build: BuildAuthenticator,
    /// Describes the sub-tree to editors.
    pub describe: DescribeOptions,
}

/// Reads options and makes a spawner of them.
pub type BuildSpawner = fn(Value, &SpawnerContext) -> Result<Arc<dyn Spawner>, PluginError>;

/// Reads options and makes an authenticator of them.
pub type BuildAuthenticator = fn(Value, &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError>;

/// What a spawner is told about the process that it runs in.
#[derive(Debug, Clone)]
pub struct SpawnerContext {
    /// Path of the section that the spawner belongs to, for messages: `spawner` or `spawner.profiles.NAME`.
    pub section: String,
    /// Address that servers bind (`spawner.ip`); empty for all.
    pub ip: String,
    /// Port that servers bind (`spawner.port`); 0 for any free one.
    pub port: u16,
    /// What the section says to spawners of every kind, where that is not the default: `cmd`, `args`,
    /// `environment`, limits and the like by their names there, times in seconds.
    pub shared: Map<String, Value>,
    /// Variables that servers get from the hub's environment (`spawner.env_keep`); none for the spawner's own list.
    pub env_keep: Option<Vec<String>>,
    /// A directory that outlives the hub, for logs and the like. It exists or can be created.
    pub state_dir: PathBuf,
    /// The hub's own environment, of which spawners may hand on the parts that are meant for servers.
    pub environment: BTreeMap<String, String>,
    /// Makes the certificates of servers, where hub and servers speak TLS (`hub.internal_ssl`).
    pub certificates: Option<Arc<dyn CertificateIssuer>>,
    /// Whether the hub runs as root and so can start processes of other accounts.
    pub root: bool,
    /// The program, and arguments to go before the spawner's own, by which this program is entered again for a
    /// helper process. `/proc/self/exe` stays right even when the file was replaced by an upgrade.
    pub reenter: Vec<OsString>,
}

/// What an authenticator is told about the hub that it serves.
#[derive(Clone)]
pub struct AuthenticatorContext {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The administrators that the configuration names, normalised.
    pub admin_users: BTreeSet<String>,
    /// Whether the authenticator may assign groups (`authenticator.manage_groups`).
    pub manage_groups: bool,
    /// Whether the authenticator may assign roles (`authenticator.manage_roles`).
    pub manage_roles: bool,
    /// Whether the hub keeps what the authenticator learned (`authenticator.enable_auth_state`).
    pub auth_state: bool,
    /// Text for the login button (`authenticator.login_service`); empty leaves it to the authenticator.
    pub login_service: String,
    /// Path of the hub, slashes at both ends: `/hub/`, `/notebooks/hub/`.
    pub hub_path: String,
    /// Where browsers find the hub (`hub.public_url`): scheme, host and port, without slash. None: as each request
    /// says.
    pub public_origin: Option<String>,
    /// How the hub normalises names, for an authenticator that must compare one before the hub sees it.
    pub normalise: NameNormaliser,
}

/// The hub's own rule for names: lower case, then the configured map.
pub type NameNormaliser = Arc<dyn Fn(&str) -> String + Send + Sync>;

impl AuthenticatorContext {
    /// What a hub at `/hub/` tells that leaves all settings at their defaults; names are put into lower case.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            admin_users: BTreeSet::new(),
            manage_groups: false,
            manage_roles: false,
            auth_state: false,
            login_service: String::new(),
            hub_path: "/hub/".to_owned(),
            public_origin: None,
            normalise: Arc::new(str::to_lowercase),
        }
    }
}

impl fmt::Debug for AuthenticatorContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatorContext")
            .field("admin_users", &self.admin_users)
            .field("manage_groups", &self.manage_groups)
            .field("hub_path", &self.hub_path)
            .finish_non_exhaustive()
    }
}

/// Why a plugin cannot be built: every problem that was found, never only the first.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PluginError {
    /// What is wrong, in the order of the keys.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a plugin's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, for example `spawner.local.port`.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl Problem {
    /// One problem of one key.
    pub fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

impl PluginError {
    /// A single problem.
    pub fn one(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { problems: vec![Problem::new(key, text)] }
    }

    /// An error when there is any problem.
    pub fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
