//! Where the programs are that tests run against. `cargo xtask test` prepares them and names them in variables.

use std::path::{Path, PathBuf};

/// A program or folder that a test may need, found through an environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Our binary; `himalia` beside the test binary when the variable is not set.
    Himalia,
    /// The stand-in for a single-user server; `light-singleuser` beside the test binary when the variable is not set.
    LightSingleuser,
    /// Virtual environment with JupyterHub 4.1.
    Venv41,
    /// Virtual environment with JupyterHub 5.4.
    Venv54,
    /// Virtual environment with JupyterHub 6.1, which is also the stock hub.
    Venv61,
    /// Virtual environment with services and clients of JupyterHub, and with schemathesis.
    VenvClients,
    /// The program `configurable-http-proxy`.
    Chp,
    /// A prepared Keycloak.
    Keycloak,
    /// The web server nginx.
    Nginx,
    /// The browser.
    Chromium,
    /// Its driver.
    Chromedriver,
}

impl Needed {
    fn variable(self) -> &'static str {
        match self {
            Self::Himalia => "HIMALIA_TEST_BINARY",
            Self::LightSingleuser => "HIMALIA_TEST_LIGHT_SINGLEUSER",
            Self::Venv41 => "HIMALIA_TEST_VENV_41",
            Self::Venv54 => "HIMALIA_TEST_VENV_54",
            Self::Venv61 => "HIMALIA_TEST_VENV_61",
            Self::VenvClients => "HIMALIA_TEST_VENV_CLIENTS",
            Self::Chp => "HIMALIA_TEST_CHP_BIN",
            Self::Keycloak => "HIMALIA_TEST_KEYCLOAK",
            Self::Nginx => "HIMALIA_TEST_NGINX",
            Self::Chromium => "HIMALIA_TEST_CHROMIUM",
            Self::Chromedriver => "HIMALIA_TEST_CHROMEDRIVER",
        }
    }

    fn beside_the_tests(self) -> Option<PathBuf> {
        let name = match self {
            Self::Himalia => "himalia",
            Self::LightSingleuser => "light-singleuser",
            _ => return None,
        };
        // Test binaries lie in target/PROFILE/deps, programs in target/PROFILE.
        Some(std::env::current_exe().ok()?.parent()?.parent()?.join(name)).filter(|path| path.exists())
    }

    /// Its place, if it is there.
    pub fn find(self) -> Option<PathBuf> {
        std::env::var_os(self.variable())
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
            .filter(|path| path.exists())
            .or_else(|| self.beside_the_tests())
    }

    /// Its place, which [`available`] has found before.
    ///
    /// # Panics
    /// When it is not there.
    pub fn path(self) -> PathBuf {
        self.find()
            .unwrap_or_else(|| panic!("{self:?} is not there: {} names no existing path", self.variable()))
    }
}

/// Whether a test can run. What is missing is a failure in continuous integration and a line on the screen otherwise.
///
/// # Panics
/// With `CI` set, when anything is missing.
pub fn available(needs: &[Needed]) -> bool {
    let missing: Vec<&str> =
        needs.iter().filter(|need| need.find().is_none()).map(|need| need.variable()).collect();
    if missing.is_empty() {
        return true;
    }
    not_run(&missing.join(", "));
    false
}

/// The URL of a database server on which a test may make databases, if there is one.
///
/// # Panics
/// With `CI` set, when there is none.
pub fn database_server(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        not_run(variable);
    }
    url
}

fn not_run(missing: &str) {
    let message = format!("not run: {missing} not set (`cargo xtask test` sets them)");
    assert!(std::env::var_os("CI").is_none_or(|value| value == "false" || value.is_empty()), "{message}");
    eprintln!("{message}");
}

/// Cargo's target folder, where screenshots and logs of failed runs go.
///
/// # Panics
/// When the test binary lies in no target folder.
pub fn target() -> PathBuf {
    let exe = std::env::current_exe().expect("a test binary has a path");
    let target = exe.ancestors().nth(3).map(Path::to_path_buf);
    target.expect("test binaries lie in target/PROFILE/deps")
}
