//! Bringing an older database up to date: what `upgrade-db` does.

use chrono::{DateTime, Utc};

use super::backup::{self, Backup, Precaution};
use super::check::{State, state};
use super::create::{create_missing, lock, stamp, unlock};
use super::{HEAD, check, inspect, revisions};
use crate::connect::Db;
use crate::error::DbError;
use crate::repo::oauth;
use crate::session::Tx;

/// What an upgrade did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The revision before.
    pub from: String,
    /// The copy of what there was before, unless none was wanted.
    pub backup: Option<Backup>,
}

/// Runs the migrations from the database's revision to [`HEAD`], after a backup. All of them are one transaction on
/// SQLite and PostgreSQL; on MySQL, where each change of a table is final, an interrupted upgrade is taken up where it
/// ended. `None`: the database is up to date, or empty.
///
/// # Errors
/// Before anything is changed, [`DbError::UnknownRevision`] for a revision without a way to [`HEAD`], and
/// [`DbError::Backup`] when there can be no backup.
pub async fn upgrade(
    db: &Db,
    precaution: Precaution,
    now: DateTime<Utc>,
) -> Result<Option<Upgraded>, DbError> {
    let Some(from) = old(check(db.conn()).await?)? else { return Ok(None) };
    let copy = match (precaution, db.file()) {
        // Not in the transaction, as the copies of a server's tables are: SQLite cannot do it there.
        (Precaution::Backup, Some(file)) => Some(backup::of_file(db, file, now).await?),
        (Precaution::Backup, None) => None,
        (Precaution::None, _) => {
            tracing::warn!(
                database = db.shown_url(),
                from,
                to = HEAD,
                "upgrade without a backup, as it was told"
            );
            None
        }
    };
    let tx = db.begin().await?;
    lock(&tx).await?;
    let result = upgrade_locked(&tx, precaution, now).await;
    let unlocked = unlock(&tx).await;
    let done = result?;
    unlocked?;
    tx.commit().await?;
    Ok(done.map(|done| Upgraded { backup: copy.or(done.backup), ..done }))
}

/// The revision of a database that is to be upgraded.
fn old(state: State) -> Result<Option<String>, DbError> {
    let from = match state {
        State::Empty => return Ok(None),
        State::Stamped(revision) => revision,
        State::Unstamped { guess } => guess.to_owned(),
    };
    if from == HEAD {
        return Ok(None);
    }
    revisions::since(&from)?;
    Ok(Some(from))
}

async fn upgrade_locked(
    tx: &Tx,
    precaution: Precaution,
    now: DateTime<Utc>,
) -> Result<Option<Upgraded>, DbError> {
    let tables = inspect::tables(tx).await?;
    // Looked at again under the lock: another process may have been faster.
    let Some(from) = old(state(tx, &tables).await?)? else { return Ok(None) };
    let backup = match precaution {
        Precaution::Backup => backup::of_tables(tx, &tables, &from, now).await?,
        Precaution::None => None,
    };
    for step in revisions::since(&from)? {
        for change in step.changes {
            change.apply(tx).await?;
        }
        stamp(tx, &tables, step.to).await?;
        tracing::info!(from = step.from, to = step.to, "database upgraded");
    }
    create_missing(tx, &tables).await?;
    oauth::ensure_hub_client(tx).await?;
    Ok(Some(Upgraded { from, backup }))
}
