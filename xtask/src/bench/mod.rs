//! `cargo xtask bench`: start time and idle memory, the stock hub beside ours in the same run. `cargo xtask bench api`:
//! the REST API and the start of a hub with many users.
//!
//! Times are recorded and not asserted, since they are longer on busy machines for reasons that are not in the code;
//! `bench api`, whose figures are CPU time beside CPU time, says what is missed and then fails.

mod api;
mod client;
mod hubs;
mod large;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

pub(crate) use self::api::{ApiArgs, bench as bench_api};
use self::hubs::{Peer, Settings};
use crate::command::{pause, target};

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
    let [ours, stock] = Peer::both(None)?;
    let settle = Duration::from_secs(args.settle);
    let (mut of_ours, mut of_stock) = (Vec::new(), Vec::new());
    for number in 1..=args.runs {
        println!("run {number} of {}", args.runs);
        of_ours.push(sample(&ours, settle)?);
        of_stock.push(sample(&stock, settle)?);
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
    let peers = [ours.name(), stock.name()];
    write_report(
        "start",
        &json!({ "runs": args.runs, "settle_seconds": args.settle, "peers": peers, "rows": rows }),
    )
}

fn sample(peer: &Peer, settle: Duration) -> Result<Sample> {
    let folder = tempfile::Builder::new().prefix("himalia-bench-").tempdir()?;
    let first = peer.launch(folder.path(), &Settings::default())?;
    let first_start = first.milliseconds;
    drop(first);
    let next = peer.launch(folder.path(), &Settings::default())?;
    pause(settle);
    Ok(Sample { first_start, next_start: next.milliseconds, memory: resident(next.pid())? })
}

/// Keeps figures as `target/bench/NAME.json`.
fn write_report(name: &str, report: &Value) -> Result<()> {
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, serde_json::to_string_pretty(report)?)?;
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
