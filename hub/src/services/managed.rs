//! Services whose process the hub runs (`command`): started with the hub, started again when they end, stopped with
//! the hub. Answers to `Service.start` and `stop`.
//!
//! Beyond stock: the end of a process is noticed at once rather than at the next poll, and a service that ends again
//! and again is started less and less often.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hub_core::secret::{ExposeSecret as _, SecretString};
use hub_db::repo;
use hub_spawner_local::{CommandOf, RunAs};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};
use url::Url;

use super::answers::wait_up;
use super::environment::service_env;
use super::leftover::Leftover;
use crate::app::{Hub, derived};

/// What a service that shall end gets, and how long it may take over each.
const STOP_STEPS: [(Signal, Duration); 2] =
    [(Signal::SIGINT, Duration::from_secs(3)), (Signal::SIGTERM, Duration::from_millis(1500))];
/// Pause before a service is started again: the first, and the longest when it never stays.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A service that ran for this long is a good one.
const GOOD_RUN: Duration = Duration::from_mins(1);
/// This program, which becomes a service of another account.
const REENTER: &str = "/proc/self/exe";

/// The processes.
#[derive(Debug)]
pub struct Managed {
    /// What tokens of services follow from that are given none.
    key: SecretString,
    waiting: Mutex<Vec<Process>>,
    running: TaskTracker,
    stop: CancellationToken,
}

/// One service to run.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: i32,
    pub(super) section: hub_config::ServiceSection,
    pub(super) token: SecretString,
}

