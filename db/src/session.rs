//! The two things that statements run on: the pool and a transaction.
//!
//! Both wrap sea-orm's own connection so that every statement passes one place. There a timestamp for SQLite becomes
//! the text that SQLAlchemy reads and compares, writers of one process queue for SQLite's single write lock instead
//! of polling for it, and no statement lasts longer than the limit.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    RuntimeErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _, Value,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::connect::kept::Kept;
use crate::error::DbError;
use crate::known::{Changes, Effect};
use crate::types::sqlite_text;

/// What both kinds of session share.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Longest time for one statement.
    pub(crate) statement: Duration,
    /// Longest wait for SQLite's write lock within this process.
    pub(crate) write_lock: Duration,
}

/// The pool. Each single statement takes a connection for itself; use [`crate::Db::begin`] for several that belong together.
#[derive(Debug, Clone)]
pub struct Conn {
    pool: DatabaseConnection,
    /// For single statements, of SQLite files only.
    kept: Option<Kept>,
    /// Set for SQLite only.
    writer: Option<Arc<Mutex<()>>>,
    limits: Limits,
    statements: Arc<AtomicU64>,
    /// Set for SQLite files only.
    changes: Option<Arc<Changes>>,
}

/// A transaction. Dropping it without [`Tx::commit`] rolls back.
///
/// On SQLite it holds the write lock from its first moment: keep it short, and run nothing on [`crate::Db::conn`]
/// that writes while it is open, since that would wait for this very transaction.
#[derive(Debug)]
pub struct Tx {
    inner: DatabaseTransaction,
    limits: Limits,
    statements: Arc<AtomicU64>,
    change: TxChange,
    _writer: Option<OwnedMutexGuard<()>>,
}

/// What a transaction changes; counted when it is over.
#[derive(Debug)]
struct TxChange {
    changes: Option<Arc<Changes>>,
    activity: AtomicBool,
    anything: AtomicBool,
}

impl TxChange {
    fn new(changes: Option<Arc<Changes>>) -> Self {
        Self { changes, activity: AtomicBool::new(false), anything: AtomicBool::new(false) }
    }

    fn note(&self, sql: &str) {
        match Effect::of(sql) {
            Effect::None => {}
            Effect::Activity => self.activity.store(true, Ordering::Relaxed),
            Effect::Anything => self.anything.store(true, Ordering::Relaxed),
        }
    }
}

impl Drop for TxChange {
    fn drop(&mut self) {
        let Some(changes) = &self.changes else { return };
        if self.anything.load(Ordering::Relaxed) {
            changes.count(Effect::Anything);
        } else if self.activity.load(Ordering::Relaxed) {
            changes.count(Effect::Activity);
        }
    }
}

impl Conn {
    pub(crate) fn new(pool: DatabaseConnection, kept: Option<Kept>, limits: Limits) -> Self {
        let writer = (pool.get_database_backend() == DbBackend::Sqlite).then(|| Arc::new(Mutex::new(())));
        let changes = kept.is_some().then(Arc::default);
        Self { pool, kept, writer, limits, statements: Arc::default(), changes }
    }

    pub(crate) async fn log_ahead(&self) -> Result<(), DbError> {
        match &self.kept {
            Some(kept) => Ok(kept.log_ahead().await?),
            None => Ok(()),
        }
    }

    /// The pool, if it is one of PostgreSQL.
    pub(crate) fn postgres(&self) -> Option<&sqlx::PgPool> {
        (self.pool.get_database_backend() == DbBackend::Postgres)
            .then(|| self.pool.get_postgres_connection_pool())
    }

    /// See [`crate::Db::version`].
    pub(crate) fn version(&self) -> Option<u64> {
        self.changes.as_ref().map(|changes| changes.version())
    }

    /// See [`crate::Db::version_without_activity`].
    pub(crate) fn version_without_activity(&self) -> Option<u64> {
        self.changes.as_ref().map(|changes| changes.version_without_activity())
    }

