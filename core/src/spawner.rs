//! What a spawner is asked to do, and how it answers.
//!
//! One [`Spawner`] object serves a whole process; everything that it must remember about one server is the JSON
//! value `state`, which the hub stores in `spawners.state` in the shape that the stock spawner of that kind writes.
//! A start is one future: dropping it cancels the start, after which the hub calls [`Spawner::stop`] with the last
//! state that was saved. A spawner therefore saves state *before* it creates anything that could be orphaned.

mod error;
mod job;
mod overrides;
mod progress;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use url::Url;

pub use error::{SpawnError, SpawnFault};
pub use job::{Owner, Resources, StartJob, Started};
pub use overrides::{Bind, Overrides};
pub use progress::{Phase, Progress, QueuePlace, StartSink};

use crate::names::{ServerKey, ServerName, UserName};

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
        cx: &FormContext,
        form: BTreeMap<String, Vec<String>>,
    ) -> Result<Map<String, Value>, SpawnError> {
        Ok(cx.passed_through(form))
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

    /// The volumes that are kept for a user's servers, those that were deleted included. `servers` are all that the
    /// user has, running or not. A spawner without volumes of its own has none to tell of.
    async fn volumes(&self, _user: &UserName, _servers: &[ServerRef]) -> Result<Volumes, SpawnError> {
        Ok(Volumes::default())
    }

    /// Takes away what this spawner made for servers of this hub that are not among the `known` ones, which are all
    /// that run or are on their way. Called again and again; what is not certainly this hub's own must stay.
    async fn collect_orphans(&self, _known: &[ServerRef]) {}

    /// How the spawner's watches over its servers fare, where it has any.
    fn watches(&self) -> Vec<WatchHealth> {
        Vec::new()
    }
}

/// The volumes of a user, as far as they can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volumes {
    /// By place and name.
    pub found: Vec<Volume>,
    /// Places, namespaces say, that could not be asked.
    pub unknown: Vec<String>,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    /// Where it is: a namespace, say.
    pub place: String,
    /// Its name there.
    pub name: String,
    /// The server that it was made for, which may be gone.
    pub server: ServerName,
    /// The servers of the user that have it.
    pub used_by: Vec<ServerName>,
    /// How much it holds, as the cluster writes it: `10Gi`.
    pub capacity: Option<String>,
    /// Its state in the cluster's words: `Bound`, say.
    pub phase: Option<String>,
    /// When it was made, as the cluster writes it.
    pub created: Option<String>,
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
    /// Files of the submitted form by `NAME_file`, each a list, as stock keeps them in the options.
    pub files: Map<String, Value>,
}

impl FormContext {
    /// The fields of the submitted form and its files as options, just as they are.
    pub fn passed_through(&self, form: BTreeMap<String, Vec<String>>) -> Map<String, Value> {
        let fields = form.into_iter().map(|(key, values)| (key, Value::from(values)));
        fields.chain(self.files.clone()).collect()
    }
}

/// The body of the spawn form: HTML without the `<form>` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsForm(pub String);
