//! What can go wrong between the hub and its database.

use std::path::PathBuf;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlErr};
use thiserror::Error;

use crate::schema::HEAD;

/// Every failure of this crate. No text holds a password or a token.
#[derive(Debug, Error)]
pub enum DbError {
    /// `db.url` cannot be used. `url` has its password replaced.
    #[error("db.url {url:?}: {problem}")]
    Url {
        /// The URL with its password replaced by `***`.
        url: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The SQLite file or its folder cannot be opened or written.
    #[error("cannot use the SQLite database {path}: {problem}; {remedy}")]
    SqliteFile {
        /// The file.
        path: PathBuf,
        /// What failed.
        problem: String,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// The database does not answer, or not in time. The request may be repeated later: answer 503.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database is of another JupyterHub version.
    #[error(
        "found database schema revision {found}, wanted {wanted}: back up the database, then run `himalia upgrade-db`"
    )]
    Revision {
        /// The revision in `alembic_version`.
        found: String,
        /// The revision that this version works with.
        wanted: &'static str,
    },
    /// The revision is one that `upgrade-db` knows no way from: newer than this version, or older than JupyterHub 4.
    #[error(
        "cannot upgrade the database from schema revision {found} to {HEAD}: it is not one between JupyterHub 4.0 and \
         6.1; if it is older, bring it to JupyterHub 5 first with that version's own `jupyterhub upgrade-db`, if it is \
         newer, use a newer Himalia"
    )]
    UnknownRevision {
        /// The revision in `alembic_version`.
        found: String,
    },
    /// The copy before an upgrade could not be made; nothing was changed.
    #[error(
        "cannot back up the database to {place}: {problem}; nothing was changed; {remedy}, or make a backup by other \
         means and run `himalia upgrade-db --no-backup`"
    )]
    Backup {
        /// Where the copy should have gone.
        place: String,
        /// What failed.
        problem: String,
        /// What the operator can do.
        remedy: String,
    },
    /// A value that must be unique exists already, or a row to refer to does not.
    #[error("conflict with what is in the database: {0}")]
    Conflict(String),
    /// A value that may not be stored.
    #[error("{0}")]
    Invalid(String),
    /// Anything else that the database said.
    #[error("database error: {0}")]
    Query(#[source] DbErr),
}

impl DbError {
    /// Whether a repetition may help: the database is away, busy, or out of connections.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether a unique value exists already.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}

impl From<DbErr> for DbError {
    fn from(error: DbErr) -> Self {
        if is_outage(&error) {
            return Self::Unavailable(outage_text(&error));
        }
        if is_unstorable(&error) {
            return Self::Invalid("a text holds characters that this database cannot store".to_owned());
        }
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => {
                // The server's own text may quote the value, and that may be a secret's hash.
                Self::Conflict("a value that must be unique exists already".to_owned())
            }
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
                Self::Conflict("a row that this one refers to does not exist".to_owned())
            }
            _ => Self::Query(error),
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
    }
}

/// What the database itself said about a statement.
fn told(error: &DbErr) -> Option<&dyn sqlx::error::DatabaseError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            error.as_database_error()
        }
        _ => None,
    }
}

/// NUL in a text on PostgreSQL, characters beyond the character set of a table on MySQL.
fn is_unstorable(error: &DbErr) -> bool {
    let Some(error) = told(error) else { return false };
    match error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        Some(mysql) => matches!(mysql.number(), 1267 | 1366),
        None => error.code().as_deref() == Some("22021"),
    }
}

/// Whether the database server says that its user may not do this.
pub(crate) fn is_refused(error: &DbErr) -> bool {
    let Some(error) = told(error) else { return false };
    match error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // To a database, to a table, for want of a privilege.
        Some(mysql) => matches!(mysql.number(), 1044 | 1142 | 1227),
        None => error.code().as_deref() == Some("42501"),
    }
}

fn outage_text(error: &DbErr) -> String {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => {
            "no connection became free in time, or the server does not accept any".to_owned()
        }
        other => other.to_string(),
    }
}

fn is_outage(error: &DbErr) -> bool {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => is_driver_outage(error),
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        _ => false,
    }
}

/// Whether the driver says that the server is away, going, full or too slow, rather than that the statement is bad.
pub(crate) fn is_driver_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => {
            if let Some(mysql) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
                // Too many connections, shutdown, connection killed, lock wait, deadlock, interrupted, out of time.
                return matches!(
                    mysql.number(),
                    1040 | 1053 | 1077 | 1079 | 1203 | 1205 | 1213 | 1317 | 1927 | 1969 | 3024
                );
            }
            let code = error.code().unwrap_or_default();
            if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                // Primary codes BUSY, LOCKED, IOERR and FULL, whatever the extended part.
                return code.parse::<i32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13));
            }
            // Connection exceptions, insufficient resources, operator intervention, serialisation and lock failures.
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57")
                || matches!(&*code, "40001" | "40P01" | "55P03")
        }
        _ => false,
    }
}
