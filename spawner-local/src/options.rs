//! The table `[spawner.local]`.

use std::time::Duration;

use hub_core::plugin::DurationText;
use hub_core::{PluginError, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest time that one step of a stop may take: an hour.
const LONGEST_STEP: Duration = Duration::from_hours(1);
/// Bounds of `log_size` in bytes: 16 KiB to 1 GiB.
const LOG_SIZES: std::ops::RangeInclusive<u64> = 16 * 1024..=1 << 30;

/// Options of the local spawner; names and defaults are those of stock's traits where stock has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LocalOptions {
    /// A shell and its arguments that run the command, for example `["bash", "-l", "-c"]`; the command is appended
    /// as one quoted argument. A shell reads files of the person, who so decides what really runs.
    pub shell_cmd: Vec<String>,
    /// Whether a server runs under the system account with the person's name.
    pub switch_user: SwitchUser,
    /// Home directory for everybody, made when missing, with `{username}` filled in, for example
    /// `/srv/home/{username}`. Set, the person needs no system account. Without the placeholder all people share one
    /// home, which is allowed, as in stock, and warned of.
    pub home_dir_template: Option<String>,
    /// How long a server may take to end after SIGINT before it gets SIGTERM.
    #[serde(with = "DurationText")]
    pub interrupt_timeout: Duration,
    /// How long a server may take to end after SIGTERM before it gets SIGKILL.
    #[serde(with = "DurationText")]
    pub term_timeout: Duration,
    /// How long the system may take to end a server after SIGKILL before the stop fails.
    #[serde(with = "DurationText")]
    pub kill_timeout: Duration,
    /// Whether a stop also ends what left the server's session: kernels of a server that crashed, jobs that were
    /// started with `nohup` or `setsid` in a terminal. Stock leaves these alone.
    pub stop_detached: bool,
    /// Size in bytes that a server's log may reach before its older half is put aside. Three files of this size
    /// are kept at most: the running one, what it put aside, and the log of the run before.
    pub log_size: u64,
}

/// When a server runs under the person's system account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SwitchUser {
    /// When the hub runs as root and no `home_dir_template` is set, as stock's two spawners do.
    #[default]
    Auto,
    /// Never: every server runs under the hub's account, and no server is protected from another.
    Never,
    /// Always; the hub must run as root.
    Always,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            shell_cmd: Vec::new(),
            switch_user: SwitchUser::Auto,
            home_dir_template: None,
            interrupt_timeout: Duration::from_secs(30),
            term_timeout: Duration::from_secs(30),
            kill_timeout: Duration::from_secs(5),
            stop_detached: true,
            log_size: 1024 * 1024,
        }
    }
}

impl LocalOptions {
    /// Whether servers run as root because nobody said under which account they shall.
    pub(crate) fn gives_root_unasked(&self, root: bool) -> bool {
        root && self.switch_user == SwitchUser::Auto && self.home_dir_template.is_some()
    }

    /// Every problem of these options for a hub that does or does not run as root. `path` is that of the table.
    pub fn validate(&self, path: &str, root: bool) -> Result<(), PluginError> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, text: String| {
            problems.push(Problem::new(format!("{path}.{key}"), text));
        };
        if self.shell_cmd.first().is_some_and(String::is_empty) {
            wrong("shell_cmd", "the first entry is the shell and may not be empty".to_owned());
        }
        if self.switch_user == SwitchUser::Always && !root {
            wrong(
                "switch_user",
                "\"always\" needs a hub that runs as root; use \"auto\" or \"never\"".to_owned(),
            );
        }
        if let Some(template) = &self.home_dir_template {
            check_template(template).unwrap_or_else(|text| wrong("home_dir_template", text));
        }
        for (key, value) in [
            ("interrupt_timeout", self.interrupt_timeout),
            ("term_timeout", self.term_timeout),
            ("kill_timeout", self.kill_timeout),
        ] {
            if value > LONGEST_STEP {
                wrong(key, "may be one hour at most".to_owned());
            }
        }
        if self.kill_timeout.is_zero() {
            wrong("kill_timeout", "must be longer than 0: even SIGKILL takes a moment".to_owned());
        }
        if !LOG_SIZES.contains(&self.log_size) {
            wrong("log_size", format!("must be between {} and {} bytes", LOG_SIZES.start(), LOG_SIZES.end()));
        }
        PluginError::check(problems)
    }
}

fn check_template(template: &str) -> Result<(), String> {
    if !template.starts_with('/') {
        return Err(format!("{template:?} must be an absolute path"));
    }
    let rest = template.replace("{username}", "");
    if rest.contains(['{', '}']) {
        return Err(format!("{template:?} may only contain the placeholder {{username}}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_are_valid_for_everybody() {
        for root in [false, true] {
            assert_eq!(LocalOptions::default().validate("spawner.local", root), Ok(()));
        }
    }

    #[test]
    fn durations_may_be_text_or_seconds() {
        let options: LocalOptions =
            serde_json::from_value(json!({"interrupt_timeout": "1m30s", "term_timeout": 5})).unwrap();
        assert_eq!(options.interrupt_timeout, Duration::from_secs(90));
        assert_eq!(options.term_timeout, Duration::from_secs(5));
    }

    #[test]
    fn every_problem_is_told_with_its_key() {
        let options = LocalOptions {
            shell_cmd: vec![String::new()],
            switch_user: SwitchUser::Always,
            home_dir_template: Some("home/{user}".to_owned()),
            interrupt_timeout: Duration::from_secs(4_000),
            kill_timeout: Duration::ZERO,
            log_size: 1,
            ..LocalOptions::default()
        };
        let problems = options.validate("spawner.local", false).unwrap_err().problems;
        let keys: Vec<&str> = problems.iter().filter_map(|p| p.key.strip_prefix("spawner.local.")).collect();
        assert_eq!(
            keys,
            [
                "shell_cmd",
                "switch_user",
                "home_dir_template",
                "interrupt_timeout",
                "kill_timeout",
                "log_size"
            ]
        );
    }

    #[test]
    fn a_home_template_is_an_absolute_path_with_no_other_placeholder() {
        for (template, good) in [
            ("/srv/{username}", true),
            ("/srv/home", true),
            ("/srv/{username}/{x}", false),
            ("{username}", false),
        ] {
            assert_eq!(check_template(template).is_ok(), good, "{template}");
        }
    }

    #[test]
    fn homes_without_a_word_about_accounts_give_root_away_on_a_hub_of_root_only() {
        let with = |switch_user, home: Option<&str>| LocalOptions {
            switch_user,
            home_dir_template: home.map(str::to_owned),
            ..LocalOptions::default()
        };
        let homes = Some("/srv/home/{username}");
        assert!(with(SwitchUser::Auto, homes).gives_root_unasked(true));
        assert!(!with(SwitchUser::Auto, homes).gives_root_unasked(false));
        assert!(!with(SwitchUser::Auto, None).gives_root_unasked(true));
        assert!(!with(SwitchUser::Never, homes).gives_root_unasked(true));
        assert!(!with(SwitchUser::Always, homes).gives_root_unasked(true));
    }
}
