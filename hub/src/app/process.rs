//! What a process of this program can be: hub, proxy, or a short command on the database.

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use hub_config::{KnownPlugins, Loaded};
use hub_core::secret::random_hex32;
use hub_core::token::GENERATED_ROUNDS;
use hub_core::{Clock as _, SystemClock};
use hub_db::schema::{Backup, Precaution};
use hub_db::{Db, repo};
use hub_proxy::options::chp::ChpArgs;
use tracing::info;

use super::{Mode, listen, parts, startup};
use crate::auth::names::NameRules;
use crate::rbac::{HUB_CLIENT, roles};
use crate::registry::Registry;

/// The plugins that this program was built with.
pub fn plugins() -> KnownPlugins {
    let registry = Registry::built_in();
    KnownPlugins {
        authenticators: registry
            .authenticators
            .iter()
            .map(|plugin| plugin.name)
            .chain([crate::auth::chain::KIND])
            .map(str::to_owned)
            .collect(),
        spawners: registry.spawners.iter().map(|plugin| plugin.name.to_owned()).collect(),
    }
}

/// Finds what is wrong with the options of the plugins that a configuration chooses, which only they can tell.
pub fn check(loaded: &Loaded) -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Plugins are built where there is a runtime, as in a hub.
    on_runtime(async { parts::check(&loaded.config, &Registry::built_in()) })
}

/// Runs something on a runtime of its own.
fn on_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(work);
    // Whatever still blocks (a file, a name look-up) must not keep the process.
    runtime.shutdown_background();
    result
}

/// Runs the hub until it is told to stop.
///
/// Without a system of actix's own: its workers then use this runtime's reactor and timers. A database connection that
/// one of them opens would else depend on that worker's thread for as long as the connection lives, whoever uses it.
pub fn run(loaded: Loaded, mode: Mode) -> anyhow::Result<()> {
    // One provider of cryptography for everything that speaks TLS; a second installation is no harm.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    on_runtime(startup::run(loaded, mode))
}

/// Runs the proxy alone, as configured under `[proxy]`, with configurable-http-proxy's REST API.
pub fn run_proxy(loaded: Loaded) -> anyhow::Result<()> {
    on_runtime(listen::run_proxy(loaded))
}

/// The command line of `configurable-http-proxy`.
#[derive(Debug, clap::Parser)]
#[command(
    name = "configurable-http-proxy",
    version,
    about = "A reverse proxy whose routes are set by a REST API"
)]
struct ChpFlags {
    #[command(flatten)]
    flags: ChpArgs,
}

/// Runs as the program `configurable-http-proxy`.
pub fn configurable_http_proxy(arguments: Vec<OsString>) -> anyhow::Result<()> {
    let flags = ChpFlags::parse_from(arguments).flags;
    let code = on_runtime(async move { Ok(hub_proxy::options::chp::run_chp(flags).await?) })?;
    if code == ExitCode::SUCCESS { Ok(()) } else { std::process::exit(2) }
}

/// The database of a configuration, for commands that need nothing else.
async fn database(loaded: &Loaded) -> anyhow::Result<Db> {
    Ok(Db::connect(parts::db_options(&loaded.config.db)).await?)
}

/// Makes an API token for a user and returns it. Answers to `jupyterhub token`.
pub fn token(loaded: Loaded, user: &str) -> anyhow::Result<String> {
    on_runtime(async move {
        let section = &loaded.config.authenticator;
        let names = NameRules::new(section.username_map.clone(), &section.username_pattern)?;
        let name = names.normalize(user);
        let db = database(&loaded).await?;
        hub_db::schema::create(&db).await?;
        repo::oauth::ensure_hub_client(db.conn()).await?;
        let Some(user) = repo::users::by_name(db.conn(), &name).await? else {
            bail!("there is no user {name:?}; people get into the database when they log in, or by the API");
        };
        let text = random_hex32();
        let new = repo::tokens::NewToken {
            owner: repo::Owner::User(user.id),
            rounds: GENERATED_ROUNDS,
            client_id: HUB_CLIENT.to_owned(),
            scopes: roles::default_token_scopes(db.conn()).await?,
            note: "command-line generated".to_owned(),
            session_id: None,
            expires_at: None,
        };
        repo::tokens::create(db.conn(), &text, new, SystemClock.now()).await?;
        db.close().await?;
        Ok(text)
    })
}

/// Brings the database to the revision that this program works with, after a backup. Returns what leads back to it in
/// SQL, where it is one of tables.
pub fn upgrade_db(loaded: Loaded, precaution: Precaution) -> anyhow::Result<Option<String>> {
    on_runtime(async move {
        let db = database(&loaded).await?;
        let done = parts::upgrade(&db, precaution).await?;
        db.close().await?;
        let Some(done) = done else {
            info!("the database needs no upgrade");
            return Ok(None);
        };
        Ok(done.backup.and_then(|backup| match backup {
            Backup::Tables { script, .. } => Some(script),
            Backup::File(_) => None,
        }))
    })
}