    /// How many statements have been sent, those of transactions too.
    pub(crate) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    pub(crate) async fn begin(&self) -> Result<Tx, DbError> {
        let writer = self.lock_writer().await?;
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let inner = within(self.limits.statement, self.pool.begin_with_options(options)).await?;
        let statements = Arc::clone(&self.statements);
        let change = TxChange::new(self.changes.clone());
        Ok(Tx { inner, limits: self.limits.clone(), statements, change, _writer: writer })
    }

    pub(crate) async fn close(self) -> Result<(), DbError> {
        if let Some(kept) = &self.kept {
            kept.close().await;
        }
        self.pool.close().await?;
        if let Some(kept) = &self.kept {
            kept.restore().await;
        }
        Ok(())
    }

    async fn lock_writer(&self) -> Result<Option<OwnedMutexGuard<()>>, DbErr> {
        let Some(writer) = &self.writer else { return Ok(None) };
        let guard = within(self.limits.write_lock, async { Ok(Arc::clone(writer).lock_owned().await) });
        guard.await.map(Some)
    }
}

impl Tx {
    /// Makes the changes durable.
    pub async fn commit(self) -> Result<(), DbError> {
        Ok(within(self.limits.statement, self.inner.commit()).await?)
    }

    /// Undoes the changes and says so when that fails; dropping undoes them silently.
    pub async fn rollback(self) -> Result<(), DbError> {
        Ok(within(self.limits.statement, self.inner.rollback()).await?)
    }
}

/// Runs one step against the clock. The text of the error is that of an outage, which callers answer with 503.
async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    match tokio::time::timeout(limit, step).await {
        Ok(result) => result,
        Err(_) => Err(DbErr::Conn(RuntimeErr::Internal(format!("no answer within {limit:?}")))),
    }
}

fn encoded(mut statement: Statement) -> Statement {
    if statement.db_backend == DbBackend::Sqlite
        && let Some(values) = &mut statement.values
    {
        for value in &mut values.0 {
            if let Value::ChronoDateTime(moment) = value {
                *value = Value::String(moment.as_ref().map(sqlite_text));
            }
        }
    }
    statement
}

#[async_trait::async_trait]
impl ConnectionTrait for Conn {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let _writer = self.lock_writer().await?;
        let change = self.changes.as_ref().and_then(|changes| changes.begin(&statement.sql));
        let statement = encoded(statement);
        let done = match &self.kept {
            Some(kept) => within(self.limits.statement, kept.execute(&statement)).await?,
            None => within(self.limits.statement, self.pool.execute_raw(statement)).await?,
        };
        if let Some(change) = change.filter(|_| done.rows_affected() == 0) {
            change.forget();
        }
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let _writer = self.lock_writer().await?;
        let _change = self.changes.as_ref().and_then(|changes| changes.begin(sql));
        match &self.kept {
            Some(kept) => within(self.limits.statement, kept.execute_unprepared(sql)).await,
            None => within(self.limits.statement, self.pool.execute_unprepared(sql)).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        // An `INSERT` that gives its row back is a query, too.
        let _change = self.changes.as_ref().and_then(|changes| changes.begin(&statement.sql));
        let statement = encoded(statement);
        match &self.kept {
            Some(kept) => within(self.limits.statement, kept.query_one(&statement)).await,
            None => within(self.limits.statement, self.pool.query_one_raw(statement)).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        // An `INSERT` that gives its row back is a query, too.
        let _change = self.changes.as_ref().and_then(|changes| changes.begin(&statement.sql));
        let statement = encoded(statement);
        match &self.kept {
            Some(kept) => within(self.limits.statement, kept.query_all(&statement)).await,
            None => within(self.limits.statement, self.pool.query_all_raw(statement)).await,
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.change.note(&statement.sql);
        within(self.limits.statement, self.inner.execute_raw(encoded(statement))).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.change.note(sql);
        within(self.limits.statement, self.inner.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.change.note(&statement.sql);
        within(self.limits.statement, self.inner.query_one_raw(encoded(statement))).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.change.note(&statement.sql);
        within(self.limits.statement, self.inner.query_all_raw(encoded(statement))).await
    }
}
