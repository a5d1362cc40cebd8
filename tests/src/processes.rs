//! Which processes a hub under test has started, also those that it has lost sight of.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable that marks the processes of one test.
pub const VARIABLE: &str = "HIMALIA_TEST_MARK";

/// The value of [`VARIABLE`] in one hub and in all that it starts. Dropping it ends them.
#[derive(Debug)]
pub struct Mark(String);

/// A process with the mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Its number.
    pub pid: i32,
    /// Its command line, arguments joined by spaces.
    pub command: String,
}

impl Mark {
    /// One that no other test has.
    #[expect(clippy::new_without_default, reason = "a default would be expected to equal another default")]
    pub fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The text of it.
    pub fn value(&self) -> &str {
        &self.0
    }

    /// All living processes that carry it, zombies left out.
    pub fn processes(&self) -> Vec<Marked> {
        let wanted = format!("{VARIABLE}={}", self.0);
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                let environment = fs::read(entry.path().join("environ")).ok()?;
                if !environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
                    return None;
                }
                let command = fs::read(entry.path().join("cmdline")).ok()?;
                let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
                Some(Marked { pid, command })
            })
            .collect()
    }

    /// The processes whose command line has `part` in it.
    pub fn with_command(&self, part: &str) -> Vec<Marked> {
        self.processes().into_iter().filter(|process| process.command.contains(part)).collect()
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // A process may start another between the look and its end, so look again until there is none.
        let start = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() || start.elapsed() > Duration::from_secs(10) {
                return;
            }
            for process in left {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            std::thread::yield_now();
        }
    }
}
