//! Singleuser servers as local processes. Answers to stock's `LocalProcessSpawner` and, with `home_dir_template`,
//! to its `SimpleLocalProcessSpawner`.
//!
//! A server is started in two steps, so that no orphan is possible. The hub starts a helper (its own program, see
//! [`launcher`]), stores the helper's process id, and only then sends it what to run; the helper leaves the hub's
//! session, becomes the user and turns into the server, keeping its process id. A helper whose hub dies before that
//! reads the end of its input and ends. All processes of a run carry `HIMALIA_LAUNCH` in their environment, by
//! which a stop also finds those that left the server's session.
//!
//! Servers do not depend on the hub once they run: own session, output into a file. The state stored per server
//! is stock's `{"pid": N}` and some keys more, which stock ignores; a state that stock wrote is understood.
//!
//! Linux only: it reads `/proc`.

mod account;
mod binding;
mod certificates;
mod faults;
mod launch;
pub mod launcher;
mod left;
mod log;
mod options;
mod port;
mod procfs;
mod registry;
mod run_as;
mod signals;
mod spawner;
mod start;
mod state;
mod stop;
mod watch;

use std::sync::Arc;

use hub_core::plugin::{options_schema, read_options};
use hub_core::{PluginError, Spawner, SpawnerContext, SpawnerPlugin};
use serde_json::Value;

pub use options::{LocalOptions, SwitchUser};
pub use run_as::{CommandOf, RunAs, RunAsError};
pub use spawner::LocalSpawner;

/// The `kind`.
const NAME: &str = "local";

/// The spawner of kind `local`.
pub fn plugin() -> SpawnerPlugin {
    SpawnerPlugin { name: NAME, build, describe: options_schema::<LocalOptions> }
}

fn build(options: Value, cx: &SpawnerContext) -> Result<Arc<dyn Spawner>, PluginError> {
    let options: LocalOptions = read_options(options, &format!("{}.{NAME}", cx.section))?;
    Ok(Arc::new(LocalSpawner::new(options, cx)?))
}
