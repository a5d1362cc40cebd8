//! The hub's side of a launch: start the helper, and tell it what to become.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;

use hub_core::SpawnError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::faults;
use crate::launcher::{Failure, HELPER_ARGUMENT, LAUNCH_VARIABLE, Spec};
use crate::procfs::{self, Process};

/// Longest answer of the helper.
const MAX_REPORT: u64 = 64 * 1024;

/// A helper that waits to be told. Dropped, its input ends and it goes away by itself.
#[derive(Debug)]
pub(crate) struct Helper {
    orders: ChildStdin,
    report: ChildStdout,
}

/// Starts a helper whose standard error is the server's log. The child must be watched, to be reaped.
pub(crate) fn start(
    reenter: &[OsString],
    launch: &str,
    log: File,
) -> Result<(Child, Process, Helper), SpawnError> {
    let Some((program, first)) = reenter.split_first() else {
        return Err(faults::helper_failed("no program to start it with"));
    };
    let mut command = Command::new(program);
    command.args(first).env_clear().env(LAUNCH_VARIABLE, launch).current_dir("/").stderr(log);
    let spawned = enter(command).map_err(|error| faults::spawn_failed(Path::new(program), &error))?;
    let (child, Some(helper)) = spawned else {
        return Err(faults::helper_failed("no pipes"));
    };
    // not reaped yet, so its number is its own
    let process = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .map(procfs::stat)
        .transpose()
        .map_err(|error| faults::cannot_tell(&error))?
        .flatten()
        .ok_or_else(|| faults::helper_failed("it ended at once"))?
        .process;
    Ok((child, process, helper))
}

/// Starts a program, whose directory and streams are set but for the two that the hub talks over, as a helper.
pub(crate) fn enter(mut program: Command) -> io::Result<(Child, Option<Helper>)> {
    let mut child = program.arg(HELPER_ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    Ok((child, pipes.map(|(orders, report)| Helper { orders, report })))
}

impl Helper {
    /// Hands over; success means that the command was executed.
    pub(crate) async fn become_it(mut self, spec: &Spec) -> Result<(), Refusal> {
        let orders = serde_json::to_vec(spec).map_err(|error| Refusal::Broken(error.to_string()))?;
        // a helper that ended already has closed its input; its answer or exit code says more than that
        let written = self.orders.write_all(&orders).await;
        drop(self.orders);
        let mut answer = Vec::new();
        self.report
            .take(MAX_REPORT)
            .read_to_end(&mut answer)
            .await
            .map_err(|error| Refusal::Broken(error.to_string()))?;
        if answer.is_empty() {
            return written.map_err(|error| Refusal::Broken(error.to_string()));
        }
        match serde_json::from_slice(&answer) {
            Ok(failure) => Err(Refusal::Failed(failure)),
            Err(error) => Err(Refusal::Broken(format!("unreadable answer: {error}"))),
        }
    }
}

/// Why there is no server.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A step failed.
    Failed(Failure),
    /// The helper itself broke.
    Broken(String),
}
