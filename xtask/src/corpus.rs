//! `cargo xtask corpus FILE`: recorded cases of KubeSpawner, run through ours.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::command::cargo;

#[derive(Debug, Args)]
pub(crate) struct CorpusArgs {
    /// A file with one case a line
    file: PathBuf,
}

/// Builds the runner and runs it; its last line is `corpus: P passed, F failed`, and it fails when a case does.
pub(crate) fn corpus(args: &CorpusArgs) -> Result<ExitCode> {
    let file = args.file.canonicalize().with_context(|| format!("no file {}", args.file.display()))?;
    let mut run = cargo();
    run.args(["run", "--quiet", "--package", "hub-spawner-kube", "--example", "corpus", "--"]).arg(file);
    let status = run.status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
