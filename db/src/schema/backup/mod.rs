//! A copy of the database as it is before an upgrade: of a SQLite file beside it, of tables inside their server.

mod again;
mod file;
mod mysql;
mod postgres;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait as _, DbBackend};

use super::tables::TABLES;
use crate::connect::Db;
use crate::error::DbError;
use crate::session::Tx;

/// Whether an upgrade may begin without a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precaution {
    /// One is made, or nothing is changed.
    Backup,
    /// Somebody has said that none is to be made.
    None,
}

/// A copy of the database as it was before an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backup {
    /// Of a SQLite file.
    File(PathBuf),
    /// Of the tables, inside the database.
    Tables {
        /// The schema of the copies on PostgreSQL; what their names begin with on MySQL.
        name: String,
        /// What brings them back, in SQL with comments. The last table of a backup holds it as well.
        script: String,
    },
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Tables { name, .. } => name.fmt(f),
        }
    }
}

/// The table of a backup that holds its script, and is made last: a backup that has it is whole.
const SCRIPT: &str = "to_go_back";

/// Begins the names of all backups inside a database; the revision and the time follow.
const NAME: &str = "himalia_backup_";

/// Copies a SQLite file.
pub(super) async fn of_file(db: &Db, file: &Path, now: DateTime<Utc>) -> Result<Backup, DbError> {
    let copy = Backup::File(file::copy(db, file, now).await?);
    tracing::info!(backup = %copy, "the database was copied before its upgrade");
    Ok(copy)
}

/// Copies the tables of a server; `None` for a SQLite database, which this transaction holds. On PostgreSQL the backup
/// is part of the transaction, on MySQL it is there when this returns, or was there before.
pub(super) async fn of_tables(
    tx: &Tx,
    present: &BTreeSet<String>,
    from: &str,
    now: DateTime<Utc>,
) -> Result<Option<Backup>, DbError> {
    if tx.get_database_backend() == DbBackend::MySql
        && let Some(backup) = again::find(tx, present).await?
    {
        tracing::info!(%backup, "the tables of the database are as an upgrade before this one has copied them");
        return Ok(Some(backup));
    }
    let plan = Plan::new(present, from, now);
    let (script, order) = match tx.get_database_backend() {
        DbBackend::Postgres => (postgres::copy(tx, &plan).await?, "in one transaction with"),
        DbBackend::MySql => (mysql::copy(tx, &plan).await?, "before"),
        _ => return Ok(None),
    };
    let copies = Backup::Tables { name: plan.name, script };
    tracing::info!(backup = %copies, "the tables of the database were copied {order} its upgrade");
    Ok(Some(copies))
}

/// What is copied.
#[derive(Debug)]
struct Plan<'a> {
    name: String,
    from: &'a str,
    /// JupyterHub's tables that exist, each after those that it refers to.
    tables: Vec<&'static str>,
    /// Those that the upgrade will make.
    missing: Vec<&'static str>,
}

impl<'a> Plan<'a> {
    fn new(present: &BTreeSet<String>, from: &'a str, now: DateTime<Utc>) -> Self {
        let known = TABLES.iter().map(|table| table.name).chain(["alembic_version"]);
        let (tables, missing) = known.partition(|table| present.contains(*table));
        Self { name: format!("{NAME}{from}_{}", now.format("%Y%m%d%H%M%S")), from, tables, missing }
    }

    /// The head of the script, in comments.
    fn head(&self, remove: &str) -> String {
        let Self { name, from, .. } = self;
        format!(
            "-- {name}: this database as it was before its upgrade from schema revision {from}.\n\
             -- To go back to it, stop all hubs and carry out what follows. What was changed since is lost.\n\
             -- When you need the backup no more: {remove};\n"
        )
    }
}
