//! Runs cases and counts how they end. Tests use it as well.

mod allow;
mod case;
mod compare;
mod form;
mod html;
mod hub;
mod manifest;
mod watch;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};

use case::{Case, Outcome};

/// How the cases of a file ended.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<String>,
    skipped: BTreeMap<String, usize>,
    allowed: usize,
    /// Cases that are equal, and those that differ for a stated reason.
    pub(crate) passed: usize,
    /// Cases that differ.
    pub(crate) failed: usize,
}

/// Runs the cases of a text, one a line.
pub(crate) fn run(text: &str) -> Result<Report> {
    let mut report = Report::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let case: Case =
            serde_json::from_str(line).with_context(|| format!("line {} is no case", index + 1))?;
        report.add(&case);
    }
    Ok(report)
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
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        for (kind, count) in &self.skipped {
            writeln!(f, "skipped: {count} cases of kind {kind}")?;
        }
        writeln!(f, "allowed: {} of the passed cases differ for a stated reason", self.allowed)?;
        writeln!(f, "corpus: {} passed, {} failed", self.passed, self.failed)
    }
}
