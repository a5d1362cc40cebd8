//! Starting a server, from the job to a process that listens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hub_core::spawner::{Exit, Phase};
use hub_core::{Progress, SpawnError, StartJob, StartSink, Started};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::{info, warn};
use url::Url;

use crate::account::{self, Account};
use crate::binding::reachable;
use crate::certificates::CertificateFiles;
use crate::launch::{self, Refusal};
use crate::launcher::{LAUNCH_VARIABLE, Link, Spec};
use crate::log::ServerLog;
use crate::port::Reservation;
use crate::procfs::{self, Process};
use crate::registry::ExitReceiver;
use crate::spawner::{LocalSpawner, blocking, scheme};
use crate::state::ServerState;
use crate::{faults, stop, watch};

/// The command when the job has none.
const DEFAULT_COMMAND: &str = "jupyterhub-singleuser";
/// How often a start is tried when somebody else takes the port.
const PORT_TRIES: usize = 3;
/// How long a start waits for the server to listen or to end, at most half of its whole time. A server that takes
/// longer is left to the hub, which waits for its first answer.
const SETTLE: Duration = Duration::from_secs(10);
/// What servers write when their port is in use, in lower case.
const PORT_IN_USE: [&str; 4] =
    ["address already in use", "eaddrinuse", "port is already in use", "already in use by"];

/// How one try ended.
enum Outcome {
    Up(Started),
    PortLost(u16, Vec<String>),
}

impl LocalSpawner {
    pub(crate) async fn start_server(
        &self,
        job: &StartJob,
        sink: &dyn StartSink,
    ) -> Result<Started, SpawnError> {
        sink.progress(
            Progress::new(5, Phase::Preparing, "Preparing the account and the environment").detail(),
        );
        let account = self.account_of(job).await?;
        check_environment(job)?;
        check_binds(job)?;
        if let Some(found) = self.left_running(job, &account).await? {
            sink.save_state(found.state.clone()).await?;
            return Ok(found);
        }
        self.end_earlier_run(job).await?;
        let mut lost = (0, Vec::new());
        for attempt in 0..PORT_TRIES {
            // A server that does not set SO_REUSEADDR cannot bind a port that is held for it.
            let hold = attempt == 0;
            match self.attempt(job, &account, hold, sink).await? {
                Outcome::Up(started) => return Ok(started),
                Outcome::PortLost(port, log) => {
                    info!(server = %job.key, port, "the port of a server was in use");
                    lost = (port, log);
                    if self.binding.port != 0 && !hold {
                        break;
                    }
                }
            }
        }
        Err(faults::port_lost(lost.0, lost.1))
    }

    async fn account_of(&self, job: &StartJob) -> Result<Account, SpawnError> {
        let (name, options) = (job.key.user.clone(), Arc::clone(&self.options));
        let (root, environment) = (self.root, Arc::clone(&self.environment));
        blocking(move || Ok(account::resolve(&name, &options, root, &environment))).await?
    }

    /// The hub starts a server only when none runs. Should one run after all, it would be lost with its state.
    async fn end_earlier_run(&self, job: &StartJob) -> Result<(), SpawnError> {
        let state = ServerState::read(&job.state);
        let key = job.key.clone();
        let found = blocking({
            let state = state.clone();
            move || state.find(&key)
        })
        .await?;
        if let Some(process) = found {
            warn!(server = %job.key, pid = process.pid, "a server of an earlier start still runs, ending it");
            self.end(&job.key, &state, Some(process), hub_core::StopMode::Now).await?;
        }
        Ok(())
    }

