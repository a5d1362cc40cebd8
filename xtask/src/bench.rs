//! `cargo xtask bench`: start time and idle memory, the stock hub beside ours in the same run.
//!
//! Recorded, not asserted: timed assertions fail on busy machines for reasons that are not in the code.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::cache::Cache;
use crate::command::{cargo, free_port, pause, run, target, wait_for};
use crate::environments;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Runs of each hub; the two take turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Seconds from the first healthy answer to the reading of memory
    #[arg(long, default_value_t = 3)]
    settle: u64,
}

/// What one start showed.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Milliseconds to the first healthy answer through the public port, database made on the way.
    first_start: f64,
    /// The same with the database of the first start.
    next_start: f64,
    /// Resident memory of all its processes in MiB, idle after the second start.
    memory: f64,
}

type Quantity = fn(&Sample) -> f64;

/// The quantities of a sample, as they are named in the table and in the file.
const QUANTITIES: [(&str, Quantity); 3] = [
    ("first start ms", |sample| sample.first_start),
    ("next start ms", |sample| sample.next_start),
    ("idle RSS MiB", |sample| sample.memory),
];

pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    let cache = Cache::open()?;
    let venv = environments::jupyterhub(&cache)?;
    let chp = environments::configurable_http_proxy(&cache)?;
    run(cargo().args(["build", "--release", "--package", "himalia"]))?;
    let target = target();
    let ours =
        Peer { name: "himalia", start: Start::Himalia(target.join("release/himalia")), venv: venv.clone() };
    let stock = Peer { name: "jupyterhub 6.1.1", start: Start::Stock { chp }, venv };
    let settle = Duration::from_secs(args.settle);
    let (mut of_ours, mut of_stock) = (Vec::new(), Vec::new());
    for number in 1..=args.runs {
        println!("run {number} of {}", args.runs);
        of_ours.push(ours.sample(settle)?);
        of_stock.push(stock.sample(settle)?);
    }
    let rows: Vec<Value> = QUANTITIES
        .iter()
        .map(|(name, value)| {
            let ours = Spread::of(of_ours.iter().map(value).collect());
            let stock = Spread::of(of_stock.iter().map(value).collect());
            json!({ "quantity": name, "himalia": ours.json(), "stock": stock.json(), "ratio": stock.median / ours.median })
        })
        .collect();
    print_table(&rows);
    let file = target.join("bench/start.json");
    fs::create_dir_all(target.join("bench"))?;
    let report = json!({ "runs": args.runs, "settle_seconds": args.settle, "peers": [ours.name, stock.name], "rows": rows });
    fs::write(&file, serde_json::to_string_pretty(&report)?)?;
    println!("written to {}", file.display());
    Ok(())
}

fn print_table(rows: &[Value]) {
    println!("\n{:<16}{:>24}{:>24}{:>12}", "median [range]", "himalia", "jupyterhub 6.1.1", "stock/ours");
    let shown = |value: &Value| {
        format!("{:.1} [{:.1}-{:.1}]", number(value, "median"), number(value, "min"), number(value, "max"))
    };
    for row in rows {
        let name = row.get("quantity").and_then(Value::as_str).unwrap_or_default();
        let cell = |key: &str| row.get(key).map(shown).unwrap_or_default();
        println!("{name:<16}{:>24}{:>24}{:>12.1}", cell("himalia"), cell("stock"), number(row, "ratio"));
    }
}

fn number(value: &Value, key: &str) -> f64 {
    value.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of at least one value.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let half = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(at(half.wrapping_sub(1)), at(half))
        } else {
            at(half)
        };
        Self { median, min: at(0), max: at(values.len().wrapping_sub(1)) }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// A hub to be measured.
#[derive(Debug)]
struct Peer {
    name: &'static str,
    start: Start,
    venv: PathBuf,
}

#[derive(Debug)]
enum Start {
    Himalia(PathBuf),
    Stock { chp: PathBuf },
}

impl Peer {
    fn sample(&self, settle: Duration) -> Result<Sample> {
        let folder = tempfile::Builder::new().prefix("himalia-bench-").tempdir()?;
        let (first_start, first) = self.launch(folder.path())?;
        drop(first);
        let (next_start, next) = self.launch(folder.path())?;
        pause(settle);
        let memory = resident(next.child.id())?;
        Ok(Sample { first_start, next_start, memory })
    }

    /// Starts on free ports and returns the milliseconds to the first healthy answer.
    fn launch(&self, folder: &Path) -> Result<(f64, Running)> {
        let (public, hub, api) = (free_port()?, free_port()?, free_port()?);
        let log = fs::File::options().create(true).append(true).open(folder.join("log"))?;
        let mut command = self.command(folder, public, hub, api)?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.venv.join("bin")).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders)?);
        let start = Instant::now();
        let mut running =
            Running { child: command.spawn().with_context(|| format!("cannot start {}", self.name))? };
        wait_for("a healthy answer", Duration::from_mins(1), || {
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, fs::read_to_string(folder.join("log"))?);
            }
            Ok(healthy(public).then_some(()))
        })?;
        Ok((start.elapsed().as_secs_f64() * 1000.0, running))
    }

    fn command(&self, folder: &Path, public: u16, hub: u16, api: u16) -> Result<Command> {
        match &self.start {
            Start::Himalia(binary) => {
                let config = folder.join("himalia.toml");
                fs::write(
                    &config,
                    format!(
                        "[hub]\nhub_bind_url = \"http://127.0.0.1:{hub}\"\n[proxy]\nport = {public}\n\
                         [authenticator]\nkind = \"dummy\"\nallow_all = true\n",
                    ),
                )?;
                let mut command = Command::new(binary);
                command.args(["serve", "--config"]).arg(config);
                Ok(command)
            }
            Start::Stock { chp } => {
                let config = folder.join("jupyterhub_config.py");
                fs::write(
                    &config,
                    format!(
                        "c.JupyterHub.bind_url = 'http://127.0.0.1:{public}/'\n\
                         c.JupyterHub.hub_bind_url = 'http://127.0.0.1:{hub}/'\n\
                         c.JupyterHub.authenticator_class = 'dummy'\n\
                         c.Authenticator.allow_all = True\n\
                         c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{api}'\n\
                         c.ConfigurableHTTPProxy.command = ['{}']\n",
                        chp.display()
                    ),
                )?;
                let mut command = Command::new(self.venv.join("bin/jupyterhub"));
                command.arg("--config").arg(config);
                Ok(command)
            }
        }
    }
}

/// A started hub, ended with its children when dropped.
#[derive(Debug)]
struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let gone = wait_for("the hub ends", Duration::from_secs(20), || Ok(self.child.try_wait()?));
        if gone.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn healthy(port: u16) -> bool {
    let asked = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /hub/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start.ends_with(b"200"))
    };
    asked().unwrap_or(false)
}

/// Resident memory in MiB of a process and all below it.
fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix("kB"))
        .context("no VmRSS")?
        .trim()
        .parse()?;
    let mut sum = kib / 1024.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            sum += resident(child.parse()?)?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let expected = Spread { median: 2.5, min: 1.0, max: 9.0 };
        assert_eq!(Spread::of(vec![3.0, 1.0, 9.0, 2.0]), expected);
    }
}
