//! `cargo xtask run`: from a clone to a running hub with JupyterLab.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::cache::Cache;
use crate::command::{cargo, run as run_command, target};
use crate::environments;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Build quickly instead of building a quick binary
    #[arg(long)]
    dev: bool,
    /// Arguments for `himalia serve`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Replaces this process by the hub, which prints the link to open.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let venv = environments::jupyterhub(&Cache::open()?)?;
    let mut build = cargo();
    build.args(["build", "--package", "himalia"]);
    if !args.dev {
        build.arg("--release");
    }
    run_command(&mut build)?;
    let target = target();
    let binary = target.join(if args.dev { "debug/himalia" } else { "release/himalia" });
    // Database and secrets do not belong among the sources, where they would be committed one day.
    let folder = target.join("run");
    std::fs::create_dir_all(&folder)?;
    let mut folders = vec![venv.join("bin")];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let error = Command::new(&binary)
        .arg("serve")
        .args(&args.arguments)
        .env("PATH", std::env::join_paths(folders)?)
        .current_dir(&folder)
        .exec();
    bail!("cannot start {}: {error}", binary.display())
}
