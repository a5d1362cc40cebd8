//! Connections to a SQLite file that are kept between statements.
//!
//! A pool asks a connection whether it is alive before and after each use. Over a network that is wise; here it would
//! cost more than the statements themselves, each of which is a word with the connection's own thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{ConnAcquireErr, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Sqlite, SqliteConnection};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit};

use super::log_index::LogIndex;
use super::sqlite::{self, Logged};

/// Connections that were given up and may still be at work. With more of them at once the next ones are lent again.
const MOST_LEAVING: u32 = 16;

/// As many connections as may be used at once, each made when it is first needed.
#[derive(Debug, Clone)]
pub(crate) struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: SqliteConnectOptions,
    places: Semaphore,
    patience: Duration,
    /// Set where there is a write-ahead log; also for [`Kept::note`].
    logged: AsyncMutex<Option<Logged>>,
    /// For connections whose statement was given up, until their threads have left it.
    leaving: Arc<Semaphore>,
    /// The one that was used last comes first: it knows the statements.
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Kept {
    /// At most `most` connections, which are waited for no longer than `patience`.
    pub(super) fn new(options: SqliteConnectOptions, most: usize, patience: Duration) -> Self {
        let places = Semaphore::new(most);
        let (logged, idle) = (AsyncMutex::default(), Mutex::default());
        let leaving = Arc::new(Semaphore::new(MOST_LEAVING as usize));
        Self(Arc::new(Inner { options, places, patience, logged, leaving, idle }))
    }

    /// See [`crate::Db::log_ahead`]. The index of the log, if there is one and this is the first time.
    pub(crate) async fn log_ahead(&self) -> Result<Option<LogIndex>, DbErr> {
        let mut logged = self.0.logged.lock().await;
        if logged.is_some() {
            return Ok(None);
        }
        *logged = sqlite::log_ahead(&self.0.options).await.map_err(|error| DbErr::Conn(driver(error)))?;
        Ok(logged.is_some().then(|| LogIndex::open(self.0.options.get_filename())).flatten())
    }

    /// The same as [`Kept::execute`] for what need not have reached the disk when it is done: no other process misses
    /// it, and it is on the disk with the next commit that is waited for; a failure of the machine may undo it.
    pub(crate) async fn note(&self, statement: &Statement) -> Result<ExecResult, DbErr> {
        let mut logged = self.0.logged.lock().await;
        let Some(Logged { connection, .. }) = logged.as_mut() else {
            drop(logged);
            return self.execute(statement).await;
        };
        let done = query(statement).execute(&mut *connection).await;
        if is_broken(&done)
            && let Ok(mut fresh) = sqlite::hasty(&self.0.options).connect().await
            && sqlx::Executor::execute(&mut fresh, sqlite::OPEN_THE_LOG).await.is_ok()
        {
            *connection = fresh;
        }
        done.map(ExecResult::from).map_err(|error| DbErr::Exec(driver(error)))
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
        // Those that are still at work hold locks. A semaphore that nobody closes gives its places.
        drop(self.0.leaving.acquire_many(MOST_LEAVING).await);
    }

    /// Gives the file its journal mode back; to be called when everything else is closed. Another process that uses the
    /// file keeps it from happening, and then nothing is lost: whoever opens the file finds the log.
    pub(crate) async fn restore(&self) {
        let Some(Logged { connection, restore }) = self.0.logged.lock().await.take() else { return };
        let _ = connection.close().await;
        if restore {
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
        Ok(Lent { inner, connection: Some(connection), is_at_rest: false, _permit: permit })
    }
}

/// A connection in use. It goes back when it is dropped, unless its statement was given up: its thread may be at work
/// on that for long, waiting for another process to write, and whoever got the connection next would wait with it.
#[derive(Debug)]
struct Lent<'a> {
    inner: &'a Inner,
    connection: Option<SqliteConnection>,
    is_at_rest: bool,
    _permit: SemaphorePermit<'a>,
}

impl Lent<'_> {
    fn connection(&mut self) -> Result<&mut SqliteConnection, DbErr> {
        self.connection.as_mut().ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))
    }

    /// The statement has ended, so that the connection can be kept unless it is broken.
    fn gives_back<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if is_broken(&done) {
            self.connection = None;
        }
        self.is_at_rest = true;
        done
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !self.is_at_rest
            && let Ok(runtime) = Handle::try_current()
            && let Ok(place) = Arc::clone(&self.inner.leaving).try_acquire_owned()
        {
            runtime.spawn(async move {
                // It is of no more use to anybody, however it ends.
                let _ = connection.close().await;
                drop(place);
            });
            return;
        }
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

/// Whether a connection is of no more use.
fn is_broken<T>(done: &Result<T, sqlx::Error>) -> bool {
    matches!(done, Err(sqlx::Error::WorkerCrashed | sqlx::Error::Io(_)))
}

fn query(statement: &Statement) -> Query<'_, Sqlite, SqlxValues> {
    let values = statement.values.clone().unwrap_or(sea_orm::Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql.as_str()), SqlxValues(values))
}

fn driver(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(error.into())
}
