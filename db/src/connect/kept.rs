//! Connections to a SQLite file that are kept between statements.
//!
//! A pool asks a connection whether it is alive before and after each use. Over a network that is wise; here it would
//! cost more than the statements themselves, each of which is a word with the connection's own thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{ConnAcquireErr, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Sqlite, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::sqlite;

/// As many connections as may be used at once, each made when it is first needed.
#[derive(Debug, Clone)]
pub(crate) struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: SqliteConnectOptions,
    places: Semaphore,
    patience: Duration,
    /// Whether the file gets its rollback journal back in the end.
    restore: AtomicBool,
    /// The one that was used last comes first: it knows the statements.
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Kept {
    /// At most `most` connections, which are waited for no longer than `patience`.
    pub(super) fn new(options: SqliteConnectOptions, most: usize, patience: Duration) -> Self {
        let (places, restore) = (Semaphore::new(most), AtomicBool::new(false));
        Self(Arc::new(Inner { options, places, patience, restore, idle: Mutex::default() }))
    }

    /// See [`crate::Db::log_ahead`].
    pub(crate) async fn log_ahead(&self) -> Result<(), DbErr> {
        let changed = sqlite::log_ahead(&self.0.options).await;
        if changed.map_err(|error| DbErr::Conn(driver(error)))? {
            self.0.restore.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) async fn execute(&self, statement: &Statement) -> Result<ExecResult, DbErr> {
        let mut lent = self.lend().await?;
        let done = query(statement).execute(lent.connection()?).await;
        lent.gives_back(done).map(ExecResult::from).map_err(|error| DbErr::Exec(driver(error)))
    }

    pub(crate) async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut lent = self.lend().await?;
        let done = sqlx::Executor::execute(lent.connection()?, AssertSqlSafe(sql)).await;
        lent.gives_back(done).map(ExecResult::from).map_err(|error| DbErr::Exec(driver(error)))
    }

    pub(crate) async fn query_one(&self, statement: &Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut lent = self.lend().await?;
        let found = query(statement).fetch_optional(lent.connection()?).await;
        let found = lent.gives_back(found).map_err(|error| DbErr::Query(driver(error)))?;
        Ok(found.map(QueryResult::from))
    }

    pub(crate) async fn query_all(&self, statement: &Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut lent = self.lend().await?;
        let found = query(statement).fetch_all(lent.connection()?).await;
        let found = lent.gives_back(found).map_err(|error| DbErr::Query(driver(error)))?;
        Ok(found.into_iter().map(QueryResult::from).collect())
    }

    /// Closes what is idle and lends no more.
    pub(crate) async fn close(&self) {
        self.0.places.close();
        let idle = std::mem::take(&mut *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            // The file is whole in any case.
            let _ = connection.close().await;
        }
    }

    /// Gives the file its journal mode back; to be called when everything else is closed. Another process that uses the
    /// file keeps it from happening, and then nothing is lost: whoever opens the file finds the log.
    pub(crate) async fn restore(&self) {
        if self.0.restore.load(Ordering::Relaxed) {
            let options = self.0.options.clone().journal_mode(SqliteJournalMode::Delete);
            if let Ok(connection) = options.connect().await {
                let _ = connection.close().await;
            }
        }
    }

    async fn lend(&self) -> Result<Lent<'_>, DbErr> {
        let inner = &*self.0;
        let permit = tokio::time::timeout(inner.patience, inner.places.acquire())
            .await
            .map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))?
            .map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
        let idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => inner.options.connect().await.map_err(|error| DbErr::Conn(driver(error)))?,
        };
        Ok(Lent { inner, connection: Some(connection), _permit: permit })
    }
}

/// A connection in use. It goes back when it is dropped, also when nobody waits for the answer any more: its thread
/// then leaves the statement as soon as it has a row to tell.
#[derive(Debug)]
struct Lent<'a> {
    inner: &'a Inner,
    connection: Option<SqliteConnection>,
    _permit: SemaphorePermit<'a>,
}

impl Lent<'_> {
    fn connection(&mut self) -> Result<&mut SqliteConnection, DbErr> {
        self.connection.as_mut().ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))
    }

    /// Keeps the connection unless it is broken.
    fn gives_back<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if matches!(done, Err(sqlx::Error::WorkerCrashed | sqlx::Error::Io(_))) {
            self.connection = None;
        }
        done
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

fn query(statement: &Statement) -> Query<'_, Sqlite, SqlxValues> {
    let values = statement.values.clone().unwrap_or(sea_orm::Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql.as_str()), SqlxValues(values))
}

fn driver(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(error.into())
}
