//! A JupyterHub-compatible hub, proxy and spawners in one binary.
//!
//! [`app`] puts the parts together; [`web`] is what the outside speaks to; the other modules are the hub's concepts,
//! one each.

pub mod activity;
pub mod app;
pub mod audit;
pub mod auth;
pub mod events;
pub mod internal_ssl;
pub mod known;
pub mod metrics;
pub mod notices;
pub mod oauth;
pub mod rbac;
pub mod registry;
pub mod render;
pub mod routing;
pub mod servers;
pub mod services;
pub mod sessions;
pub mod urls;
pub mod web;
pub mod workspaces;

/// The version of JupyterHub whose contract this program speaks; servers and clients look at it.
pub const JUPYTERHUB_VERSION: &str = "6.1.1";
