//! What a hub that was killed left of a service that it ran.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How long the process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// A process that is a service of this hub, and whose hub is gone.
#[derive(Debug)]
pub(super) struct Leftover {
    pid: Pid,
}

impl Leftover {
    /// The process of this number, if its environment has all of `marks` and no living hub keeps it: a number may be
    /// given again, and another hub on this machine may run the service.
    pub(super) fn find(pid: i32, marks: &[(&str, &str)]) -> Option<Self> {
        if pid <= 1 {
            return None;
        }
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let has = |(name, value): &(&str, &str)| {
            let wanted = format!("{name}={value}");
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        };
        let orphaned = program(parent(pid)?) != fs::read_link("/proc/self/exe").ok();
        (marks.iter().all(has) && orphaned).then_some(Self { pid: Pid::from_raw(pid) })
    }

    /// Ends it, and its process group where it leads one.
    pub(super) async fn end(self, service: &str) {
        let Self { pid } = self;
        info!(service, %pid, "ending the process that a hub before this one left");
        let leads = getpgid(Some(pid)).is_ok_and(|group| group == pid);
        let mut sent = kill(pid, Signal::SIGTERM);
        let until = Instant::now() + PATIENCE;
        while is_alive(pid) && Instant::now() < until {
            sleep(LOOK).await;
        }
        if leads {
            sent = killpg(pid, Signal::SIGKILL);
        } else if is_alive(pid) {
            sent = kill(pid, Signal::SIGKILL);
        }
        if let Err(error) = sent
            && error != Errno::ESRCH
        {
            warn!(service, %pid, %error, "cannot end the process that a hub before this one left");
        }
    }
}

fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

fn program(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn is_alive(pid: Pid) -> bool {
    stat(pid.as_raw()).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A process whose parent has ended.
    fn orphan(name: &str) -> i32 {
        let started = Command::new("sh")
            .args(["-c", "sleep 600 >/dev/null 2>&1 & echo $!"])
            .env("JUPYTERHUB_SERVICE_NAME", name)
            .output()
            .unwrap();
        String::from_utf8(started.stdout).unwrap().trim().parse().unwrap()
    }

    #[tokio::test]
    async fn the_process_of_a_service_whose_hub_is_gone_is_ended_and_no_other() {
        let pid = orphan("left-behind");
        let marks = |name| [("JUPYTERHUB_SERVICE_NAME", name)];
        assert!(Leftover::find(pid, &marks("another")).is_none());
        let found = Leftover::find(pid, &marks("left-behind")).expect("it is the service");
        found.end("left-behind").await;
        assert!(!is_alive(Pid::from_raw(pid)));
        assert!(Leftover::find(pid, &marks("left-behind")).is_none());
    }

    #[test]
    fn the_process_of_a_living_hub_is_left_alone() {
        let mut child =
            Command::new("sleep").arg("600").env("JUPYTERHUB_SERVICE_NAME", "kept").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let found = Leftover::find(pid, &[("JUPYTERHUB_SERVICE_NAME", "kept")]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.is_none());
    }
}
