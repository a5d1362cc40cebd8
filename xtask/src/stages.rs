//! `cargo xtask test`: the stages in order, cheap ones first, with a closing table and counts.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::cache::Cache;
use crate::command::{self, cargo, in_ci, is_root, release_build, run, shown, workspace};
use crate::counts::{self, Counts};
use crate::databases::Databases;
use crate::environments::{self, Environments};
use crate::{examples, kubebed};

/// The folder of the program that runs JupyterHub's own tests, if it is not `../shared/conformance`.
const RUNNER: &str = "HIMALIA_CONFORMANCE_RUNNER";

/// More failed tests than these are no accident of a busy machine.
const AT_MOST_AGAIN: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Stages to run; all but `reference`, `keycloak-long` and those of `kubernetes` when none is named
    stages: Vec<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Stage {
    /// `cargo fmt --check`
    Format,
    /// Clippy on all targets, warnings denied
    Clippy,
    /// `cargo doc`, warnings denied
    Doc,
    /// Unit and integration tests of all crates, on three databases
    Unit,
    /// `config check` on every example configuration
    Examples,
    /// The release binary with browser, real servers and the stock hub beside it
    E2e,
    /// The same requests to the release binary and to the stock hub side by side
    Differential,
    /// The tests of `e2e` against the stock hub, which shows that they ask for what it does
    Reference,
    /// Tokens of a minute and an outage of two minutes of a real Keycloak
    KeycloakLong,
    /// Servers as pods of a real Kubernetes API server, beside the stock hub with KubeSpawner
    Kubernetes,
    /// Outages of that API server which take minutes
    KubernetesLong,
    /// Thousands of servers as pods
    KubernetesScale,
    /// JupyterHub's own tests against the release binary
    Conformance,
}

impl Stage {
    const DEFAULT: [Self; 8] = [
        Self::Format,
        Self::Clippy,
        Self::Doc,
        Self::Unit,
        Self::Examples,
        Self::E2e,
        Self::Differential,
        Self::Conformance,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Unit => "unit",
            Self::Examples => "examples",
            Self::E2e => "e2e",
            Self::Differential => "differential",
            Self::Reference => "reference",
            Self::KeycloakLong => "keycloak-long",
            Self::Kubernetes => "kubernetes",
            Self::KubernetesLong => "kubernetes-long",
            Self::KubernetesScale => "kubernetes-scale",
            Self::Conformance => "conformance",
        }
    }

    fn needs_environments(self) -> bool {
        !matches!(self, Self::Format | Self::Clippy | Self::Doc | Self::Examples)
    }

    fn needs_release(self) -> bool {
        matches!(
            self,
            Self::Examples
                | Self::E2e
                | Self::Differential
                | Self::KeycloakLong
                | Self::Kubernetes
                | Self::KubernetesLong
                | Self::KubernetesScale
                | Self::Conformance
        )
    }
}

/// One line of the closing table.
#[derive(Debug)]
struct Row {
    name: &'static str,
    took: Duration,
    counts: Counts,
    ok: bool,
}

