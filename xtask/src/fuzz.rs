//! The targets of `fuzz/`, each run for a few seconds by libFuzzer. The stable compiler instruments them for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command::{output, run, shown, workspace};
use crate::counts::Counts;
use crate::packages;

/// What libFuzzer learns from: which edges a run takes, and what it compares.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// How long each target runs.
const SECONDS: u32 = 4;
/// One input that takes longer is a failure.
const LONGEST_INPUT: u32 = 20;

/// Builds the targets with `cargo` and runs them, two at a time. What they learn is kept in `folder` for the next run.
pub(crate) fn fuzz(cargo: Command, folder: &Path) -> Result<Counts> {
    packages::install_fuzzed()?;
    let host = host()?;
    build(cargo, folder, &host)?;
    let programs = folder.join(host).join("debug");
    let names = names()?;
    let mut counts = Counts::default();
    for pair in names.chunks(2) {
        let outputs = std::thread::scope(|scope| {
            let programs = &programs;
            let threads: Vec<_> = pair
                .iter()
                .map(|name| scope.spawn(move || one(&programs.join(name), folder, name)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join().ok().context("a thread panicked")?);
            joined.collect::<Result<Vec<_>>>()
        })?;
        for (name, output) in pair.iter().zip(outputs) {
            counts += judged(name, &output);
        }
    }
    Ok(counts)
}

/// The platform of this compiler. Named to cargo, so that its flags are not for build scripts, which run here.
fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

fn build(mut cargo: Command, folder: &Path, host: &str) -> Result<()> {
    let fuzz = workspace().join("fuzz");
    // The same versions as everywhere.
    std::fs::copy(workspace().join("Cargo.lock"), fuzz.join("Cargo.lock"))?;
    run(cargo
        .args(["build", "--bins", "--target", host, "--manifest-path"])
        .arg(fuzz.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", folder)
        .env("RUSTFLAGS", INSTRUMENTED))
}

/// The targets, in order.
fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(workspace().join("fuzz/fuzz_targets"))? {
        let path = PathBuf::from(entry?.file_name());
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    if names.is_empty() {
        bail!("fuzz/fuzz_targets has no target");
    }
    names.sort_unstable();
    Ok(names)
}

/// Runs a target until its time is over or an input fails, which is then kept as a file.
fn one(program: &Path, folder: &Path, name: &str) -> Result<Output> {
    let [corpus, failures] = ["corpus", "failures"].map(|kind| folder.join(kind).join(name));
    for kept in [&corpus, &failures] {
        std::fs::create_dir_all(kept)?;
    }
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={SECONDS}"))
        .arg(format!("-timeout={LONGEST_INPUT}"))
        // Long inputs from the beginning: there is no time to grow them.
        .args(["-max_len=1024", "-len_control=0", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", failures.display()))
        .arg(&corpus);
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", shown(&command)))
}

/// Says how a target did, and all that it said if it failed.
fn judged(name: &str, output: &Output) -> Counts {
    let said = String::from_utf8_lossy(&output.stderr);
    let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let runs = runs.and_then(|runs| runs.trim().parse::<u64>().ok()).unwrap_or_default();
    if output.status.success() && runs > 0 {
        println!("fuzz target {name}: {runs} inputs");
        return Counts { passed: 1, failed: 0 };
    }
    println!("{said}\nfuzz target {name}: failed, {}", output.status);
    Counts { passed: 0, failed: 1 }
}
