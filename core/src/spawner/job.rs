//! What a spawner is given for one start, and what it gives back.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::Overrides;
use crate::names::ServerKey;
use crate::secret::random_hex32;

/// The person for whom a server is started.
#[derive(Clone)]
pub struct Owner {
    /// The person's number in the database.
    pub id: i64,
    /// Whether the person is an administrator of the hub.
    pub admin: bool,
    /// Names of the groups that the person is in, sorted.
    pub groups: Vec<String>,
    /// What the authenticator keeps about the person, decrypted; none when not enabled.
    pub auth_state: Option<Value>,
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("id", &self.id)
            .field("admin", &self.admin)
            .field("groups", &self.groups)
            .field("auth_state", &self.auth_state.as_ref().map(|_| "***"))
            .finish()
    }
}

/// Limits and guarantees; memory in bytes, processors in cores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Resources {
    /// Most memory.
    pub mem_limit: Option<u64>,
    /// Memory set aside.
    pub mem_guarantee: Option<u64>,
    /// Most processor time.
    pub cpu_limit: Option<f64>,
    /// Processor time set aside.
    pub cpu_guarantee: Option<f64>,
}

/// All that a spawner needs for one start. Hooks may change it before the spawner sees it. Its `Debug` shows no secret:
/// of the environment, the state and the options no more than their names.
#[derive(Clone)]
pub struct StartJob {
    /// Whose server, which name.
    pub key: ServerKey,
    /// A fresh id of this start; a spawner marks what it creates with it, to find it again after a crash.
    pub launch: String,
    /// The person.
    pub owner: Owner,
    /// Name shown to people, where one is set.
    pub display_name: Option<String>,
    /// What the person chose (`user_options`).
    pub options: Map<String, Value>,
    /// State kept from the run before.
    pub state: Value,
    /// The whole `JUPYTERHUB_*` environment but for `JUPYTERHUB_SERVICE_URL`, which the spawner adds when it knows
    /// the address to bind, see [`StartJob::service_url`]; then the configured environment.
    pub env: BTreeMap<String, String>,
    /// The server's API token (also in `env`), for spawners that pass it in a safer way.
    pub api_token: SecretString,
    /// URL path of the server, with slashes at both ends, percent-encoded: `/base/user/name/`.
    pub prefix: String,
    /// Command and arguments; an empty command means the default of the image.
    pub command: Vec<String>,
    /// Limits and guarantees.
    pub resources: Resources,
    /// Labels that hooks or workspaces attach, for spawners that have labels.
    pub labels: BTreeMap<String, String>,
    /// What hooks or workspaces want to be different about this start.
    pub overrides: Overrides,
    /// How long the start may take.
    pub timeout: Duration,
}

impl fmt::Debug for StartJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        f.debug_struct("StartJob")
            .field("key", &self.key)
            .field("launch", &self.launch)
            .field("owner", &self.owner)
            .field("display_name", &self.display_name)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .field("state", &names(&self.state))
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("prefix", &self.prefix)
            .field("command", &self.command)
            .field("resources", &self.resources)
            .field("labels", &self.labels)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl StartJob {
    /// A start out of nothing but a name and a token, from which embedders and tests of plugins go on: an owner with
    /// no rights, a fresh id, no choices, limits or state, an environment with no more than the token, one minute.
    pub fn new(key: ServerKey, api_token: SecretString) -> Self {
        let token = ("JUPYTERHUB_API_TOKEN".to_owned(), api_token.expose_secret().to_owned());
        Self {
            launch: random_hex32(),
            owner: Owner { id: 1, admin: false, groups: Vec::new(), auth_state: None },
            display_name: None,
            options: Map::new(),
            state: Value::Null,
            env: BTreeMap::from([token]),
            api_token,
            prefix: format!("/{}", key.path()),
            command: Vec::new(),
            resources: Resources::default(),
            labels: BTreeMap::new(),
            overrides: Overrides::default(),
            timeout: Duration::from_mins(1),
            key,
        }
    }

    /// The value of `JUPYTERHUB_SERVICE_URL` for a server that binds `host` and `port`; `scheme` is `http` or `https`.
    pub fn service_url(&self, scheme: &str, host: &str, port: u16) -> String {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{scheme}://{host}:{port}{}", self.prefix)
    }
}

/// A spawner's answer to a start.
#[derive(Debug, Clone)]
pub struct Started {
    /// Scheme, host and port where the hub reaches the server, without path.
    pub address: Url,
    /// State to save, in stock's shape.
    pub state: Value,
    /// Set when the server that was found runs with another token than the job's (a container that was re-used).
    pub api_token: Option<SecretString>,
}
