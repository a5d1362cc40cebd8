//! The objects that are sent to the cluster, as JSON in the shape of the API.

mod claim;
mod env;
mod labels;
mod model;
mod owned;
mod pod;

use thiserror::Error;

use crate::python::FormatError;

pub use claim::pvc;
pub use env::{EnvFacts, environment};
pub use labels::{Marks, Versions};
pub use owned::{Certificates, namespace, notebook_port, owner_reference, secret, service};
pub(crate) use pod::CERTIFICATES;
pub use pod::{PodParts, pod};

pub(crate) use model::{Model, build, canonical};

/// Why an object cannot be built from the options.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// A template cannot be expanded.
    #[error(transparent)]
    Template(#[from] FormatError),
    /// A value does not fit the API.
    #[error("{at}: {reason}")]
    Value {
        /// Path below the options, for example `volumes[0].name`.
        at: String,
        /// What is wrong.
        reason: String,
    },
}

impl ManifestError {
    pub(crate) fn value(at: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { at: at.into(), reason: reason.into() }
    }
}
