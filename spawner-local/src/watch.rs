//! Noticing the end of a process, our child or not, and keeping its log short while it runs.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use hub_core::spawner::Exit;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open, pidfd_send_signal,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::log::ServerLog;
use crate::procfs::Process;
use crate::registry::{ExitReceiver, Registry};

/// How often the size of a log is looked at.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// How often a process is looked at where the kernel has no pidfd.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Watches a child to its end, so that it is reaped and its exit code known.
pub(crate) fn child(mut child: Child, log: ServerLog, registry: Arc<Registry>) -> ExitReceiver {
    let (tell, exit) = watch::channel(None);
    tokio::spawn(async move {
        let status = beside_log(&log, child.wait()).await;
        let exit = status.map_or_else(|_| Exit::default(), exit_of);
        tell.send_replace(Some(exit));
        registry.ended();
    });
    exit
}

/// Watches a process that another hub started; its exit code cannot be known.
pub(crate) fn stranger(process: Process, log: ServerLog, registry: Arc<Registry>) -> ExitReceiver {
    let (tell, exit) = watch::channel(None);
    tokio::spawn(async move {
        beside_log(&log, ended(process)).await;
        tell.send_replace(Some(Exit::default()));
        registry.ended();
    });
    exit
}

/// Keeps the log short for as long as `end` takes.
async fn beside_log<T>(log: &ServerLog, end: impl Future<Output = T>) -> T {
    tokio::pin!(end);
    let mut tick = tokio::time::interval(LOG_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut warned = false;
    loop {
        tokio::select! {
            value = &mut end => return value,
            _ = tick.tick() => {}
        }
        if log.is_too_long() {
            let log = log.clone();
            let shortened =
                tokio::task::spawn_blocking(move || log.shorten().map_err(|error| (error, log))).await;
            if let Ok(Err((error, log))) = shortened
                && !warned
            {
                warned = true;
                warn!(path = %log.path().display(), %error, "the log of a server cannot be shortened");
            }
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| -signal));
    let killed = status.signal() == Some(Signal::KILL.as_raw());
    Exit {
        code,
        cause: killed.then_some("killed"),
        message: killed
            .then(|| "The server was killed, perhaps because the machine ran out of memory.".to_owned()),
    }
}

/// Returns when the process has ended; at once if it has already.
pub(crate) async fn ended(process: Process) {
    if let Ok(Some(fd)) = open(process)
        && let Ok(fd) = readiness_of(fd)
        && fd.readable().await.is_ok()
    {
        return;
    }
    // "cannot tell" is not an end: /proc does not stay unreadable
    while process.is_alive().unwrap_or(true) {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// A pidfd becomes readable when its process ends.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for types that lie about their descriptor; this one cannot"
)]
fn readiness_of(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// A handle of exactly this process; none when it has ended, an error where there are no such handles.
fn open(process: Process) -> Result<Option<OwnedFd>, Errno> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // the handle is of whatever has the number now: look whether that is the one that is meant
        Ok(fd) => Ok(process.is_alive().unwrap_or(true).then_some(fd)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Sends a signal to this process and no later one of the same number. One that has ended is fine.
pub(crate) fn signal(process: Process, signal: Signal) -> Result<(), Errno> {
    let sent = match open(process) {
        Ok(Some(fd)) => pidfd_send_signal(fd, signal),
        Ok(None) => Ok(()),
        Err(_) => match (process.is_alive(), Pid::from_raw(process.pid)) {
            (Ok(true), Some(pid)) => kill_process(pid, signal),
            _ => Ok(()),
        },
    };
    fine_if_gone(sent)
}

/// Sends a signal to the group that this living process leads.
pub(crate) fn signal_group(leader: Process, signal: Signal) -> Result<(), Errno> {
    if !leader.is_alive().unwrap_or(true) {
        return Ok(());
    }
    let Some(pid) = Pid::from_raw(leader.pid) else { return Ok(()) };
    match kill_process_group(pid, signal) {
        // a helper that has not yet left the hub's session leads no group
        Err(Errno::SRCH) => self::signal(leader, signal),
        other => other,
    }
}

fn fine_if_gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}
