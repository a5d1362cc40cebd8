//! `himalia`'s own flags.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::api;
use super::commands::{self, Role};
use super::failure::Failure;
use super::sources::{Profile, Settings};

/// A JupyterHub-compatible hub, proxy and spawners in one program.
///
/// Without a command it is `serve`.
#[derive(Debug, Parser)]
#[command(name = "himalia", version, about, long_about, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Flags {
    /// Configuration file; may be given several times, later ones win [default: himalia.toml, if there is one]
    #[arg(short = 'f', long = "config", value_name = "FILE", global = true)]
    config: Vec<PathBuf>,
    /// From which importance on to log: trace, debug, info, warn or error
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// Sets any key of the configuration, for example spawner.start_timeout=5m; may be given several times
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
    /// The path below which everything lives
    #[arg(long, value_name = "PATH", global = true)]
    base_url: Option<String>,
    /// Where people connect, for example http://127.0.0.1:8000
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
    /// The host of that address
    #[arg(long, value_name = "IP", global = true)]
    ip: Option<String>,
    /// The port of that address
    #[arg(long, value_name = "PORT", global = true)]
    port: Option<String>,
    /// The database, for example sqlite:///jupyterhub.sqlite
    #[arg(long, value_name = "URL", global = true)]
    db: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run hub and proxy in one process
    Serve,
    /// Run the hub alone; the proxy is another process
    Hub,
    /// Run the proxy alone, controlled through its REST API
    Proxy,
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a new API token for a user of this hub's database; with a command, manage tokens of any hub
    Token(api::tokens::Tokens),
    /// Manage users of any hub, over its REST API
    User(api::users::Users),
    /// Start, stop and look at servers of any hub, over its REST API
    Server(api::servers::Servers),
    /// Manage groups of any hub, over its REST API
    Group(api::groups::Groups),
    /// Look at services of any hub, over its REST API
    Service(api::services::Services),
    /// Manage shares of servers of any hub, over its REST API
    Share(api::shares::Shares),
    /// Look at the audit log
    #[command(subcommand)]
    Audit(super::audit::AuditCommand),
    /// Bring the database of an older version up to date, after a backup
    ///
    /// The backup is a copy of a SQLite file, or copies of the tables inside PostgreSQL, MySQL or MariaDB; what leads
    /// back to these is printed as SQL.
    UpgradeDb {
        /// Go on without a backup: there is another one, or none is wanted
        #[arg(long)]
        no_backup: bool,
    },
    /// Print the version
    Version,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every mistake, with file and line
    Check {
        /// Files to check together, as if named with --config; environment and flags are then left out
        files: Vec<PathBuf>,
    },
    /// Print what is in effect, where each setting comes from, secrets masked
    Show,
    /// Print a JSON Schema for editors
    Schema,
    /// Print the reference of all keys as Markdown
    Reference,
}

pub(super) fn main(arguments: Vec<OsString>) -> Result<(), Failure> {
    let Arguments { flags, command } = Arguments::try_parse_from(arguments)?;
    let profile = match &command {
        Some(Command::Hub | Command::Proxy) => Profile::Plain,
        _ => Profile::QuickStart,
    };
    let command = command.unwrap_or(Command::Serve);
    // What speaks to a hub, or reads a file, does not look at the configuration of one.
    let settings = || flags.into_settings(profile);
    match command {
        Command::Serve => commands::run(&settings()?, Role::Serve),
        Command::Hub => commands::run(&settings()?, Role::Hub),
        Command::Proxy => commands::run(&settings()?, Role::Proxy),
        Command::Config(ConfigCommand::Check { files }) => commands::check(&settings()?, files),
        Command::Config(ConfigCommand::Show) => commands::show(&settings()?),
        Command::Config(ConfigCommand::Schema) => commands::schema(),
        Command::Config(ConfigCommand::Reference) => commands::reference(),
        Command::Token(tokens) if tokens.is_remote() => tokens.run(),
        Command::Token(tokens) => commands::token(&settings()?, tokens.user),
        Command::User(users) => users.run(),
        Command::Server(servers) => servers.run(),
        Command::Group(groups) => groups.run(),
        Command::Service(services) => services.run(),
        Command::Share(shares) => shares.run(),
        Command::Audit(command) => super::audit::run(command),
        Command::UpgradeDb { no_backup } => commands::upgrade_db(&settings()?, no_backup),
        Command::Version => commands::version(),
    }
}

impl Flags {
    fn into_settings(self, profile: Profile) -> Result<Settings, Failure> {
        let mut settings = Settings { files: self.config, overrides: Vec::new(), profile };
        for pair in self.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::usage(
                    format!("--set {pair} has no value"),
                    "write for example --set spawner.start_timeout=5m",
                ));
            };
            settings.put(key.trim(), value, format!("--set {}", key.trim()));
        }
        for (flag, key, value) in [
            ("--log-level", "logging.level", self.log_level),
            ("--base-url", "hub.base_url", self.base_url),
            ("--url", "proxy.bind_url", self.url),
            ("--ip", "proxy.ip", self.ip),
            ("--port", "proxy.port", self.port),
            ("--db", "db.url", self.db),
        ] {
            if let Some(value) = value {
                settings.put(key, value, flag);
            }
        }
        Ok(settings)
    }
}
