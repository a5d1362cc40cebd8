//! Making the schema, or what is missing of it: what a start of the hub does.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use super::check::{State, state};
use super::tables::TABLES;
use super::{HEAD, ddl, inspect};
use crate::connect::Db;
use crate::error::DbError;
use crate::repo::oauth;
use crate::session::Tx;

/// Makes the database ready: an empty one gets all tables and the stamp, a stamped one is checked and gets the tables
/// that it lacks (stock adds tables at start, not in migrations), one without a stamp gets the one that stock would
/// guess. Also makes the hub's own OAuth client, without which no token can be stored. Several hubs may do this at
/// the same time.
///
/// # Errors
/// [`DbError::Revision`] when the database is of another version; nothing is changed then but a missing stamp.
pub async fn create(db: &Db) -> Result<(), DbError> {
    let tx = db.begin().await?;
    lock(&tx).await?;
    let result = create_locked(&tx).await;
    let unlocked = unlock(&tx).await;
    match result {
        // A guessed stamp stays, as in stock, also when it is then found to be old.
        Ok(()) | Err(DbError::Revision { .. }) => {
            unlocked?;
            tx.commit().await?;
            result
        }
        Err(error) => Err(error),
    }
}

async fn create_locked(tx: &Tx) -> Result<(), DbError> {
    let tables = inspect::tables(tx).await?;
    let revision = match state(tx, &tables).await? {
        State::Empty => {
            stamp(tx, &tables, HEAD).await?;
            HEAD.to_owned()
        }
        State::Unstamped { guess } => {
            tracing::warn!(
                revision = guess,
                "the database has no schema revision: guessed it from its tables"
            );
            stamp(tx, &tables, guess).await?;
            guess.to_owned()
        }
        State::Stamped(revision) => revision,
    };
    if revision != HEAD {
        return Err(DbError::Revision { found: revision, wanted: HEAD });
    }
    create_missing(tx, &tables).await?;
    oauth::ensure_hub_client(tx).await
}

/// Makes the tables that are not in `present`.
pub(super) async fn create_missing(tx: &Tx, present: &BTreeSet<String>) -> Result<(), DbError> {
    for table in TABLES.iter().filter(|table| !present.contains(table.name)) {
        for statement in ddl::create(tx.get_database_backend(), table) {
            tx.execute_unprepared(&statement).await?;
        }
        tracing::debug!(table = table.name, "table made");
    }
    Ok(())
}

/// Writes the revision, making alembic's table if `present` lacks it.
pub(super) async fn stamp(tx: &Tx, present: &BTreeSet<String>, revision: &str) -> Result<(), DbError> {
    if !present.contains("alembic_version") {
        tx.execute_unprepared(&ddl::create_alembic_version()).await?;
    }
    tx.execute_unprepared("DELETE FROM alembic_version").await?;
    let backend = tx.get_database_backend();
    let mark = if backend == DbBackend::Postgres { "$1" } else { "?" };
    let sql = format!("INSERT INTO alembic_version (version_num) VALUES ({mark})");
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, [revision.into()])).await?;
    Ok(())
}

/// Waits until no other hub of this database is between this call and the end of its transaction, so that hubs which
/// begin at once make the rows of their configurations one after the other. Must be the transaction's first statement:
/// what the others wrote is seen then. SQLite's transaction is such a lock already.
///
/// # Errors
/// [`DbError`] when the database does not answer or the wait is longer than it allows.
pub async fn one_at_a_time(tx: &Tx) -> Result<(), DbError> {
    let backend = tx.get_database_backend();
    if backend != DbBackend::Sqlite {
        let sql = "SELECT version_num FROM alembic_version FOR UPDATE";
        tx.query_one_raw(Statement::from_string(backend, sql)).await?;
    }
    Ok(())
}

/// One hub at a time works on the schema. SQLite's transaction is such a lock already.
pub(super) async fn lock(tx: &Tx) -> Result<(), DbError> {
    match tx.get_database_backend() {
        DbBackend::Postgres => {
            // An arbitrary number, the same in every version.
            tx.execute_unprepared("SELECT pg_advisory_xact_lock(7251963440218)").await?;
        }
        DbBackend::MySql => {
            let sql = "SELECT GET_LOCK(CONCAT('himalia.', MD5(DATABASE())), 20)";
            let row = tx.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
            let got = row.map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose()?.flatten();
            if got != Some(1) {
                return Err(DbError::Unavailable("another hub is working on the schema".to_owned()));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Gives up the lock where it does not end with the transaction.
pub(super) async fn unlock(tx: &Tx) -> Result<(), DbError> {
    if tx.get_database_backend() == DbBackend::MySql {
        tx.execute_unprepared("DO RELEASE_LOCK(CONCAT('himalia.', MD5(DATABASE())))").await?;
    }
    Ok(())
}
