//! Volumes of servers. Not in JupyterHub.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What is kept of a server while it does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Volume {
    /// Its name, unique in its place.
    pub name: String,
    /// Where it is: with Kubernetes the namespace.
    pub place: String,
    /// The server that it was made for; empty for the default one.
    pub server: String,
    /// The servers of the user that have it, running or not; none where they are all deleted.
    pub used_by: Vec<String>,
    /// How much it holds, as the cluster writes it (`10Gi`); null where that is not known yet.
    pub capacity: Option<String>,
    /// Its state in the cluster's words, `Bound` for example.
    pub phase: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// The answer of `GET /users/{user}/volumes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeList {
    /// By place and name.
    pub volumes: Vec<Volume>,
    /// Places that could not be asked, so that there may be more volumes.
    pub unknown: Vec<String>,
}
