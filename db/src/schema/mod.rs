//! JupyterHub's schema: making it, checking it, bringing an older one up to date.
//!
//! `alembic_version` is the only bookkeeping, as in stock: it holds the id of the last migration that ran. There is
//! no column or table that stock does not have.

mod backup;
mod check;
mod create;
mod ddl;
mod inspect;
mod revisions;
mod tables;
mod upgrade;

pub use backup::{Backup, Precaution};
pub use check::{State, check};
pub use create::{create, one_at_a_time};
pub use upgrade::{Upgraded, upgrade};

/// The alembic revision of JupyterHub 6.1, with which this crate works.
pub const HEAD: &str = "f460b0348206";
