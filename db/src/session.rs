//! The two things that statements run on: the pool and a transaction.
//!
//! Both wrap sea-orm's own connection so that every statement passes one place. There a timestamp for SQLite becomes
//! the text that SQLAlchemy reads and compares, writers of one process queue for SQLite's single write lock instead
//! of polling for it, and no statement lasts longer than the limit.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    RuntimeErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _, Value,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::connect::kept::Kept;
use crate::connect::log_index::Head;
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

/// The pool. Each single statement takes a connection for itself; use [`crate::Db::begin`] for several that belong
/// together.
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
    /// Set for SQLite files only.
    change: Option<TxChange>,
    _writer: Option<OwnedMutexGuard<()>>,
}

/// What a transaction changes.
#[derive(Debug)]
struct TxChange {
    changes: Arc<Changes>,
    /// As it began, after which nobody else can commit.
    before: Option<Head>,
    /// The effect of its statements, and whether they changed any row.
    done: std::sync::Mutex<(Effect, bool)>,
}

impl TxChange {
    fn new(changes: Arc<Changes>) -> Self {
        let before = changes.before();
        Self { changes, before, done: std::sync::Mutex::new((Effect::None, false)) }
    }

    fn note(&self, effect: Effect, changed: bool) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done = (effect.max(done.0), changed || done.1);
    }

    fn committed(self) {
        let (effect, changed) = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        if changed {
            self.changes.done(self.before, effect);
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
        let (Some(kept), Some(changes)) = (&self.kept, &self.changes) else { return Ok(()) };
        if let Some(index) = kept.log_ahead().await? {
            changes.watch(index);
        }
        Ok(())
    }

    /// The pool, if it is one of PostgreSQL.
    pub(crate) fn postgres(&self) -> Option<&sqlx::PgPool> {
        (self.pool.get_database_backend() == DbBackend::Postgres)
            .then(|| self.pool.get_postgres_connection_pool())
    }

    /// See [`crate::Db::version`] and [`crate::Db::version_without_activity`].
    pub(crate) fn version(&self, with_activity: bool) -> Option<u64> {
        self.changes.as_ref()?.version(with_activity)
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
        let change = self.changes.clone().map(TxChange::new);
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
        if let Some(changes) = &self.changes {
            changes.end();
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
        within(self.limits.statement, self.inner.commit()).await?;
        if let Some(change) = self.change {
            change.committed();
        }
        Ok(())
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
        // SQLite compiles a statement anew whenever a limit is bound to it, which takes longer than finding one row.
        if let (Some(select), Some(Value::BigUnsigned(Some(1)))) =
            (statement.sql.strip_suffix(" LIMIT ?"), values.0.last())
        {
            statement.sql = format!("{select} LIMIT 1");
            values.0.pop();
        }
    }
    statement
}

/// A single statement on its way.
#[derive(Debug)]
struct Passage<'a> {
    effect: Effect,
    /// Set where changes are watched and this is a change of little effect.
    change: Option<(&'a Changes, Option<Head>)>,
    _writer: Option<OwnedMutexGuard<()>>,
}

impl Conn {
    /// Counts a statement; writers queue.
    async fn pass(&self, sql: &str, writes: bool) -> Result<Passage<'_>, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let effect = Effect::of(sql);
        // An `INSERT` that gives its row back is a query, too.
        let writes = writes || effect != Effect::None;
        let writer = if writes { self.lock_writer().await? } else { None };
        let little = matches!(effect, Effect::Made | Effect::Activity);
        let change = self.changes.as_deref().filter(|_| little).map(|changes| (changes, changes.before()));
        Ok(Passage { effect, change, _writer: writer })
    }
}

