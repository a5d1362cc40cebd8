//! Bringing an older database up to date: what `upgrade-db` does.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use sea_orm::DbBackend;

use super::check::{State, state};
use super::create::{create_missing, lock, stamp, unlock};
use super::revisions::REVISIONS;
use super::{HEAD, backup, check, inspect};
use crate::connect::Db;
use crate::error::DbError;
use crate::repo::oauth;
use crate::session::Tx;

/// What an upgrade did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The revision before.
    pub from: String,
    /// The copy of the SQLite file; databases on a server are backed up by whoever runs the server.
    pub backup: Option<PathBuf>,
}

/// Runs the migrations from the database's revision to [`HEAD`], after a backup of a SQLite file. All of them are one
/// transaction on SQLite and PostgreSQL; on MySQL, where each change of a table is final, an interrupted upgrade is
/// taken up where it ended. `None`: the database is up to date, or empty.
///
/// # Errors
/// [`DbError::UnknownRevision`] for a revision without a way to [`HEAD`], before anything is changed.
pub async fn upgrade(db: &Db, now: DateTime<Utc>) -> Result<Option<Upgraded>, DbError> {
    let from = match check(db.conn()).await? {
        State::Empty => return Ok(None),
        State::Stamped(revision) => revision,
        State::Unstamped { guess } => guess.to_owned(),
    };
    if from == HEAD {
        return Ok(None);
    }
    position(&from)?;
    let backup = match db.file() {
        Some(file) => {
            let copy = backup::backup(db, file, now).await?;
            tracing::info!(backup = %copy.display(), "the database was copied before its upgrade");
            Some(copy)
        }
        None => {
            warn_of_no_backup(db, &from);
            None
        }
    };
    let tx = db.begin().await?;
    lock(&tx).await?;
    let result = upgrade_locked(&tx).await;
    let unlocked = unlock(&tx).await;
    result?;
    unlocked?;
    tx.commit().await?;
    Ok(Some(Upgraded { from, backup }))
}

/// Says that whoever runs the server must have a backup, and how one is made.
fn warn_of_no_backup(db: &Db, from: &str) {
    let (program, final_steps) = match db.backend() {
        DbBackend::Postgres => ("pg_dump", "It is one transaction: should it fail, nothing has changed"),
        DbBackend::MySql => (
            "mariadb-dump",
            "Each of its steps is final: should it fail, run upgrade-db again or restore the dump",
        ),
        // A database in memory.
        _ => return,
    };
    tracing::warn!(
        database = db.shown_url(),
        from,
        to = HEAD,
        "the database is upgraded without a backup, as it is on a server: have a dump by {program}, which is the only \
         way back to the version before. {final_steps}."
    );
}

/// Where in [`REVISIONS`] the way from `revision` begins.
fn position(revision: &str) -> Result<usize, DbError> {
    REVISIONS
        .iter()
        .position(|step| step.from == revision)
        .ok_or_else(|| DbError::UnknownRevision { found: revision.to_owned() })
}

async fn upgrade_locked(tx: &Tx) -> Result<(), DbError> {
    let tables = inspect::tables(tx).await?;
    let from = match state(tx, &tables).await? {
        State::Empty => return Ok(()),
        State::Stamped(revision) => revision,
        State::Unstamped { guess } => guess.to_owned(),
    };
    if from != HEAD {
        // Looked at again under the lock: another process may have been faster.
        for step in REVISIONS.iter().skip(position(&from)?) {
            for change in step.changes {
                change.apply(tx).await?;
            }
            stamp(tx, &tables, step.to).await?;
            tracing::info!(from = step.from, to = step.to, "database upgraded");
        }
    }
    create_missing(tx, &tables).await?;
    oauth::ensure_hub_client(tx).await
}
