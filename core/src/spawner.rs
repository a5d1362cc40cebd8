//! What a spawner is asked to do, and how it answers.
//!
//! One [`Spawner`] object serves a whole process; everything that it must remember about one server is the JSON
//! value `state`, which the hub stores in `spawners.state` in the shape that the stock spawner of that kind writes.
//! A start is one future: dropping it cancels the start, after which the hub calls [`Spawner::stop`] with the last
//! state that was saved. A spawner therefore saves state *before* it creates anything that could be orphaned.

mod overrides;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

pub use overrides::{Bind, Overrides};

use crate::names::ServerKey;

/// Starts, watches and stops singleuser servers. Answers to `jupyterhub.spawner.Spawner`.
#[async_trait]
pub trait Spawner: Send + Sync + std::fmt::Debug {
    /// The name shown in `/hub/api/info`, for example `hub_spawner_local::LocalSpawner`.
    fn class_name(&self) -> &'static str;

    /// How long this start may take, where the spawner's own options say so; else what the hub is configured with.
    fn start_timeout(&self, _job: &StartJob) -> Option<Duration> {
        None
    }

    /// Starts one server and returns where it will listen, as soon as that is known. The hub itself waits for the
    /// first HTTP answer. Bounded by [`StartJob::timeout`]: the hub drops the future when it passes.
    async fn start(&self, job: StartJob, sink: &dyn StartSink) -> Result<Started, SpawnError>;

    /// Stops one server and everything that belongs to this run of it. Stopping what is gone already is success.
    async fn stop(&self, server: &ServerRef, mode: StopMode) -> Result<(), SpawnError>;

    /// Whether the server is alive. An error means "cannot tell": the hub then keeps the server as it is.
    async fn poll(&self, server: &ServerRef) -> Result<PollStatus, SpawnError>;

    /// Finds a server again after the hub was restarted. `server.state` is the last state saved, perhaps by a hub
    /// that was killed in the middle of a start, perhaps by stock JupyterHub.
    async fn adopt(&self, server: &ServerRef) -> Result<Adoption, SpawnError>;

    /// The next thing that the spawner noticed on its own (a watch on a cluster, a child that ended), so that the
    /// hub need not poll. A spawner without such a source never returns.
    async fn next_event(&self) -> ServerEvent {
        std::future::pending().await
    }

    /// Whether [`Spawner::options_form`] may have something to show.
    fn has_options_form(&self) -> bool {
        false
    }

    /// The form shown on the spawn page; none starts the server at once.
    async fn options_form(&self, _cx: &FormContext) -> Result<Option<OptionsForm>, SpawnError> {
        Ok(None)
    }

    /// Turns the fields of the submitted form (each with all its values) into user options. The default passes
    /// them through, as stock's `passthrough` does.
    async fn options_from_form(
        &self,
        _cx: &FormContext,
        form: BTreeMap<String, Vec<String>>,
    ) -> Result<Map<String, Value>, SpawnError> {
        Ok(form.into_iter().map(|(key, values)| (key, Value::from(values))).collect())
    }

    /// The part of a saved state that the REST API shows to those who may see states: what stock's spawner of this
    /// kind keeps. The rest is the spawner's own.
    fn shown_state(&self, state: Value) -> Value {
        state
    }

    /// What is kept of a state after the server was stopped, for its next start: nothing, unless the spawner remembers
    /// the names of volumes, say.
    fn state_after_stop(&self, _state: Value) -> Value {
        Value::Object(Map::new())
    }

    /// The last lines that the server wrote, newest last, for failure reports. At most some hundred lines.
    async fn recent_log(&self, _server: &ServerRef) -> Vec<String> {
        Vec::new()
    }

    /// Carries what belongs to a stopped server over to its new name.
    async fn rename(&self, _from: &ServerRef, _to: &ServerKey) -> Result<(), SpawnError> {
        Ok(())
    }

    /// The server's record is deleted for ever: removes what outlives a stop (volumes, say).
    async fn delete_forever(&self, _server: &ServerRef) -> Result<(), SpawnError> {
        Ok(())
    }

    /// Takes away what this spawner made for servers of this hub that are not among the `known` ones, which are all that
    /// run or are on their way. Called again and again; what is not certainly this hub's own must stay.
    async fn collect_orphans(&self, _known: &[ServerRef]) {}

    /// How the spawner's watches over its servers fare, where it has any.
    fn watches(&self) -> Vec<WatchHealth> {
        Vec::new()
    }
}

/// One watch over servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchHealth {
    /// What is watched: a namespace, say.
    pub scope: String,
    /// Whether the watch is up.
    pub live: bool,
    /// How long ago it last heard of what it watches; none when never.
    pub age: Option<Duration>,
    /// How many servers it sees.
    pub objects: usize,
}

/// One server as the spawner knows it: its key, the saved state and the address that was last in use.
#[derive(Debug, Clone)]
pub struct ServerRef {
    /// Whose server, which name.
    pub key: ServerKey,
    /// The last saved state; `null` or `{}` when nothing was saved.
    pub state: Value,
    /// Where the hub reaches it, when known.
    pub address: Option<Url>,
}

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
    /// The value of `JUPYTERHUB_SERVICE_URL` for a server that binds `host` and `port`.
    pub fn service_url(&self, host: &str, port: u16) -> String {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("http://{host}:{port}{}", self.prefix)
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

/// Where a start reports to while it runs.
#[async_trait]
pub trait StartSink: Send + Sync {
    /// Tells people how far the start is.
    fn progress(&self, progress: Progress);

    /// Stores the state durably; returns when it is stored. Call it before creating anything that must be found
    /// again, and whenever more is known.
    async fn save_state(&self, state: Value) -> Result<(), SpawnError>;
}

/// One step of a start, shown on the progress page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// 0 to 100, never falling.
    pub percent: u8,
    /// Plain text.
    pub message: String,
    /// The same as HTML, where there is more to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html_message: Option<String>,
    /// Which part of the start this belongs to.
    pub phase: Phase,
    /// The cause code, when this reports trouble that may still pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The place in line, for starts that wait for their turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueuePlace>,
    /// Only for readers that ask for details. Clients of stock see the steps that stock's spawner of this kind tells.
    #[serde(skip)]
    pub detail: bool,
}

