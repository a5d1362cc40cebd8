//! A JupyterHub-compatible hub, proxy and spawners in one binary

pub mod render;
