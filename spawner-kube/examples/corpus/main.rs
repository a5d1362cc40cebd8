//! Runs recorded cases: what KubeSpawner made of a configuration, against what we make of it.
//!
//! `cargo xtask corpus FILE` runs a file with one case a line. It prints every difference, then how many cases were
//! skipped or allowed, and ends with `corpus: P passed, F failed`.

#[path = "runner.rs"]
mod runner;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else { bail!("usage: corpus FILE") };
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let report = runner::run(&text).with_context(|| file.clone())?;
    write!(std::io::stdout().lock(), "{report}")?;
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
