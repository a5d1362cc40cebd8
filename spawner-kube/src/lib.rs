//! Singleuser servers as pods. Answers to KubeSpawner 7.1.
//!
//! The pure part comes first: [`traits`] holds the options, [`Server`] makes names and manifests of them,
//! [`profiles`] the choices of people, [`status`] reads pods and [`events`] their progress. It talks to nobody, and
//! what it makes is equal to what stock makes, which `cargo xtask corpus` proves on recorded cases.

mod blueprint;
pub mod causes;
mod condition;
pub mod events;
pub mod fields;
pub mod manifest;
mod options;
mod overrides;
mod patch;
pub mod profiles;
pub mod python;
mod schema;
mod server;
pub mod slug;
mod state;
pub mod status;
pub mod traits;

pub use blueprint::{Blueprint, NAME, Planned};
pub use condition::{Asker, Condition};
pub use manifest::ManifestError;
pub use options::read;
pub use patch::{PatchError, check_patches, patch_pod};
pub use server::{Facts, Names, Server, ServerError};
pub use state::SavedState;

/// The versions whose objects these equal.
pub const VERSIONS: manifest::Versions = manifest::Versions { kubespawner: "7.1.0", jupyterhub: "6.1.1" };
