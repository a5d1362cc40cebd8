//! What the commands do, whichever command line they come from.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use himalia::app;
use himalia::registry::Registry;
use hub_config::{KnownPlugins, Loaded};
use hub_db::schema::Precaution;

use super::failure::{self, Failure};
use super::logging;
use super::sources::{self, Settings};

/// Which parts run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Hub and proxy.
    Serve,
    /// The hub.
    Hub,
    /// The proxy.
    Proxy,
}

/// The plugins that this program was built with.
pub(super) fn plugins() -> KnownPlugins {
    app::plugins()
}

/// Runs until it is told to stop.
pub(super) fn run(settings: &Settings, role: Role) -> Result<(), Failure> {
    let loaded = start(settings)?;
    let origins = loaded.origins.clone();
    let done = match role {
        Role::Serve => app::run(loaded, app::Mode::Serve),
        Role::Hub => app::run(loaded, app::Mode::Hub),
        Role::Proxy => app::run_proxy(loaded),
    };
    done.map_err(|error| Failure::located(error, &origins))
}

/// Loads the configuration, begins to log and logs what is doubtful.
pub(super) fn start(settings: &Settings) -> Result<Loaded, Failure> {
    let loaded = settings.load()?;
    logging::start(&loaded.config.logging)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

/// `config check`.
pub(super) fn check(settings: &Settings, files: Vec<PathBuf>) -> Result<(), Failure> {
    let loaded = if files.is_empty() { settings.load()? } else { sources::load_files(files)? };
    loaded.warnings.iter().for_each(failure::warn);
    app::check(&loaded).map_err(|error| Failure::located(error, &loaded.origins))?;
    print("no mistakes found\n")
}

/// `config show`.
pub(super) fn show(settings: &Settings) -> Result<(), Failure> {
    let loaded = settings.load()?;
    loaded.warnings.iter().for_each(failure::warn);
    print(&hub_config::show(&loaded))
}

/// `config schema`.
pub(super) fn schema() -> Result<(), Failure> {
    let schema = hub_config::json_schema(Registry::built_in().tables());
    let text = serde_json::to_string_pretty(&schema).context("the schema cannot be printed")?;
    print(&(text + "\n"))
}

/// `config reference`.
pub(super) fn reference() -> Result<(), Failure> {
    print(&hub_config::reference::markdown())
}

/// `token`.
pub(super) fn token(settings: &Settings, user: Option<String>) -> Result<(), Failure> {
    // the variables and their order are those of Python's getpass, which stock asks
    let session =
        || ["LOGNAME", "USER", "LNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = user.or_else(session).ok_or_else(|| {
        Failure::usage("for whom should the token be?", "name the user: himalia token NAME")
    })?;
    let loaded = start(settings)?;
    let token = app::token(loaded, &user)?;
    print(&(token + "\n"))
}

/// `upgrade-db`. The way back goes to standard output.
pub(super) fn upgrade_db(settings: &Settings, no_backup: bool) -> Result<(), Failure> {
    let loaded = start(settings)?;
    let precaution = if no_backup { Precaution::None } else { Precaution::Backup };
    match app::upgrade_db(loaded, precaution)? {
        Some(script) => print(&script),
        None => Ok(()),
    }
}

/// `version`.
pub(super) fn version() -> Result<(), Failure> {
    print(&format!(
        "himalia {} (speaks JupyterHub {})\n",
        env!("CARGO_PKG_VERSION"),
        himalia::JUPYTERHUB_VERSION
    ))
}

/// Invoked as `configurable-http-proxy`.
pub(super) fn configurable_http_proxy(arguments: Vec<OsString>) -> Result<(), Failure> {
    Ok(app::configurable_http_proxy(arguments)?)
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output").into())
        }
        _ => Ok(()),
    }
}