impl Managed {
    /// No processes yet.
    pub(crate) fn new(key: SecretString) -> Self {
        Self { key, waiting: Mutex::default(), running: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// The token of a service that is given none. It is the same for the services of all hubs with one cookie secret:
    /// the secret of an OAuth client can be only one.
    pub(super) fn token(&self, service: &str) -> SecretString {
        derived::secret(self.key.expose_secret().as_bytes(), service).into()
    }

    /// Notes a service that [`start`] will run.
    pub(super) fn add(&self, process: Process) {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(process);
    }

    /// Stops all processes and waits for them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

/// Starts all of them. Fails when one cannot be started, ends at once, or does not answer at its address in time.
pub async fn start(hub: &actix_web::web::Data<Hub>) -> anyhow::Result<()> {
    let waiting =
        std::mem::take(&mut *hub.managed.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let first = waiting.into_iter().map(|process| first_start(hub, process));
    // To their ends: what one of them has begun would run on, unknown to anybody, if it were dropped.
    futures_util::future::join_all(first).await.into_iter().collect()
}

async fn first_start(hub: &actix_web::web::Data<Hub>, process: Process) -> anyhow::Result<()> {
    let name = process.section.name.clone();
    let account = account(&process).await.with_context(|| format!("services: {name:?}"))?;
    end_leftover(hub, &process).await;
    let mut child =
        launch(hub, &process, account.as_ref()).await.with_context(|| format!("services: {name:?}"))?;
    note_pid(hub, &process, child.id()).await;
    if let Some(url) = &process.section.url {
        let answered = tokio::select! {
            answered = wait_up(hub, &name, url, process.section.timeout) => answered,
            status = child.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                bail!("services: {name:?} ended before it answered at {url} ({status}); its own output tells why");
            }
        };
        if !answered {
            end(&mut child).await;
            let seconds = process.section.timeout.as_secs();
            bail!(
                "services: {name:?} did not answer at {url} within {seconds} s; see its own output, or give it a \
                 longer timeout"
            );
        }
        info!(service = %name, %url, "service answers");
    }
    let keeper = keep(hub.clone().into_inner(), process, account, child);
    hub.tasks.spawn_to_end(hub.managed.running.track_future(keeper));
    Ok(())
}

/// Two processes of one service would fight for its address.
async fn end_leftover(hub: &Hub, process: &Process) {
    let name = &process.section.name;
    let stored = match repo::services::by_id(hub.db.conn(), process.id).await {
        Ok(row) => row.and_then(|row| row.pid),
        Err(error) => {
            warn!(service = %name, %error, "cannot look up the process id of a service");
            None
        }
    };
    let found = |pid| {
        either_scheme(hub.urls.api().as_str()).iter().find_map(|api| {
            Leftover::find(pid, &[("JUPYTERHUB_SERVICE_NAME", name), ("JUPYTERHUB_API_URL", api.as_str())])
        })
    };
    if let Some(leftover) = stored.and_then(found) {
        leftover.end(name).await;
    }
}

/// An address of the hub before and after `hub.internal_ssl` was switched.
fn either_scheme(url: &str) -> [String; 2] {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["http", "https"].map(|scheme| format!("{scheme}://{rest}"))
}

/// The account that a service shall run as; none is the hub's own.
async fn account(process: &Process) -> anyhow::Result<Option<RunAs>> {
    let Some(name) = process.section.user.clone().filter(|name| !name.is_empty()) else { return Ok(None) };
    Ok(Some(tokio::task::spawn_blocking(move || RunAs::account(&name)).await??))
}

async fn launch(hub: &Hub, process: &Process, account: Option<&RunAs>) -> anyhow::Result<Child> {
    let section = &process.section;
    let own = hub_config::Sources::process_env();
    let mut env = service_env(&hub.config, &hub.urls, section, process.token.expose_secret(), &own);
    if let Some(internal) = &hub.internal {
        let owner = account.and_then(RunAs::owner);
        let files = internal.service(&section.name, owner).context("its certificate cannot be written")?;
        env.extend(files.variables());
    }
    env.extend(account.into_iter().flat_map(RunAs::variables));
    let (program, arguments) = section.command.split_first().context("command: is empty")?;
    let found = find(program, own.get("PATH"));
    let child = if let Some(account) = account.filter(|account| account.is_another()) {
        let argv = std::iter::once(found.to_string_lossy().into_owned()).chain(arguments.iter().cloned());
        let command = CommandOf { argv: argv.collect(), env, directory: section.cwd.as_deref() };
        account.run(&[REENTER.into()], command).await?
    } else {
        let mut command = Command::new(found);
        command.args(arguments).env_clear().envs(env).stdin(Stdio::null()).process_group(0);
        if let Some(directory) = &section.cwd {
            command.current_dir(directory);
        }
        command.spawn().with_context(|| {
            format!("command: cannot run {program:?}; check that it exists and may be executed")
        })?
    };
    info!(service = %section.name, pid = child.id(), "service started");
    Ok(child)
}

/// A command without a slash is searched in the hub's own path: the service's may be another or none.
fn find(program: &str, path: Option<&String>) -> PathBuf {
    let plain = PathBuf::from(program);
    if program.contains('/') {
        return plain;
    }
    let places = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    places.into_iter().map(|place| place.join(program)).find(|file| file.is_file()).unwrap_or(plain)
}

/// Keeps a service running until the hub ends.
async fn keep(hub: std::sync::Arc<Hub>, process: Process, account: Option<RunAs>, child: Child) {
    let name = &process.section.name;
    let stop = hub.managed.stop.clone();
    let mut pause = FIRST_PAUSE;
    let mut child = Some(child);
    loop {
        let began = Instant::now();
        if let Some(running) = &mut child {
            let status = tokio::select! {
                status = running.wait() => status,
                () = stop.cancelled() => {
                    end(running).await;
                    info!(service = %name, "service stopped");
                    note_pid(&hub, &process, None).await;
                    return;
                }
            };
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            error!(service = %name, %status, "service ended; starting it again");
            note_pid(&hub, &process, None).await;
        }
        if began.elapsed() > GOOD_RUN {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        child = match launch(&hub, &process, account.as_ref()).await {
            Ok(child) => {
                note_pid(&hub, &process, child.id()).await;
                Some(child)
            }
            Err(error) => {
                error!(service = %name, error = format!("{error:#}"), "service cannot be started again");
                None
            }
        };
    }
}

/// Ends a process: politely, then with its whole group.
async fn end(child: &mut Child) {
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw) else { return };
    for (signal, patience) in STOP_STEPS {
        // Not waited for yet, so the number is still its own; an error means that it ended.
        if kill(pid, signal).is_err() || timeout(patience, child.wait()).await.is_ok() {
            break;
        }
    }
    // What it left behind, and itself if it does not listen.
    if let Err(error) = killpg(pid, Signal::SIGKILL)
        && error != nix::errno::Errno::ESRCH
    {
        warn!(%pid, %error, "cannot end the processes of a service");
    }
    if let Err(error) = child.wait().await {
        warn!(%pid, %error, "cannot wait for the end of a service");
    }
}

async fn note_pid(hub: &Hub, process: &Process, pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok());
    if let Err(error) = repo::services::set_pid(hub.db.conn(), process.id, pid).await {
        warn!(service = %process.section.name, %error, "cannot store the process id of a service");
    }
}

/// Where a service listens, as the database has it.
pub(super) fn address(url: &str, prefix: &str) -> Option<repo::spawners::Address> {
    let url = Url::parse(url).ok()?;
    Some(repo::spawners::Address {
        proto: url.scheme().to_owned(),
        ip: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
        port: url.port_or_known_default()?,
        base_url: prefix.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_from_before_the_switch_of_tls() {
        let both = ["http://127.0.0.1:8081/hub/api/", "https://127.0.0.1:8081/hub/api/"];
        assert_eq!(either_scheme(both[0]), both);
        assert_eq!(either_scheme(both[1]), both);
    }
}
