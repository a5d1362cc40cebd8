//! Runs recorded cases: what KubeSpawner made of a configuration, against what we make of it.
//!
//! `cargo xtask corpus FILE` runs a file with one case a line. It prints every difference, then how many cases were
//! skipped or allowed, and ends with `corpus: P passed, F failed`.

mod allow;
mod case;
mod compare;
mod form;
mod html;
mod hub;
mod manifest;
mod watch;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use case::{Case, Outcome};

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else { bail!("usage: corpus FILE") };
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let mut report = Report::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let case: Case =
            serde_json::from_str(line).with_context(|| format!("{file}:{}: no case", index + 1))?;
        report.add(&case);
    }
    report.print()
}

#[derive(Default)]
struct Report {
    lines: Vec<String>,
    skipped: BTreeMap<String, usize>,
    allowed: usize,
    passed: usize,
    failed: usize,
}

impl Report {
    fn add(&mut self, case: &Case) {
        let outcome = match case.kind.as_str() {
            "manifest" => manifest::run(case),
            "form" => form::run(case),
            "poll" => watch::poll(case),
            "progress" => watch::progress(case),
            other => {
                *self.skipped.entry(other.to_owned()).or_default() += 1;
                return;
            }
        };
        let Outcome { differences } = outcome;
        if differences.is_empty() {
            self.passed += 1;
        } else if let Some(reason) = allow::reason(case, &differences) {
            self.allowed += 1;
            self.passed += 1;
            self.lines.push(format!("allowed {}: {reason}", case.id));
        } else {
            self.failed += 1;
            self.lines
                .extend(differences.iter().map(|difference| format!("FAILED {}: {difference}", case.id)));
        }
    }

    fn print(self) -> Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        for (kind, count) in &self.skipped {
            writeln!(out, "skipped: {count} cases of kind {kind}")?;
        }
        writeln!(out, "allowed: {} of the passed cases differ for a stated reason", self.allowed)?;
        writeln!(out, "corpus: {} passed, {} failed", self.passed, self.failed)?;
        Ok(if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
