//! JupyterHub's database: its schema, to the column, and the repositories over it.
//!
//! Stock JupyterHub 6.1 and Himalia can take turns on one database, on SQLite, PostgreSQL, MySQL and MariaDB. So the
//! schema, the revision in `alembic_version`, the encodings ([`types`]) and the meaning of rows are stock's.
//!
//! [`Db::connect`] opens a pool, [`schema::create`] makes or checks the tables, and the functions of [`repo`] take
//! anything that runs statements: [`Db::conn`] or a transaction from [`Db::begin`]. Times are always an argument.

pub mod connect;
pub mod entities;
mod error;
mod known;
pub mod repo;
pub mod schema;
mod session;
pub mod types;
mod wake;

pub use connect::{Db, DbOptions};
pub use error::DbError;
pub use known::{Known, REMEMBERED};
pub use sea_orm::{ConnectionTrait, DbBackend};
pub use session::{Conn, Tx};
pub use types::{JsonDict, JsonList, Timestamp};
pub use wake::Waker;
