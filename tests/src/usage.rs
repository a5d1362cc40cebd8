//! What a process takes of the machine, as `/proc` tells it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of a second in what the kernel shows to programs.
const TICKS: u32 = 100;

/// The processor time that a process has taken so far, its ended children left out.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("no name in the process's status")?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let mut time = || times.next().context("no times in the process's status")?.map_err(anyhow::Error::from);
    Ok(Duration::from_secs(1) * (time()? + time()?) / TICKS)
}

/// Memory of a process in MiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// What it has now.
    pub now: f64,
    /// The most that it had.
    pub most: f64,
}

/// The memory of a process.
///
/// # Errors
/// When there is no such process.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        let kibibytes: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
        Ok::<_, anyhow::Error>(kibibytes / 1024.0)
    };
    Ok(Memory { now: of("VmRSS")?, most: of("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_done_something_has_taken_time_and_memory() {
        let begin = std::time::Instant::now();
        let own = std::process::id();
        let before = cpu_time(own).unwrap();
        while cpu_time(own).unwrap() <= before {
            assert!(begin.elapsed() < Duration::from_mins(1), "no time passes");
        }
        let memory = memory(own).unwrap();
        assert!(memory.now > 1.0 && memory.most >= memory.now, "{memory:?}");
    }
}
