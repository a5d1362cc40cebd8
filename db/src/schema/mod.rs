//! JupyterHub's schema.

/// The alembic revision of JupyterHub 6.1 with which this crate works.
pub const HEAD: &str = "f460b0348206";
