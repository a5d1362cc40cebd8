//! Servers that run although the hub remembers nothing of them, because its database was lost: people go on with them.
//!
//! A server is what its environment says and what nobody could have made up who may not rule it anyway: started by this
//! program for this hub, this person and this name, under the account under which it would be started now, the first
//! process of its launch, and its session the one that listens where it was told to.

use std::io;
use std::sync::Arc;

use hub_core::secret::SecretString;
use hub_core::{SpawnError, StartJob, Started};
use tracing::info;

use crate::account::Account;
use crate::binding::reachable;
use crate::launcher::LAUNCH_VARIABLE;
use crate::log::ServerLog;
use crate::procfs::{self, Environ, Process};
use crate::spawner::{LocalSpawner, blocking, scheme};
use crate::start::address;
use crate::state::ServerState;
use crate::watch;

/// What must be as it would be now: these tell the server from others, and let it work with this hub.
const SAME: [&str; 4] =
    ["JUPYTERHUB_USER", "JUPYTERHUB_SERVER_NAME", "JUPYTERHUB_API_URL", "JUPYTERHUB_CLIENT_ID"];

/// A server that was found.
struct Left {
    process: Process,
    launch: String,
    port: u16,
    token: String,
}

impl LocalSpawner {
    /// The server of a job, if it runs already. Only where nothing is remembered: otherwise a start begins anew.
    pub(crate) async fn left_running(
        &self,
        job: &StartJob,
        account: &Account,
    ) -> Result<Option<Started>, SpawnError> {
        if ServerState::read(&job.state) != ServerState::default() {
            return Ok(None);
        }
        let wanted: Vec<(&str, String)> =
            SAME.iter().filter_map(|name| Some((*name, job.env.get(*name)?.clone()))).collect();
        if wanted.len() < SAME.len() {
            return Ok(None);
        }
        let uid = account.uid();
        let (ip, tls) = (self.binding.ip, self.certificates.is_some());
        let (scheme, prefix) = (scheme(tls), job.prefix.clone());
        let found = blocking(move || find(&wanted, scheme, &prefix, uid)).await?;
        let Some(left) = found else { return Ok(None) };
        let log = ServerLog::new(&self.log_directory, &job.key, self.options.log_size);
        let state = ServerState {
            pid: Some(left.process.pid),
            start_time: Some(left.process.start_time),
            boot: procfs::boot_id(),
            launch: Some(left.launch),
            log: Some(log.path().to_string_lossy().into_owned()),
            ip: Some(reachable(ip).to_string()),
            port: Some(left.port),
            tls,
        };
        let registry = &self.registry;
        if !registry.knows(&job.key, left.process) {
            let exit = watch::stranger(left.process, log, Arc::clone(registry));
            registry.enter(&job.key, left.process, exit);
        }
        registry.announce(&job.key, left.process);
        info!(server = %job.key, pid = left.process.pid, "a server of this name runs already; taking it over");
        let address = address(scheme, reachable(ip), left.port)?;
        Ok(Some(Started { address, state: state.write(), api_token: Some(SecretString::from(left.token)) }))
    }
}

/// Looks through the processes.
fn find(wanted: &[(&str, String)], scheme: &str, prefix: &str, uid: u32) -> io::Result<Option<Left>> {
    let all: Vec<_> = procfs::all()?.into_iter().filter(procfs::Stat::is_alive).collect();
    let mut leaders: Vec<_> =
        all.iter().filter(|stat| stat.session == stat.process.pid).map(|stat| stat.process).collect();
    // What a server starts has its environment and is younger.
    leaders.sort_by_key(|process| (process.start_time, process.pid));
    for process in leaders {
        let Some(environ) = Environ::of(process.pid) else { continue };
        if !wanted.iter().all(|(name, value)| environ.get(name) == Some(value.as_str())) {
            continue;
        }
        let port = environ.get("JUPYTERHUB_SERVICE_URL").and_then(|url| port_of(url, scheme, prefix));
        let token = environ.get("JUPYTERHUB_API_TOKEN").filter(|token| !token.is_empty());
        let (Some(launch), Some(port), Some(token)) = (environ.get(LAUNCH_VARIABLE), port, token) else {
            continue;
        };
        if procfs::owner(process.pid)? != Some(uid) {
            continue;
        }
        // With a shell in front it is not the first process that listens.
        let mut listens = false;
        for stat in all.iter().filter(|stat| stat.session == process.pid) {
            listens = listens || procfs::listens(stat.process.pid, port)?;
        }
        if listens && process.is_alive()? {
            return Ok(Some(Left { process, launch: launch.to_owned(), port, token: token.to_owned() }));
        }
    }
    Ok(None)
}

/// The port of a service URL, `http://127.0.0.1:8001/user/ann/` or `http://:8001/user/ann/`, of a server at `prefix`.
fn port_of(url: &str, scheme: &str, prefix: &str) -> Option<u16> {
    let rest = url.strip_prefix(scheme)?.strip_prefix("://")?.strip_suffix(prefix)?;
    rest.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_servers_own_address() {
        for (url, port) in [
            ("http://127.0.0.1:8001/user/ann/", Some(8001)),
            ("http://:8001/user/ann/", Some(8001)),
            ("http://[::1]:8001/user/ann/", Some(8001)),
            ("http://127.0.0.1:8001/user/bob/", None),
            ("http://127.0.0.1:8001/other/user/ann/", None),
            ("https://127.0.0.1:8001/user/ann/", None),
            ("http://127.0.0.1/user/ann/", None),
        ] {
            assert_eq!(port_of(url, "http", "/user/ann/"), port, "{url}");
        }
        assert_eq!(port_of("https://127.0.0.1:8001/user/ann/", "https", "/user/ann/"), Some(8001));
    }
}
