//! A Kubernetes cluster for tests, see `tests/kubebed`: a real API server whose pods are local processes.
//!
//! A test has [`Namespace`]s of its own on a [`Bed`] that all tests of the process share, or a bed of its own if it is
//! to go through an outage. The hub runs outside the cluster with an [`Account`]: a service account with exactly the
//! rights that the Z2JH chart gives. [`Audit`] tells what it did with them.

mod account;
mod audit;
mod bed;
mod line;
mod namespace;
mod servers;

pub use account::{Account, CHART_ROLE};
pub use audit::{Audit, Deed};
pub use bed::{Bed, Cluster};
pub use line::{Condition, Line};
pub use namespace::Namespace;
pub use servers::kube_settings;
