//! What the outside sees of the hub: JSON models, request bodies, pagination, the error body, the progress events,
//! and the table of endpoints with the scopes they need.
//!
//! This crate knows JupyterHub 6.1's REST API and nothing of the hub's insides. It holds no state and does no input
//! or output.

pub mod endpoints;
pub mod error;
mod gate;
pub mod json;
pub mod models;
pub mod pagination;
pub mod progress;
#[cfg(test)]
mod recorded;
pub mod requests;
pub mod timestamps;

pub use error::ErrorBody;
pub use gate::Gate;
pub use timestamps::Timestamp;
