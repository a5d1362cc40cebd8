//! Programs that come from the distribution.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{find_program, is_root, run};

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
struct Needed {
    program: &'static str,
    package: &'static str,
}

const NEEDED: [Needed; 8] = [
    Needed { program: "chromium", package: "chromium" },
    Needed { program: "chromedriver", package: "chromium-driver" },
    Needed { program: "mariadbd", package: "mariadb-server" },
    Needed { program: "pg_ctl", package: "postgresql" },
    Needed { program: "java", package: "openjdk-17-jre-headless" },
    Needed { program: "mvn", package: "maven" },
    Needed { program: "unzip", package: "unzip" },
    Needed { program: "nginx", package: "nginx-light" },
];

/// What the proxy is measured beside.
const MEASURED: [Needed; 2] =
    [Needed { program: "nginx", package: "nginx-light" }, Needed { program: "haproxy", package: "haproxy" }];

/// What libFuzzer is compiled with.
const FUZZED: [Needed; 1] = [Needed { program: "c++", package: "g++" }];

/// Installs what tests need and is missing with `apt-get` as root, else says what to install.
pub(crate) fn install() -> Result<()> {
    install_missing(&NEEDED)
}

/// The same for what the proxy is measured beside.
pub(crate) fn install_measured() -> Result<()> {
    install_missing(&MEASURED)
}

/// The same for fuzzing.
pub(crate) fn install_fuzzed() -> Result<()> {
    install_missing(&FUZZED)
}

fn install_missing(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&str> =
        needed.iter().filter(|need| !present(need.program)).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || find_program("apt-get").is_none() {
        bail!("these programs are missing; install them and try again: {}", missing.join(" "));
    }
    // A stale list of packages names versions that the archive has dropped, so it is refreshed first.
    run(apt().arg("update"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends"]).args(&missing))?;
    let still: Vec<&str> =
        needed.iter().filter(|need| !present(need.program)).map(|need| need.program).collect();
    if !still.is_empty() {
        bail!("installed, and yet not found: {}", still.join(" "));
    }
    Ok(())
}

fn present(program: &str) -> bool {
    if program == "pg_ctl" {
        crate::databases::postgres_programs().is_some()
    } else {
        find_program(program).is_some()
    }
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
    command
}
