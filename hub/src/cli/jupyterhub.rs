//! The flags of stock's `jupyterhub` command, for scripts that start it. What has no counterpart is refused rather than
//! ignored.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Parser, Subcommand};

use super::commands::{self, Role};
use super::failure::Failure;
use super::pid_file::PidFile;
use super::sources::{Profile, Settings, refuse_python};

/// The file that stock reads when none is named.
const STOCK_FILE: &str = "jupyterhub_config.py";

/// Himalia, under the name and with the flags of JupyterHub.
///
/// Besides the flags below, --Class.trait=value sets what JupyterHub's trait sets.
#[derive(Debug, Parser)]
#[command(name = "jupyterhub", version = himalia::JUPYTERHUB_VERSION, about, long_about, disable_version_flag = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Arguments {
    /// Configuration file (TOML)
    #[arg(short = 'f', long = "config", value_name = "FILE", global = true)]
    config: Vec<PathBuf>,
    /// The database
    #[arg(long, value_name = "URL", global = true)]
    db: Option<String>,
    /// From which importance on to log: DEBUG, INFO, WARNING, ERROR or 10 to 50
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// The path below which everything lives
    #[arg(long, value_name = "PATH")]
    base_url: Option<String>,
    /// Answer every question with yes; there are none
    #[arg(short = 'y')]
    answer_yes: bool,
    /// File with the private key for HTTPS
    #[arg(long, value_name = "FILE")]
    ssl_key: Option<String>,
    /// File with the certificate for HTTPS
    #[arg(long, value_name = "FILE")]
    ssl_cert: Option<String>,
    /// Where people connect
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The host of that address
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// The port of that address
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// File for the number of the process
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE", hide = true)]
    log_file: Option<PathBuf>,
    /// Log in detail
    #[arg(long, global = true)]
    debug: bool,
    #[arg(long, hide = true)]
    generate_config: bool,
    #[arg(long, hide = true)]
    generate_certs: bool,
    /// Keep the database in memory
    #[arg(long)]
    no_db: bool,
    /// Bring the database up to date at start
    #[arg(long)]
    upgrade_db: bool,
    /// Does nothing
    #[arg(long)]
    no_ssl: bool,
    /// Print what is in effect, and where each setting comes from
    #[arg(long)]
    show_config: bool,
    #[arg(long, hide = true)]
    show_config_json: bool,
    /// Print help
    #[arg(long, action = ArgAction::HelpLong)]
    help_all: Option<bool>,
    /// Print the version of JupyterHub that this program is compatible with
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a new API token for a user that exists
    Token {
        /// Name of the user
        user: Option<String>,
    },
    /// Bring the database up to date, after a backup
    UpgradeDb {
        /// Go on without a backup
        #[arg(long)]
        no_backup: bool,
    },
}

pub(super) fn main(arguments: Vec<OsString>) -> Result<(), Failure> {
    let (arguments, traits) = take_traits(arguments)?;
    let arguments = Arguments::try_parse_from(arguments)?;
    refuse(&arguments)?;
    let mut settings =
        Settings { files: arguments.config.clone(), overrides: Vec::new(), profile: Profile::QuickStart };
    let mut pid_file = arguments.pid_file.clone();
    for (name, value) in traits {
        if name == "JupyterHub.pid_file" {
            pid_file = Some(PathBuf::from(value));
        } else if name == "JupyterHub.config_file" {
            settings.files.push(PathBuf::from(value));
        } else {
            put_trait(&mut settings, &name, &value)?;
        }
    }
    if settings.files.is_empty() && !Path::new("himalia.toml").exists() && Path::new(STOCK_FILE).exists() {
        // going on without it would start a hub with other rules than the ones written down
        refuse_python(Path::new(STOCK_FILE))?;
    }
    put_aliases(&mut settings, &arguments)?;
    if arguments.show_config {
        return commands::show(&settings);
    }
    match arguments.command {
        Some(Command::Token { user }) => commands::token(&settings, user),
        Some(Command::UpgradeDb { no_backup }) => commands::upgrade_db(&settings, no_backup),
        None => {
            let _pid_file = pid_file.map(PidFile::write).transpose()?;
            commands::run(&settings, Role::Serve)
        }
    }
}

fn refuse(arguments: &Arguments) -> Result<(), Failure> {
    let refused = [
        (arguments.log_file.is_some(), "--log-file", "redirect standard error instead: 2>FILE"),
        (arguments.generate_config, "--generate-config", "begin with: himalia config show > himalia.toml"),
        (
            arguments.generate_certs,
            "--generate-certs",
            "with hub.internal_ssl = true they are made when the hub starts",
        ),
        (arguments.show_config_json, "--show-config-json", "use --show-config, which prints TOML"),
    ];
    match refused.into_iter().find(|(given, ..)| *given) {
        Some((_, flag, hint)) => Err(Failure::usage(format!("{flag} has no counterpart here"), hint)),
        None => Ok(()),
    }
}

