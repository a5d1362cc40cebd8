//! The spawner object that the hub holds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_core::spawner::Exit;
use hub_core::{
    Adoption, CertificateIssuer, PluginError, PollStatus, Problem, ServerEvent, ServerKey, ServerRef,
    SpawnError, Spawner, SpawnerContext, StartJob, StartSink, Started, StopMode,
};
use serde_json::Value;
use tracing::{info, warn};
use url::Url;

use crate::NAME;
use crate::binding::{Binding, reachable};
use crate::log::ServerLog;
use crate::options::LocalOptions;
use crate::procfs::{Environ, Process};
use crate::registry::Registry;
use crate::start::address;
use crate::state::{self, ServerState};
use crate::stop::{self, Run};
use crate::{faults, watch};

/// How long a poll waits for the exit code of a child that has just ended.
const REAP_PATIENCE: Duration = Duration::from_secs(1);

/// What servers get from the hub's own environment when nothing else is said: stock's list.
const ENV_KEEP: [&str; 9] = [
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

/// Starts `jupyterhub-singleuser` as a process of this machine.
#[derive(Debug)]
pub struct LocalSpawner {
    pub(crate) options: Arc<LocalOptions>,
    pub(crate) binding: Binding,
    pub(crate) env_keep: Vec<String>,
    pub(crate) root: bool,
    pub(crate) environment: Arc<BTreeMap<String, String>>,
    pub(crate) reenter: Vec<OsString>,
    pub(crate) log_directory: PathBuf,
    /// Makes certificates, where servers speak TLS.
    pub(crate) certificates: Option<Arc<dyn CertificateIssuer>>,
    pub(crate) registry: Arc<Registry>,
}

impl LocalSpawner {
    /// A spawner with checked options. Logs go to `servers/` below the state directory.
    pub fn new(options: LocalOptions, cx: &SpawnerContext) -> Result<Self, PluginError> {
        let mut problems = options
            .validate(&format!("{}.{NAME}", cx.section), cx.root)
            .map_or_else(|error| error.problems, |()| Vec::new());
        let binding = Binding::new(&cx.ip, cx.port);
        if binding.is_none() {
            problems.push(Problem::new(
                format!("{}.ip", cx.section),
                format!("{:?} is no IP address; leave it empty to bind all addresses", cx.ip),
            ));
        }
        if options.gives_root_unasked(cx.root) {
            warn!(
                "with home_dir_template all servers run under the hub's account, and that is root: everybody who has a \
                 server rules this machine. Set {}.{NAME}.switch_user = \"always\" to run each under the account with the \
                 person's name, or \"never\" to say that it is meant",
                cx.section
            );
        }
        if options.home_dir_template.as_ref().is_some_and(|template| !template.contains("{username}")) {
            warn!("home_dir_template has no {{username}}: all people share one home");
        }
        let env_keep = cx.env_keep.clone().unwrap_or_else(|| ENV_KEEP.map(str::to_owned).to_vec());
        for name in env_keep.iter().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
            problems.push(Problem::new(
                format!("{}.env_keep", cx.section),
                format!("{name:?} cannot be the name of an environment variable"),
            ));
        }
        PluginError::check(problems)?;
        Ok(Self {
            binding: binding.unwrap_or(Binding { ip: Ipv4Addr::LOCALHOST.into(), port: 0 }),
            env_keep,
            options: Arc::new(options),
            root: cx.root,
            environment: Arc::new(cx.environment.clone()),
            reenter: cx.reenter.clone(),
            log_directory: cx.state_dir.join("servers"),
            certificates: cx.certificates.clone(),
            registry: Arc::new(Registry::default()),
        })
    }

    async fn find(&self, server: &ServerRef) -> Result<(ServerState, Option<Process>), SpawnError> {
        let state = ServerState::read(&server.state);
        let key = server.key.clone();
        blocking(move || state.find(&key).map(|found| (state, found))).await
    }

    pub(crate) fn run_of(&self, state: &ServerState, leader: Option<Process>) -> Run {
        Run {
            leader: leader.or_else(|| state.recorded()),
            launch: state.launch.clone(),
            detached: self.options.stop_detached,
        }
    }

    /// Ends the leader if it runs, then the rest.
    pub(crate) async fn end(
        &self,
        key: &ServerKey,
        state: &ServerState,
        leader: Option<Process>,
        mode: StopMode,
    ) -> Result<(), SpawnError> {
        let run = self.run_of(state, leader);
        if let Some(process) = run.leader {
            self.registry.hush(key, process);
        }
        let ended = async {
            if let Some(process) = leader {
                stop::escalate(process, &self.options, mode).await?;
            }
            stop::sweep(&run, &self.options).await
        }
        .await;
        if let Some(process) = run.leader {
            match &ended {
                Ok(()) => self.registry.leave(key, process),
                // it may end yet, and then that is news
                Err(_) => self.registry.announce(key, process),
            }
        }
        ended
    }

    fn log_of(&self, server: &ServerRef) -> ServerLog {
        let limit = self.options.log_size;
        ServerState::read(&server.state)
            .log
            .and_then(|path| ServerLog::stored(&path, &server.key, limit))
            .unwrap_or_else(|| ServerLog::new(&self.log_directory, &server.key, limit))
    }

    /// How a server ended that is not there any more.
    async fn exit_of(&self, key: &ServerKey, state: &ServerState) -> Exit {
        let Some(mut exit) = self.registry.exit_of(key, state.pid) else { return Exit::default() };
        // a zombie is seen before it is reaped
        match tokio::time::timeout(REAP_PATIENCE, exit.wait_for(Option::is_some)).await {
            Ok(Ok(exit)) => exit.clone().unwrap_or_default(),
            _ => Exit::default(),
        }
    }

    /// Where a server that was found listens: as stored, as the hub remembers, or as the server was told.
    async fn address_of(&self, server: &ServerRef, state: &ServerState, process: Process) -> Option<Url> {
        if let (Some(Ok(ip)), Some(port)) = (state.ip.as_ref().map(|ip| ip.parse::<IpAddr>()), state.port) {
            return address(scheme(state.tls), ip, port).ok();
        }
        if let Some(url) = &server.address {
            return origin(url);
        }
        let told = blocking(move || {
            Ok(Environ::of(process.pid).and_then(|env| env.get("JUPYTERHUB_SERVICE_URL").map(str::to_owned)))
        })
        .await
        .ok()
        .flatten()?;
        match Url::parse(&told) {
            Ok(url) => origin(&url),
            // all addresses: `http://:8001/user/ann/`
            Err(_) => {
                let (scheme, rest) = told.split_once("://:")?;
                let port = rest.split('/').next()?.parse().ok()?;
                address(scheme, reachable(Ipv4Addr::UNSPECIFIED.into()), port).ok()
            }
        }
    }
}

