//! Ending a server: SIGINT, SIGTERM, SIGKILL to its group, then whatever else belongs to the run.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use hub_core::{SpawnError, StopMode};
use nix::errno::Errno;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

use crate::faults;
use crate::launcher::LAUNCH_VARIABLE;
use crate::options::LocalOptions;
use crate::procfs::{self, Environ, Process};
use crate::watch::{ended, signal, signal_group};

/// How often the rest of a run is looked for while it ends.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Asks the server to end, ever more firmly, and returns when it has.
pub(crate) async fn escalate(
    leader: Process,
    options: &LocalOptions,
    mode: StopMode,
) -> Result<(), SpawnError> {
    let steps = [
        (Signal::INT, options.interrupt_timeout),
        (Signal::TERM, options.term_timeout),
        (Signal::KILL, options.kill_timeout),
    ];
    for (what, patience) in steps.into_iter().skip(usize::from(mode == StopMode::Now)) {
        debug!(pid = leader.pid, signal = ?what, "signalling server");
        signal_group(leader, what).map_err(|errno| refused(leader, errno))?;
        if timeout(patience, ended(leader)).await.is_ok() {
            return Ok(());
        }
    }
    Err(faults::stuck(&[leader.pid]))
}

/// What belongs to a run besides its leader.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// The leader, which may have ended.
    pub(crate) leader: Option<Process>,
    /// The id of the start, when the processes carry one.
    pub(crate) launch: Option<String>,
    /// Whether those outside the leader's session are meant too.
    pub(crate) detached: bool,
}

/// Ends what the leader left behind: SIGTERM, a moment of patience, SIGKILL until nothing is there.
pub(crate) async fn sweep(run: &Run, options: &LocalOptions) -> Result<(), SpawnError> {
    if run.leader.is_none() && run.launch.is_none() {
        return Ok(());
    }
    let left = members(run).await?;
    if left.is_empty() {
        return Ok(());
    }
    info!(count = left.len(), "ending processes that the server left behind");
    send_all(&left, Signal::TERM)?;
    if wait_until_gone(run, options.term_timeout.min(options.kill_timeout), None).await?.is_empty() {
        return Ok(());
    }
    let left = wait_until_gone(run, options.kill_timeout, Some(Signal::KILL)).await?;
    if left.is_empty() {
        Ok(())
    } else {
        Err(faults::stuck(&left.iter().map(|process| process.pid).collect::<Vec<_>>()))
    }
}

/// Looks until nothing is left or the patience ends. `signal` goes to all that is found each time: a process may
/// fork faster than it can be listed, but not for ever.
async fn wait_until_gone(
    run: &Run,
    patience: Duration,
    signal: Option<Signal>,
) -> Result<Vec<Process>, SpawnError> {
    let deadline = Instant::now() + patience;
    loop {
        let left = members(run).await?;
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left);
        }
        if let Some(signal) = signal {
            send_all(&left, signal)?;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn send_all(processes: &[Process], what: Signal) -> Result<(), SpawnError> {
    processes.iter().try_for_each(|process| signal(*process, what).map_err(|errno| refused(*process, errno)))
}

fn refused(process: Process, errno: rustix::io::Errno) -> SpawnError {
    faults::signal_refused(process.pid, Errno::from_raw(errno.raw_os_error()))
}

async fn members(run: &Run) -> Result<Vec<Process>, SpawnError> {
    let run = run.clone();
    tokio::task::spawn_blocking(move || find_members(&run))
        .await
        .map_err(io::Error::other)
        .and_then(|found| found)
        .map_err(|error| faults::cannot_tell(&error))
}

fn find_members(run: &Run) -> io::Result<Vec<Process>> {
    let all = procfs::all()?;
    let by_number: HashMap<i32, Process> = all.iter().map(|stat| (stat.process.pid, stat.process)).collect();
    // The system does not give a number to a new process while a group of that number lives. So if somebody else
    // has the leader's number now, no group of this run is left.
    let group = run.leader.filter(|leader| by_number.get(&leader.pid).is_none_or(|now| now == leader));
    let me = i32::try_from(std::process::id()).unwrap_or_default();
    let mut found = Vec::new();
    for stat in all.iter().filter(|stat| stat.is_alive() && stat.process.pid != me) {
        let in_group = group.is_some_and(|leader| {
            (stat.group == leader.pid || stat.session == leader.pid)
                && stat.process.start_time >= leader.start_time
        });
        if !in_group && (!run.detached || run.launch.is_none()) {
            continue;
        }
        let environ = Environ::of(stat.process.pid);
        let mark = environ.as_ref().and_then(|environ| environ.get(LAUNCH_VARIABLE));
        let belongs = match (mark, &run.launch) {
            (Some(mark), Some(launch)) => mark == launch && (in_group || run.detached),
            // unmarked or unreadable: a program may overwrite its environment to change its title
            _ => in_group,
        };
        if belongs {
            found.push(stat.process);
        }
    }
    Ok(found)
}