impl Passage<'_> {
    /// It has arrived, and did change rows or not.
    fn ends(self, changed: bool) {
        if let Some((changes, before)) = self.change.filter(|_| changed) {
            changes.done(before, self.effect);
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Conn {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let passage = self.pass(&statement.sql, true).await?;
        let statement = encoded(statement);
        let done = match &self.kept {
            Some(kept) if passage.effect == Effect::Activity => {
                within(self.limits.statement, kept.note(&statement)).await?
            }
            Some(kept) => within(self.limits.statement, kept.execute(&statement)).await?,
            None => within(self.limits.statement, self.pool.execute_raw(statement)).await?,
        };
        passage.ends(done.rows_affected() > 0);
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let passage = self.pass(sql, true).await?;
        let done = match &self.kept {
            Some(kept) => within(self.limits.statement, kept.execute_unprepared(sql)).await?,
            None => within(self.limits.statement, self.pool.execute_unprepared(sql)).await?,
        };
        passage.ends(done.rows_affected() > 0);
        Ok(done)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let passage = self.pass(&statement.sql, false).await?;
        let statement = encoded(statement);
        let found = match &self.kept {
            Some(kept) => within(self.limits.statement, kept.query_one(&statement)).await?,
            None => within(self.limits.statement, self.pool.query_one_raw(statement)).await?,
        };
        passage.ends(found.is_some());
        Ok(found)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let passage = self.pass(&statement.sql, false).await?;
        let statement = encoded(statement);
        let found = match &self.kept {
            Some(kept) => within(self.limits.statement, kept.query_all(&statement)).await?,
            None => within(self.limits.statement, self.pool.query_all_raw(statement)).await?,
        };
        passage.ends(!found.is_empty());
        Ok(found)
    }
}

impl Tx {
    /// Notes a statement, whatever becomes of it.
    fn pass(&self, sql: &str) -> TxPassage<'_> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let passage = TxPassage(self.change.as_ref().map(|change| (change, Effect::of(sql))));
        passage.note(false);
        passage
    }
}

/// A statement of a transaction.
#[derive(Debug)]
struct TxPassage<'a>(Option<(&'a TxChange, Effect)>);

impl TxPassage<'_> {
    fn note(&self, changed: bool) {
        if let Some((change, effect)) = self.0.filter(|(_, effect)| *effect != Effect::None) {
            change.note(effect, changed);
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let passage = self.pass(&statement.sql);
        let done = within(self.limits.statement, self.inner.execute_raw(encoded(statement))).await?;
        passage.note(done.rows_affected() > 0);
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let passage = self.pass(sql);
        let done = within(self.limits.statement, self.inner.execute_unprepared(sql)).await?;
        passage.note(done.rows_affected() > 0);
        Ok(done)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let passage = self.pass(&statement.sql);
        let found = within(self.limits.statement, self.inner.query_one_raw(encoded(statement))).await?;
        passage.note(found.is_some());
        Ok(found)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let passage = self.pass(&statement.sql);
        let found = within(self.limits.statement, self.inner.query_all_raw(encoded(statement))).await?;
        passage.note(!found.is_empty());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_is_asked_for_in_the_text_and_other_limits_stay_bound() {
        let text = |backend, sql, values: &[u64]| {
            let values = values.iter().map(|value| Value::BigUnsigned(Some(*value)));
            let statement = encoded(Statement::from_sql_and_values(backend, sql, values));
            (statement.sql, statement.values.map_or(0, |values| values.0.len()))
        };
        let sql = "SELECT 1 FROM x WHERE id = ? LIMIT ?";
        assert_eq!(
            text(DbBackend::Sqlite, sql, &[7, 1]),
            ("SELECT 1 FROM x WHERE id = ? LIMIT 1".to_owned(), 1)
        );
        assert_eq!(text(DbBackend::Sqlite, sql, &[1, 2]), (sql.to_owned(), 2));
        assert_eq!(text(DbBackend::MySql, sql, &[7, 1]), (sql.to_owned(), 2));
        let paged = "SELECT 1 FROM x LIMIT ? OFFSET ?";
        assert_eq!(text(DbBackend::Sqlite, paged, &[5, 1]), (paged.to_owned(), 2));
    }
}