/// Runs the stages, each even when an earlier one failed, so that one run shows everything.
///
/// The counts are the last line printed, also of a failed run, so failure is an exit code and not an error.
pub(crate) fn test(args: &TestArgs) -> Result<ExitCode> {
    let mut stages = if args.stages.is_empty() { Stage::DEFAULT.to_vec() } else { args.stages.clone() };
    stages.sort_unstable();
    stages.dedup();
    let cache = Cache::open()?;
    // In continuous integration two clones share one target folder, and with it the binaries under test.
    let _target = if in_ci() { Some(cache.lock("target")?) } else { None };
    let mut bed = TestBed {
        target: target(&cache)?,
        variables: Vec::new(),
        environments: None,
        remarks: Vec::new(),
        cache,
    };
    let mut rows = Vec::new();
    if stages.iter().any(|stage| stage.needs_environments()) {
        rows.push(timed("environments", || bed.prepare().map(|()| Counts::default())));
    }
    let mut released = false;
    for stage in stages {
        if stage.needs_release() && !released {
            rows.push(timed("release build", || bed.release().map(|()| Counts::default())));
            released = true;
        }
        rows.push(timed(stage.name(), || bed.stage(stage)));
    }
    print_table(&rows, &bed.remarks);
    Ok(if rows.iter().all(|row| row.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn target(cache: &Cache) -> Result<PathBuf> {
    let told = std::env::var_os("CARGO_TARGET_DIR").is_some();
    if in_ci() && !told { cache.target() } else { Ok(command::target()) }
}

fn timed(name: &'static str, stage: impl FnOnce() -> Result<Counts>) -> Row {
    println!("\n=== {name}");
    let start = Instant::now();
    let (counts, ok) = match stage() {
        Ok(counts) => (counts, counts.failed == 0),
        Err(error) => {
            println!("=== {name} failed: {error:#}");
            (Counts { passed: 0, failed: 1 }, false)
        }
    };
    Row { name, took: start.elapsed(), counts, ok }
}

/// The remarks come before the total, which is the last line.
fn print_table(rows: &[Row], remarks: &[String]) {
    let mut total = Counts::default();
    println!("\n{:<14}{:>9}{:>9}{:>9}", "stage", "seconds", "passed", "failed");
    for row in rows {
        total += row.counts;
        let mark = if row.ok { "" } else { "  FAILED" };
        let Row { name, took, counts, .. } = row;
        println!("{name:<14}{:>9.1}{:>9}{:>9}{mark}", took.as_secs_f64(), counts.passed, counts.failed);
    }
    let seconds: f64 = rows.iter().map(|row| row.took.as_secs_f64()).sum();
    println!("{:<14}{seconds:>9.1}{:>9}{:>9}", "total", total.passed, total.failed);
    println!();
    for remark in remarks {
        println!("{remark}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
}

/// What stages share: where cargo builds, and what the tests are told.
#[derive(Debug)]
struct TestBed {
    target: PathBuf,
    variables: Vec<(&'static str, String)>,
    environments: Option<Environments>,
    /// Lines for the end of the run, beside the counts.
    remarks: Vec<String>,
    cache: Cache,
}

impl TestBed {
    fn prepare(&mut self) -> Result<()> {
        let environments = environments::prepare_all(&self.cache)?;
        self.variables = environments.variables();
        self.environments = Some(environments);
        Ok(())
    }

    fn stage(&mut self, stage: Stage) -> Result<Counts> {
        if stage.needs_environments() && self.environments.is_none() {
            bail!("the environments could not be made, see above");
        }
        match stage {
            Stage::Format => run(self.cargo().args(["fmt", "--all", "--check"]))?,
            Stage::Clippy => {
                run(self.cargo().args([
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--features",
                    "hub-proxy/fuzzing",
                    "--",
                    "--deny",
                    "warnings",
                ]))?;
                self.fuzz_targets()?;
            }
            Stage::Doc => run(self
                .cargo()
                .args(["doc", "--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "--deny warnings"))?,
            Stage::Unit => return self.unit(),
            Stage::Examples => return examples::check(&self.target.join("release/himalia")),
            Stage::E2e => {
                return self.end_to_end(&["e2e::", "--skip", "::reference", "--skip", "::long"], "himalia");
            }
            Stage::Differential => return self.differential(),
            Stage::Reference => {
                return self.end_to_end(&["::reference", "--skip", "kubernetes::"], "reference");
            }
            Stage::KeycloakLong => return self.tests(&["--test", "end_to_end"], &["e2e::keycloak::long"]),
            Stage::Kubernetes => {
                let others = ["--skip", "kubernetes::long::", "--skip", "kubernetes::scale::"];
                return self.kubernetes(&[&["kubernetes::"], &others[..]].concat(), "2");
            }
            Stage::KubernetesLong => return self.kubernetes(&["kubernetes::long::"], "2"),
            // What is measured has the machine for itself, and says what it has measured.
            Stage::KubernetesScale => return self.kubernetes(&["kubernetes::scale::", "--nocapture"], "1"),
            Stage::Conformance => return self.conformance(),
        }
        Ok(Counts::default())
    }

    /// Whether the targets of `fuzz/`, a workspace of its own, fit what they call. What they are linked with in a real
    /// run takes a C++ compiler a while, and is not needed for that.
    fn fuzz_targets(&self) -> Result<()> {
        // The same versions as everywhere, so that nothing is compiled for them alone.
        let folder = self.target.join("fuzz");
        std::fs::create_dir_all(&folder)?;
        let fuzz = workspace().join("fuzz");
        std::fs::copy(workspace().join("Cargo.lock"), fuzz.join("Cargo.lock"))?;
        run(self
            .cargo()
            .args(["check", "--manifest-path"])
            .arg(fuzz.join("Cargo.toml"))
            .env("CUSTOM_LIBFUZZER_PATH", folder.join("libfuzzer.a")))
    }

    /// Everything but the modules `e2e`, `differential` and `kubernetes`.
    fn unit(&mut self) -> Result<Counts> {
        let others = ["--skip", "e2e::", "--skip", "differential::", "--skip", "kubernetes::"];
        let mut counts = self.tests(&["--no-fail-fast"], &others)?;
        if is_root() {
            counts += self.tests(&["--no-fail-fast", "--tests"], &["--ignored", "as_root::"])?;
        }
        Ok(counts)
    }

    /// `which` are the filters of the test binary, `hub` the last word of the modules with tests of that hub.
    fn end_to_end(&mut self, which: &[&str], hub: &str) -> Result<Counts> {
        let binary = ["--test", "end_to_end"];
        let mut counts =
            self.tests(&binary, &[which, &["--skip", "e2e::hundred", "--test-threads", "2"]].concat())?;
        // A hundred servers at once leave no time for anything beside them.
        counts += self.tests(&binary, &[&format!("e2e::hundred::{hub}")])?;
        Ok(counts)
    }

    /// The count of requests is printed by the tests themselves.
    fn differential(&mut self) -> Result<Counts> {
        let filter = ["differential::", "--skip", "::reference_", "--test-threads", "2", "--nocapture"];
        self.tests(&["--test", "end_to_end"], &filter)
    }

    /// Runs Rust tests with databases at hand. All calls of `cargo test` name the whole workspace, because cargo would
    /// build the dependencies of a part of it once more, with fewer features.
    ///
    /// A few failed tests are run once more by themselves, and those that then pass are named at the end of the run: a
    /// machine that is busy with other work shall not hide what the change under test did.
    fn tests(&mut self, binaries: &[&str], filter: &[&str]) -> Result<Counts> {
        let databases = Databases::start()?;
        let command = |filter: &[&str]| {
            let mut command = self.cargo();
            command
                .args(["test", "--workspace"])
                .args(binaries)
                .arg("--")
                .args(filter)
                .envs(databases.variables());
            command
        };
        let mut failed = Vec::new();
        let counts = counted_lines(&mut command(filter), |line| failed.extend(counts::failed_test(line)))?;
        if failed.is_empty() || failed.len() > AT_MOST_AGAIN || failed.len() as u64 != counts.failed {
            return Ok(counts);
        }
        println!("\n=== once more, by themselves: {}", failed.join(" "));
        let names: Vec<_> = failed.iter().map(String::as_str).collect();
        let again = counted(&mut command(
            &[&["--include-ignored", "--exact", "--test-threads", "1"], &names[..]].concat(),
        ))?;
        if again.failed > 0 || again.passed < counts.failed {
            return Ok(counts);
        }
        self.remarks.push(format!("failed at first, passed when run again: {}", failed.join(" ")));
        Ok(Counts { passed: counts.passed + counts.failed, failed: 0 })
    }

    /// Servers as pods. The tests of the stock hub run here too: what they compare with is then known to be so.
    fn kubernetes(&mut self, which: &[&str], at_once: &str) -> Result<Counts> {
        self.variables.extend(kubebed::prepare(&self.cache)?);
        self.tests(&["--test", "end_to_end"], &[which, &["--test-threads", at_once]].concat())
    }

    /// JupyterHub's own tests. The program that runs them is no part of the project: where it is missing, the stage
    /// says so at the end of the run and counts nothing.
    fn conformance(&mut self) -> Result<Counts> {
        let runner = std::env::var_os(RUNNER)
            .map_or_else(|| workspace().join("../shared/conformance"), PathBuf::from)
            .join("run.py");
        if !runner.is_file() {
            let remark =
                format!("conformance: upstream: skipped, there is no {} ({RUNNER})", runner.display());
            println!("{remark}");
            self.remarks.push(remark);
            return Ok(Counts::default());
        }
        let environments = self.environments.as_ref().context("the environments could not be made")?;
        let python = environments::conformance(&self.cache)?.join("bin/python");
        let hub = format!("{} serve --config {{config}}", self.target.join("release/himalia").display());
        let mut command = Command::new(python);
        command
            .arg("-B")
            .arg(runner)
            .args(["--hub-cmd", &hub, "--config-module"])
            .arg(workspace().join("tests/conformance/config.py"))
            .args(["--jobs", "2", "--label", "himalia", "--out"])
            .arg(self.target.join("conformance"))
            .env("UPSTREAM_CHP_BIN", environments.chp.parent().context("a program lies in a folder")?)
            .env("UPSTREAM_CHROMIUM", &environments.chromium);
        let remarks = &mut self.remarks;
        counted_lines(&mut command, |line| {
            if line.starts_with("upstream: ") {
                remarks.push(format!("conformance: {line}"));
            }
        })
    }

    fn release(&self) -> Result<()> {
        run(release_build(&mut self.cargo()))
    }

    fn cargo(&self) -> Command {
        let mut command = cargo();
        command
            .env("CARGO_TARGET_DIR", &self.target)
            // An error of a test says what happened; the way through the runtime's frames says nothing more.
            .env("RUST_LIB_BACKTRACE", "0")
            .env("HIMALIA_TEST_BINARY", self.target.join("release/himalia"))
            .env("HIMALIA_TEST_LIGHT_SINGLEUSER", self.target.join("release/light-singleuser"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if in_ci() {
            // What an incremental build keeps is of use only to a second build of the same clone.
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }
}

/// Runs a command that states test counts, passing its output on.
///
/// # Errors
/// When it fails without any failed test, which is a failure to build or to run.
fn counted(command: &mut Command) -> Result<Counts> {
    counted_lines(command, |_| ())
}

/// [`counted`] that also shows each line to `look`.
fn counted_lines(command: &mut Command, mut look: impl FnMut(&str)) -> Result<Counts> {
    eprintln!("+ {}", shown(command));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let stdout = child.stdout.take().context("the command has no output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        look(&line);
        if let Some(more) = Counts::in_line(&line) {
            counts += more;
        }
    }
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        bail!("`{}` ended with {status}", shown(command));
    }
    if counts == Counts::default() {
        bail!("`{}` ran no test", shown(command));
    }
    Ok(counts)
}
