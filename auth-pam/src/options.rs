//! The table `[authenticator.pam]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hub_core::plugin::DurationText;
use hub_core::{PluginError, Problem};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::TABLE;

/// Name of the program that is linked to `libpam`.
const HELPER: &str = "himalia-pam";
/// Longest wait for PAM that can be set.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);

/// The options. Their names are those of stock's traits where there is one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PamOptions {
    /// Name of the file in `/etc/pam.d` that says how.
    pub service: String,
    /// Whether PAM is also asked if the account may be used: expired ones are refused.
    pub check_account: bool,
    /// Whether a PAM session is open while somebody has servers.
    pub open_sessions: bool,
    /// Groups of this machine whose members are administrators. With any, only they and `admin_users` are.
    pub admin_groups: Vec<String>,
    /// Groups of this machine whose members are let in.
    pub allowed_groups: Vec<String>,
    /// Whether the name is replaced by the one that the account has in the directory: several names of one account
    /// become one.
    pub pam_normalize_username: bool,
    /// How long PAM may take. Modules that slow down guessing need two or three seconds.
    #[serde(with = "DurationText")]
    pub timeout: Duration,
    /// The program `himalia-pam`; none: beside this program, else where `PATH` has it.
    pub helper: Option<PathBuf>,
}

impl Default for PamOptions {
    fn default() -> Self {
        Self {
            service: "login".to_owned(),
            check_account: true,
            open_sessions: false,
            admin_groups: Vec::new(),
            allowed_groups: Vec::new(),
            pam_normalize_username: false,
            timeout: Duration::from_secs(15),
            helper: None,
        }
    }
}

impl PamOptions {
    /// Every problem of these options.
    pub(crate) fn validate(&self) -> Result<(), PluginError> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, text: &str| problems.push(Problem::new(format!("{TABLE}.{key}"), text));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.service.is_empty() || self.service.starts_with('.') || !self.service.chars().all(plain) {
            wrong("service", "must be the name of a file in /etc/pam.d");
        }
        if self.timeout.is_zero() || self.timeout > LONGEST_TIMEOUT {
            wrong("timeout", "must be longer than 0 and a minute at most");
        }
        if self.helper.as_ref().is_some_and(|path| !path.is_file()) {
            wrong("helper", "there is no such program; it comes with this one under the name himalia-pam");
        } else if self.helper().is_none() {
            wrong(
                "helper",
                "himalia-pam is neither beside this program nor in PATH: install it, or say where it is",
            );
        }
        PluginError::check(problems)
    }

    /// The program that is linked to `libpam`.
    pub(crate) fn helper(&self) -> Option<PathBuf> {
        if let Some(path) = &self.helper {
            return Some(path.clone());
        }
        let own = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
        let path = std::env::var_os("PATH").unwrap_or_default();
        own.into_iter()
            .chain(std::env::split_paths(&path).filter(|folder| folder.is_absolute()))
            .map(|folder| folder.join(HELPER))
            .find(|file| file.is_file())
    }
}