fn put_aliases(settings: &mut Settings, arguments: &Arguments) -> Result<(), Failure> {
    for (flag, key, value) in [
        ("--base-url", "hub.base_url", &arguments.base_url),
        ("--url", "proxy.bind_url", &arguments.url),
        ("--ip", "proxy.ip", &arguments.ip),
        ("--port", "proxy.port", &arguments.port),
        ("--db", "db.url", &arguments.db),
        ("--ssl-key", "proxy.ssl_key", &arguments.ssl_key),
        ("--ssl-cert", "proxy.ssl_cert", &arguments.ssl_cert),
    ] {
        if let Some(value) = value {
            settings.put(key, value, flag);
        }
    }
    if let Some(level) = &arguments.log_level {
        settings.put("logging.level", log_level(level)?, "--log-level");
    }
    for (flag, given, key, value) in [
        ("--debug", arguments.debug, "logging.level", "debug"),
        ("--no-db", arguments.no_db, "db.url", "sqlite:///:memory:"),
        ("--upgrade-db", arguments.upgrade_db, "db.upgrade_db", "true"),
    ] {
        if given {
            settings.put(key, value, flag);
        }
    }
    Ok(())
}

/// Python's names and numbers of log levels.
fn log_level(text: &str) -> Result<&'static str, Failure> {
    match text.to_ascii_uppercase().as_str() {
        "DEBUG" | "10" => Ok("debug"),
        "INFO" | "20" => Ok("info"),
        "WARN" | "WARNING" | "30" => Ok("warn"),
        "ERROR" | "CRITICAL" | "40" | "50" => Ok("error"),
        "TRACE" | "0" => Ok("trace"),
        _ => Err(Failure::usage(
            format!("{text:?} is no log level"),
            "one of DEBUG, INFO, WARNING, ERROR, CRITICAL, or 0 to 50 in tens",
        )),
    }
}

/// What clap is to see, and the traits with their values.
type Separated = (Vec<OsString>, Vec<(String, String)>);

/// Separates `--Class.trait=value` and `--Class.trait value` from the flags that clap knows.
fn take_traits(arguments: Vec<OsString>) -> Result<Separated, Failure> {
    let mut rest = Vec::new();
    let mut traits = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str().and_then(|text| text.strip_prefix("--")) else {
            rest.push(argument);
            continue;
        };
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        if !(name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains('.')) {
            rest.push(argument);
            continue;
        }
        let value = match text.split_once('=') {
            Some((_, value)) => value.to_owned(),
            None => arguments.next().and_then(|value| value.into_string().ok()).ok_or_else(|| {
                Failure::usage(format!("--{name} has no value"), format!("write --{name}=VALUE"))
            })?,
        };
        traits.push((name.to_owned(), value));
    }
    Ok((rest, traits))
}

fn put_trait(settings: &mut Settings, name: &str, value: &str) -> Result<(), Failure> {
    let flag = format!("--{name}");
    let Some(key) = hub_config::stock::key(name) else {
        return Err(Failure::usage(
            format!("{flag} has no counterpart here"),
            "`himalia config reference` lists all settings; --set takes any of them under the name himalia",
        ));
    };
    let value = match key.as_str() {
        "logging.level" => log_level(value)?.to_owned(),
        "authenticator.kind" | "spawner.kind" => hub_config::stock::kind(value).ok_or_else(|| {
            Failure::usage(
                format!("{flag}={value} has no counterpart here"),
                "Python classes cannot be loaded",
            )
        })?,
        _ => from_python(value),
    };
    settings.put(key, value, flag);
    Ok(())
}

/// Python's literals as TOML's: truth values and sets. Lists and texts in either quotes are the same in both.
fn from_python(value: &str) -> String {
    match value {
        "True" => "true".to_owned(),
        "False" => "false".to_owned(),
        "set()" => "[]".to_owned(),
        set if set.starts_with('{') && set.ends_with('}') && !set.contains(':') && set != "{}" => {
            format!("[{}]", set.trim_start_matches('{').trim_end_matches('}'))
        }
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(arguments: &[&str]) -> Vec<(String, String)> {
        let (_, traits) = take_traits(arguments.iter().map(OsString::from).collect()).unwrap();
        let mut settings = Settings { files: Vec::new(), overrides: Vec::new(), profile: Profile::Plain };
        for (name, value) in traits {
            put_trait(&mut settings, &name, &value).unwrap();
        }
        settings.overrides.into_iter().map(|one| (one.key, one.value)).collect()
    }

    #[test]
    fn traits_of_stock_become_keys() {
        let found = overrides(&[
            "jupyterhub",
            "--JupyterHub.spawner_class=simple",
            "--Spawner.cmd=['a', 'b']",
            "--Authenticator.admin_users",
            "{'ann', 'bob'}",
            "--JupyterHub.log_level=10",
            "--JupyterHub.cleanup_servers=False",
        ]);
        let expected = [
            ("spawner.kind", "local"),
            ("spawner.cmd", "['a', 'b']"),
            ("authenticator.admin_users", "['ann', 'bob']"),
            ("logging.level", "debug"),
            ("hub.cleanup_servers", "false"),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_trait_without_counterpart_is_refused() {
        let mut settings = Settings { files: Vec::new(), overrides: Vec::new(), profile: Profile::Plain };
        for (name, value) in
            [("JupyterHub.tornado_settings", "{}"), ("JupyterHub.authenticator_class", "my.Own")]
        {
            assert!(matches!(put_trait(&mut settings, name, value), Err(Failure::Usage { .. })), "{name}");
        }
    }

    #[test]
    fn flags_of_stock_are_well_formed() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