    async fn attempt(
        &self,
        job: &StartJob,
        account: &Account,
        hold: bool,
        sink: &dyn StartSink,
    ) -> Result<Outcome, SpawnError> {
        let ip = self.binding.ip;
        let reservation = Reservation::take(ip, self.binding.port, hold)
            .map_err(|error| faults::port(&ip.to_string(), self.binding.port, &error))?;
        let port = reservation.port;
        let issuer = self.certificates.as_deref();
        let certificates = issuer.map(|issuer| CertificateFiles::issue(issuer, &job.key, reachable(ip)));
        let certificates = certificates.transpose().map_err(|error| faults::no_certificate(&error))?;
        let spec = self.spec(job, account, port, certificates);
        let log = ServerLog::new(&self.log_directory, &job.key, self.options.log_size);
        let output = blocking({
            let log = log.clone();
            move || Ok(log.begin().map_err(|error| faults::log_unwritable(log.path(), &error)))
        })
        .await??;
        let mut state = ServerState {
            boot: procfs::boot_id(),
            launch: Some(job.launch.clone()),
            log: Some(log.path().to_string_lossy().into_owned()),
            ip: Some(reachable(ip).to_string()),
            port: Some(port),
            tls: self.certificates.is_some(),
            ..ServerState::default()
        };
        sink.save_state(state.write()).await?;

        sink.progress(Progress::new(50, Phase::Launching, "Spawning server..."));
        crate::signals::restore();
        let (child, process, helper) = launch::start(&self.reenter, &job.launch, output)?;
        let exit = watch::child(child, log.clone(), Arc::clone(&self.registry));
        self.registry.enter(&job.key, process, exit.clone());
        state.pid = Some(process.pid);
        state.start_time = Some(process.start_time);
        // Stored before the helper is told what to run: from here on the server can be found.
        sink.save_state(state.write()).await?;
        if let Err(refusal) = helper.become_it(&spec).await {
            self.registry.leave(&job.key, process);
            return Err(match refusal {
                Refusal::Failed(failure) => {
                    faults::launch_failure(&failure, &spec.argv.join(" "), &job.key.user)
                }
                Refusal::Broken(what) => faults::helper_failed(&what),
            });
        }
        info!(server = %job.key, pid = process.pid, port, "server process started");

        let waiting = format!("Waiting for the server to listen on port {port}");
        sink.progress(Progress::new(60, Phase::Connecting, waiting).detail());
        let ended = settle(exit, reachable(ip), port, SETTLE.min(job.timeout / 2)).await;
        drop(reservation);
        if let Some(exit) = ended {
            return self.ended_early(job, &state, process, &exit, &log).await;
        }
        let address = address(scheme(state.tls), reachable(ip), port)?;
        self.registry.announce(&job.key, process);
        Ok(Outcome::Up(Started { address, state: state.write(), api_token: None }))
    }

    async fn ended_early(
        &self,
        job: &StartJob,
        state: &ServerState,
        process: Process,
        exit: &Exit,
        log: &ServerLog,
    ) -> Result<Outcome, SpawnError> {
        let tail = blocking({
            let log = log.clone();
            move || Ok(log.tail())
        })
        .await?;
        self.registry.leave(&job.key, process);
        stop::sweep(&self.run_of(state, Some(process)), &self.options).await?;
        let in_use = |line: &String| {
            let line = line.to_lowercase();
            PORT_IN_USE.iter().any(|words| line.contains(words))
        };
        match state.port {
            Some(port) if tail.iter().any(in_use) => Ok(Outcome::PortLost(port, tail)),
            _ => Err(faults::exited_at_once(exit, tail)),
        }
    }

