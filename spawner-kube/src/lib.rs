//! Singleuser servers as pods. Answers to KubeSpawner 7.1.
//!
//! The pure part comes first: [`traits`] holds the options, [`Server`] makes names and manifests of them,
//! [`profiles`] the choices of people, [`status`] reads pods and [`events`] their progress. It talks to nobody, and
//! what it makes is equal to what stock makes, which `cargo xtask corpus` proves on recorded cases.
//!
//! Around it is what talks to a cluster: `cluster` asks, `view` watches, `life` starts, stops and finds again. Nothing
//! is remembered that the cluster or the saved state does not tell, so any hub can go on where another was killed.

mod blueprint;
pub mod causes;
mod cluster;
mod condition;
pub mod events;
pub mod fields;
mod life;
pub mod manifest;
mod options;
mod overrides;
mod patch;
mod pause;
pub mod profiles;
pub mod python;
mod registry;
mod schema;
mod server;
pub mod slug;
mod spawner;
mod state;
pub mod status;
pub mod traits;
mod view;

use std::sync::Arc;

use hub_core::{PluginError, Spawner, SpawnerContext, SpawnerPlugin};
use serde_json::Value;

pub use blueprint::{Blueprint, NAME, Planned};
pub use condition::{Asker, Condition};
pub use manifest::ManifestError;
pub use options::read;
pub use patch::{PatchError, check_patches, patch_pod};
pub use server::{Facts, Names, Server, ServerError};
pub use spawner::KubeSpawner;
pub use state::SavedState;

/// The versions whose objects these equal.
pub const VERSIONS: manifest::Versions = manifest::Versions { kubespawner: "7.1.0", jupyterhub: "6.1.1" };

/// The spawner of kind `kube`.
pub fn plugin() -> SpawnerPlugin {
    SpawnerPlugin { name: NAME, build, describe: options::describe }
}

fn build(options: Value, cx: &SpawnerContext) -> Result<Arc<dyn Spawner>, PluginError> {
    Ok(Arc::new(spawner::Shared(Arc::new(KubeSpawner::new(options, cx)?))))
}
