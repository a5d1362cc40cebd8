//! `[spawner]`: how servers are started. Answers to `c.Spawner` and `spawner_class`.

use std::collections::BTreeMap;
use std::time::Duration;

use hub_core::plugin::DurationText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::durations::OptionalSizeText;
use crate::secrets::PluginTables;

/// The variables that a local process takes over from the hub's own environment: those that find programs,
/// libraries and the language.
pub const LOCAL_ENV_KEEP: [&str; 9] = [
    "CONDA_DEFAULT_ENV",
    "CONDA_ROOT",
    "JUPYTERHUB_SINGLEUSER_APP",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
];

/// How a cluster ends servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// Somebody deleted the pod.
    Deleted,
    /// The machine was short of memory or the like.
    Evicted,
    /// The machine was cleared, for maintenance say.
    NodeDrained,
    /// The machine does not answer any more.
    NodeLost,
    /// The machine was shut down.
    NodeShutdown,
    /// Something more important took the place.
    Preempted,
}

impl EndCause {
    /// The code in the catalogue of causes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Evicted => "evicted",
            Self::NodeDrained => "node-drained",
            Self::NodeLost => "node-lost",
            Self::NodeShutdown => "node-shutdown",
            Self::Preempted => "preempted",
        }
    }
}

/// How servers are started.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpawnerSection {
    /// Which spawner: `local` or the name of another plugin. Its own settings are in `[spawner.KIND]`.
    pub kind: String,
    /// Command of a server. Left out, it is `jupyterhub-singleuser` for processes of this machine and the command of
    /// the image for spawners that have images, as an empty list is for these.
    pub cmd: Option<Vec<String>>,
    /// Arguments after the command.
    pub args: Vec<String>,
    /// Address that a server binds; empty is all.
    pub ip: String,
    /// Port that a server binds; 0 is any free one.
    pub port: u16,
    /// How long a start may take until the server's address is known.
    #[serde(with = "DurationText")]
    pub start_timeout: Duration,
    /// How long the server may take from then to its first HTTP answer.
    #[serde(with = "DurationText")]
    pub http_timeout: Duration,
    /// How often a running server is looked after; 0 never.
    #[serde(with = "DurationText")]
    pub poll_interval: Duration,
    /// By which part of `poll_interval` that time varies, so that not all servers are polled at once.
    pub poll_jitter: f64,
    /// After so many failed starts in a row the hub gives up and exits; 0 never.
    pub consecutive_failure_limit: u32,
    /// Servers that their cluster has ended for one of these causes are started again by the hub, wherever there is
    /// room. One that was started less than a minute before is not.
    pub start_again_after: Vec<EndCause>,
    /// Variables of the server's environment. `{username}` is replaced.
    pub environment: BTreeMap<String, String>,
    /// Variables taken over from the hub's own environment. When left out, the spawner's own list.
    pub env_keep: Option<Vec<String>>,
    /// Directory shown first. `{username}` is replaced.
    pub notebook_dir: String,
    /// Page shown first, for example `/lab` or `/tree`. `{username}` is replaced.
    pub default_url: String,
    /// Servers do not read configuration of the person's own.
    pub disable_user_config: bool,
    /// Servers log in detail.
    pub debug: bool,
    /// Most memory of a server, for spawners that can hold it.
    #[serde(with = "OptionalSizeText")]
    pub mem_limit: Option<u64>,
    /// Memory set aside for a server.
    #[serde(with = "OptionalSizeText")]
    pub mem_guarantee: Option<u64>,
    /// Most processor cores of a server.
    pub cpu_limit: Option<f64>,
    /// Processor cores set aside for a server.
    pub cpu_guarantee: Option<f64>,
    /// Address under which this spawner's servers reach the hub, where it differs from the hub's own.
    pub hub_connect_url: Option<String>,
    /// Scopes that a server may ask for on behalf of whoever visits it.
    pub oauth_client_allowed_scopes: Vec<String>,
    /// Roles for the same purpose. Deprecated by stock: prefer `oauth_client_allowed_scopes`.
    pub oauth_roles: Vec<String>,
    /// Scopes of a server's own token; those of the role `server` when empty.
    pub server_token_scopes: Vec<String>,
    /// HTML of the fields on the spawn page; empty starts the server at once.
    pub options_form: String,
    /// Several ways to start a server, `[spawner.profiles.NAME]`: each may set all keys of `[spawner]` for itself.
    #[schemars(skip)]
    pub profiles: BTreeMap<String, SpawnerProfile>,
    /// Tables of the plugins.
    #[schemars(skip)]
    pub plugins: PluginTables,
}