/// Of the address of a server that speaks TLS or does not.
pub(crate) fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

fn origin(url: &Url) -> Option<Url> {
    Url::parse(&url.origin().ascii_serialization()).ok()
}

#[async_trait]
impl Spawner for LocalSpawner {
    fn class_name(&self) -> &'static str {
        "hub_spawner_local::LocalSpawner"
    }

    fn shown_state(&self, state: Value) -> Value {
        state::shown(&state)
    }

    async fn start(&self, job: StartJob, sink: &dyn StartSink) -> Result<Started, SpawnError> {
        // boxed: the future is large, and held for the length of a start only
        Box::pin(self.start_server(&job, sink)).await
    }

    async fn stop(&self, server: &ServerRef, mode: StopMode) -> Result<(), SpawnError> {
        let (state, found) = self.find(server).await?;
        self.end(&server.key, &state, found, mode).await?;
        info!(server = %server.key, "server stopped");
        Ok(())
    }

    async fn poll(&self, server: &ServerRef) -> Result<PollStatus, SpawnError> {
        let (state, found) = self.find(server).await?;
        Ok(match found {
            Some(_) => PollStatus::Running,
            None => PollStatus::Exited(self.exit_of(&server.key, &state).await),
        })
    }

    async fn adopt(&self, server: &ServerRef) -> Result<Adoption, SpawnError> {
        let (mut state, found) = self.find(server).await?;
        let Some(process) = found else {
            let exit = self.exit_of(&server.key, &state).await;
            if let Err(error) = self.end(&server.key, &state, None, StopMode::Now).await {
                warn!(server = %server.key, %error, "something of a server that ended is still there");
            }
            return Ok(Adoption::Gone(exit));
        };
        let Some(address) = self.address_of(server, &state, process).await else {
            return Err(SpawnError::broken(
                "address-unknown",
                "Your server runs, but its address is not known. Stop it and start it again.",
                format!(
                    "process {} runs, but neither its state nor its environment tells its address",
                    process.pid
                ),
            ));
        };
        state.pid = Some(process.pid);
        state.start_time = Some(process.start_time);
        state.boot = crate::procfs::boot_id();
        state.ip = address.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
        state.port = address.port_or_known_default();
        state.tls = address.scheme() == "https";
        if !self.registry.knows(&server.key, process) {
            let exit = watch::stranger(process, self.log_of(server), Arc::clone(&self.registry));
            self.registry.enter(&server.key, process, exit);
        }
        self.registry.announce(&server.key, process);
        Ok(Adoption::Running(Started { address, state: state.write(), api_token: None }))
    }

    async fn next_event(&self) -> ServerEvent {
        self.registry.next_event().await
    }

    async fn recent_log(&self, server: &ServerRef) -> Vec<String> {
        let log = self.log_of(server);
        blocking(move || Ok(log.tail())).await.unwrap_or_default()
    }

    async fn rename(&self, from: &ServerRef, to: &ServerKey) -> Result<(), SpawnError> {
        let old = ServerLog::new(&self.log_directory, &from.key, self.options.log_size);
        let new = ServerLog::new(&self.log_directory, to, self.options.log_size);
        blocking(move || Ok(old.rename(&new).map_err(|error| faults::log_unwritable(new.path(), &error))))
            .await?
    }

    async fn delete_forever(&self, server: &ServerRef) -> Result<(), SpawnError> {
        let log = self.log_of(server);
        blocking(move || Ok(log.remove().map_err(|error| faults::log_unwritable(log.path(), &error)))).await?
    }
}

/// Runs what reads files or asks the user database off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SpawnError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .and_then(|done| done)
        .map_err(|error| faults::cannot_tell(&error))
}
