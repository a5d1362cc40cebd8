//! What the outside sees of the hub: JSON models, request bodies, pagination, the error body, the progress events,
//! the table of endpoints with the scopes they need, and the OpenAPI description made from all of these.
//!
//! This crate knows JupyterHub 6.1's REST API and nothing of the hub's insides. It holds no state and does no input
//! or output, but for the client (feature `client`), which talks to any JupyterHub.

#[cfg(feature = "client")]
pub mod client;
pub mod endpoints;
pub mod error;
mod gate;
pub mod json;
pub mod models;
pub mod openapi;
pub mod pagination;
pub mod progress;
#[cfg(test)]
mod recorded;
pub mod requests;
pub mod timestamps;

pub use error::ErrorBody;
pub use gate::Gate;
pub use timestamps::Timestamp;