    /// Command, environment and account of the server.
    fn spec(
        &self,
        job: &StartJob,
        account: &Account,
        port: u16,
        certificates: Option<CertificateFiles>,
    ) -> Spec {
        let below = own_directory(job);
        let home =
            below.as_ref().map_or_else(|| account.home.clone(), |own| format!("{}/{own}", account.home));
        let mut env: BTreeMap<String, String> = self
            .env_keep
            .iter()
            .filter_map(|name| Some((name.clone(), self.environment.get(name)?.clone())))
            .collect();
        env.extend(job.env.clone());
        env.insert("USER".to_owned(), job.key.user.as_str().to_owned());
        env.insert("HOME".to_owned(), home);
        if let Some(shell) = &account.shell {
            env.insert("SHELL".to_owned(), shell.clone());
        }
        env.extend(certificates.iter().flat_map(|files| files.variables(&account.home)));
        let url = job.service_url(scheme(certificates.is_some()), &self.binding.service_host(), port);
        env.insert("JUPYTERHUB_SERVICE_URL".to_owned(), url);
        env.insert(LAUNCH_VARIABLE.to_owned(), job.launch.clone());
        Spec {
            argv: command(&self.options.shell_cmd, &job.command),
            env,
            switch: account.switch.clone(),
            home: account.home.clone(),
            make_home: account.make_home,
            below,
            links: links(job),
            certificates,
        }
    }
}

/// A server that does without the person's own files has a directory of its own, below the person's home: two of them
/// can run at once.
fn own_directory(job: &StartJob) -> Option<String> {
    let apart = job.overrides.without_own_volume && !job.key.server.is_default();
    apart.then(|| format!("servers/{}", job.key.server.escaped()))
}

/// The directories of the machine that the server finds below its home.
fn links(job: &StartJob) -> Vec<Link> {
    let binds = job.overrides.binds.iter();
    binds
        .filter_map(|bind| Some(Link { name: bind.below_home()?.to_owned(), to: bind.source.clone() }))
        .collect()
}

/// Refuses directories that only a container could show under another path.
fn check_binds(job: &StartJob) -> Result<(), SpawnError> {
    match job.overrides.binds.iter().find(|bind| bind.below_home().is_none() || bind.source.contains('\0')) {
        Some(bind) => Err(faults::bind_elsewhere(&bind.target)),
        None => Ok(()),
    }
}

/// Refuses what no process can have. The values may be secret and are not shown.
fn check_environment(job: &StartJob) -> Result<(), SpawnError> {
    for (name, value) in &job.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(faults::bad_environment(&format!("environment variable {name:?}")));
        }
    }
    if job.command.iter().any(|word| word.contains('\0')) {
        return Err(faults::bad_environment("the command"));
    }
    Ok(())
}

/// The words to execute: the command itself, or the shell with the command as its last word.
fn command(shell: &[String], command: &[String]) -> Vec<String> {
    let command = if command.is_empty() { vec![DEFAULT_COMMAND.to_owned()] } else { command.to_vec() };
    if shell.is_empty() {
        return command;
    }
    let line: Vec<String> = command.iter().map(|word| quote(word)).collect();
    shell.iter().cloned().chain([line.join(" ")]).collect()
}

/// One word for a POSIX shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%_+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Scheme, host and port as one address.
pub(crate) fn address(scheme: &str, ip: IpAddr, port: u16) -> Result<Url, SpawnError> {
    Url::parse(&format!("{scheme}://{}", std::net::SocketAddr::new(ip, port)))
        .map_err(|error| faults::helper_failed(&format!("address of the server: {error}")))
}

/// Waits until the server listens (none) or ends, within `patience`.
async fn settle(mut exit: ExitReceiver, ip: IpAddr, port: u16, patience: Duration) -> Option<Exit> {
    let ended = async {
        let told = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        match told {
            Some(exit) => exit,
            // the watcher ends with the runtime only
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        exit = ended => Some(exit),
        () = listens(ip, port) => None,
        () = sleep(patience) => None,
    }
}

async fn listens(ip: IpAddr, port: u16) {
    let mut pause = Duration::from_millis(20);
    while TcpStream::connect((ip, port)).await.is_err() {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_shell_gets_the_command_as_one_quoted_word() {
        assert_eq!(command(&[], &[]), [DEFAULT_COMMAND]);
        assert_eq!(
            command(&words(&["bash", "-l", "-c"]), &words(&["lab", "--x=a b", "it's", ""])),
            ["bash", "-l", "-c", r"lab '--x=a b' 'it'\''s' ''"]
        );
    }
}