/// Keys that spawners of every kind may take over, where they have options of the same names.
const SHARED: [&str; 15] = [
    "cmd",
    "args",
    "environment",
    "env_keep",
    "notebook_dir",
    "default_url",
    "disable_user_config",
    "debug",
    "mem_limit",
    "mem_guarantee",
    "cpu_limit",
    "cpu_guarantee",
    "hub_connect_url",
    "oauth_client_allowed_scopes",
    "options_form",
];

impl SpawnerSection {
    /// The command of servers that are processes of this machine.
    pub fn command(&self) -> Vec<String> {
        self.cmd.clone().unwrap_or_else(|| vec!["jupyterhub-singleuser".to_owned()])
    }

    /// What this section says to spawners of every kind, where it is not the default: the defaults of this section
    /// are those of local servers. Sizes in bytes, times in seconds.
    pub fn shared(&self) -> Map<String, Value> {
        let fields = |section: &Self| match serde_json::to_value(section) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let (own, usual) = (fields(self), fields(&Self::default()));
        let differs = |key: &&str| own.get(*key) != usual.get(*key);
        let mut shared: Map<String, Value> = SHARED
            .into_iter()
            .filter(differs)
            .filter_map(|key| Some((key.to_owned(), own.get(key)?.clone())))
            .collect();
        // Sizes are written with their unit, which not every spawner reads.
        for (key, bytes) in [("mem_limit", self.mem_limit), ("mem_guarantee", self.mem_guarantee)] {
            if let Some(bytes) = bytes {
                shared.insert(key.to_owned(), bytes.into());
            }
        }
        shared.insert("start_timeout".to_owned(), self.start_timeout.as_secs().into());
        shared.insert("http_timeout".to_owned(), self.http_timeout.as_secs().into());
        shared
    }

    /// The profile that holds when a person does not choose: the one marked as default, else the first by name. None
    /// where there are no profiles.
    pub fn usual_profile(&self) -> Option<&str> {
        let marked = self.profiles.iter().find(|(_, profile)| profile.default);
        marked.or_else(|| self.profiles.iter().next()).map(|(name, _)| name.as_str())
    }
}

/// One way to start a server: the base section with the profile's own keys over it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpawnerProfile {
    /// Name shown to people; the key of the profile when left out.
    pub display_name: Option<String>,
    /// Text shown to people.
    pub description: String,
    /// Chosen when people do not choose; the first profile by name otherwise.
    pub default: bool,
    /// The whole section as it holds for this profile; it has no profiles of its own.
    pub spawner: Box<SpawnerSection>,
}

impl Default for SpawnerSection {
    fn default() -> Self {
        Self {
            kind: "local".to_owned(),
            cmd: None,
            args: Vec::new(),
            ip: "127.0.0.1".to_owned(),
            port: 0,
            start_timeout: Duration::from_mins(1),
            http_timeout: Duration::from_secs(30),
            poll_interval: Duration::from_secs(30),
            poll_jitter: 0.1,
            consecutive_failure_limit: 0,
            start_again_after: Vec::new(),
            environment: BTreeMap::new(),
            env_keep: None,
            notebook_dir: String::new(),
            default_url: String::new(),
            disable_user_config: false,
            debug: false,
            mem_limit: None,
            mem_guarantee: None,
            cpu_limit: None,
            cpu_guarantee: None,
            hub_connect_url: None,
            oauth_client_allowed_scopes: Vec::new(),
            oauth_roles: Vec::new(),
            server_token_scopes: Vec::new(),
            options_form: String::new(),
            profiles: BTreeMap::new(),
            plugins: PluginTables::default(),
        }
    }
}

impl SpawnerSection {
    /// The table `[spawner.KIND]`, empty when there is none. The plugin reads it into its own struct.
    pub fn options(&self, kind: &str) -> Value {
        self.plugins.of(kind)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn causes_are_written_as_they_are_told() {
        use EndCause::{Deleted, Evicted, NodeDrained, NodeLost, NodeShutdown, Preempted};
        for cause in [Deleted, Evicted, NodeDrained, NodeLost, NodeShutdown, Preempted] {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
        }
    }

    #[test]
    fn other_spawners_get_what_was_said_and_not_the_defaults_of_local_servers() {
        let section = SpawnerSection {
            mem_limit: Some(1 << 30),
            environment: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            ..SpawnerSection::default()
        };
        assert_eq!(
            Value::Object(section.shared()),
            json!({"environment": {"A": "1"}, "mem_limit": 1 << 30, "start_timeout": 60, "http_timeout": 30})
        );
        assert_eq!(section.command(), ["jupyterhub-singleuser"]);
        // Said aloud, the same command is another matter than that of the image.
        let section = SpawnerSection { cmd: Some(section.command()), ..SpawnerSection::default() };
        assert_eq!(section.shared().get("cmd"), Some(&json!(["jupyterhub-singleuser"])));
    }
}