impl Progress {
    /// A plain message.
    pub fn new(percent: u8, phase: Phase, message: impl Into<String>) -> Self {
        Self {
            percent: percent.min(100),
            message: message.into(),
            html_message: None,
            phase,
            cause: None,
            queue: None,
            detail: false,
        }
    }

    /// The same, only for readers that ask for details.
    #[must_use]
    pub fn detail(self) -> Self {
        Self { detail: true, ..self }
    }
}

/// A place in the line of starts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueuePlace {
    /// 1 is next.
    pub place: usize,
    /// When the start will begin, going by how long the last ones took; none while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_at: Option<DateTime<Utc>>,
}

/// The phases of a start, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Waiting for a place.
    Queued,
    /// Volumes, secrets, directories.
    Preparing,
    /// Waiting for a machine.
    Scheduling,
    /// Fetching the image.
    Pulling,
    /// The process or container is being started.
    Launching,
    /// It runs and must answer its first request.
    Connecting,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ask politely, wait, then insist.
    Graceful,
    /// At once.
    Now,
}

/// Whether a server is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollStatus {
    /// It is.
    Running,
    /// It ended.
    Exited(Exit),
}

/// How a server ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; negative for a signal; none when it cannot be known (not our child).
    pub code: Option<i32>,
    /// Cause code such as `oom-killed`, where the spawner knows one.
    pub cause: Option<&'static str>,
    /// Text for the person, where there is more to say than the code.
    pub message: Option<String>,
}

/// What was found of a server after the hub was restarted.
#[derive(Debug, Clone)]
pub enum Adoption {
    /// It lives and listens, or will listen, at this address.
    Running(Started),
    /// The start is under way and can be finished with the same launch; the hub calls `start` again with the saved
    /// state, which the spawner must take up rather than begin anew.
    Starting,
    /// Nothing of it is left.
    Gone(Exit),
}

/// Something that a spawner noticed on its own.
#[derive(Debug, Clone)]
pub struct ServerEvent {
    /// Which server.
    pub key: ServerKey,
    /// What became of it.
    pub status: PollStatus,
}

/// Who looks at the spawn page, for which server.
#[derive(Debug, Clone)]
pub struct FormContext {
    /// The server about to start.
    pub key: ServerKey,
    /// Its owner.
    pub owner: Owner,
    /// Options used last time.
    pub previous: Map<String, Value>,
    /// Languages that the browser prefers, best first.
    pub languages: Vec<String>,
}

/// The body of the spawn form: HTML without the `<form>` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsForm(pub String);

/// Whose fault a failed start or stop is; decides status code and metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnFault {
    /// The request cannot be met as it stands (bad option, quota): status 400, metric `failure`.
    Refused,
    /// Something broke: status 500, metric `error`.
    Broken,
    /// It took too long: status 500, metric `error`, reason `timeout`.
    TimedOut,
}

/// Why a server could not be started or stopped, told twice: once for the person and once for the operator.
#[derive(Debug, Clone, Error)]
#[error("{operator}")]
pub struct SpawnError {
    /// Machine-readable cause from the catalogue, for example `command-not-found`.
    pub cause: Cow<'static, str>,
    /// Whose fault.
    pub fault: SpawnFault,
    /// What the person may read, without inner details.
    pub user: String,
    /// The same as HTML, where there is more to show.
    pub user_html: Option<String>,
    /// What only the log gets.
    pub operator: String,
    /// Whether starting again may help without anybody changing anything.
    pub retry: bool,
    /// The last lines of the server, shown to the person who owns it.
    pub log_tail: Vec<String>,
    /// When it happened, filled in by the hub.
    pub at: Option<DateTime<Utc>>,
}

impl SpawnError {
    /// Something broke.
    pub fn broken(cause: &'static str, user: impl Into<String>, operator: impl Into<String>) -> Self {
        Self {
            cause: Cow::Borrowed(cause),
            fault: SpawnFault::Broken,
            user: user.into(),
            user_html: None,
            operator: operator.into(),
            retry: false,
            log_tail: Vec::new(),
            at: None,
        }
    }

    /// The request cannot be met as it stands.
    pub fn refused(cause: &'static str, user: impl Into<String>) -> Self {
        let user = user.into();
        Self { fault: SpawnFault::Refused, ..Self::broken(cause, user.clone(), user) }
    }

    /// It took too long.
    pub fn timed_out(cause: &'static str, user: impl Into<String>) -> Self {
        let user = user.into();
        Self { fault: SpawnFault::TimedOut, retry: true, ..Self::broken(cause, user.clone(), user) }
    }

    /// Starting again may help.
    pub fn retryable(mut self) -> Self {
        self.retry = true;
        self
    }

    /// With the last lines of the server.
    pub fn with_log(mut self, lines: Vec<String>) -> Self {
        self.log_tail = lines;
        self
    }
}
