//! From a database URL, as SQLAlchemy writes them, to a pool.

pub(crate) mod kept;
pub(crate) mod log_index;
mod server;
mod sqlite;
mod url;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use hub_core::secret::SecretString;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

pub use self::url::redacted;
use self::url::{Target, parse};
use crate::error::DbError;
use crate::session::{Conn, Limits, Tx};

/// How to reach the database and how long to wait for it.
#[derive(Clone)]
pub struct DbOptions {
    /// `sqlite:///relative.sqlite`, `sqlite:////absolute.sqlite`, a plain file name, `sqlite://` (in memory),
    /// `postgresql[+driver]://user:password@host:5432/name`, `mysql[+driver]://user:password@host:3306/name`.
    /// The driver is SQLAlchemy's and is ignored. `mariadb://` means MySQL, `postgres://` PostgreSQL.
    pub url: String,
    /// Password used when the URL has none; the caller reads `PGPASSWORD` or `MYSQL_PWD`.
    pub password: Option<SecretString>,
    /// Most connections of the pool, 10 by default. An in-memory database always has one.
    pub max_connections: u32,
    /// Longest wait for a connection from the pool, making one included; 10 s by default.
    pub acquire_timeout: Duration,
    /// Longest time for one statement, 30 s by default; the server is told as well where it can be.
    pub statement_timeout: Duration,
    /// Longest wait for another process or task to finish writing to the SQLite file; 10 s by default.
    pub write_timeout: Duration,
}

impl DbOptions {
    /// The defaults for one URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for DbOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbOptions")
            .field("url", &redacted(&self.url))
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("write_timeout", &self.write_timeout)
            .finish()
    }
}

/// An open database. Cheap to clone; the clones share one pool.
#[derive(Debug, Clone)]
pub struct Db {
    conn: Conn,
    file: Option<std::path::PathBuf>,
    shown: String,
}

impl Db {
    /// Opens the pool and proves that the database answers; a SQLite file is created (mode 0600, journal in WAL mode)
    /// when it is missing, and an existing one keeps its journal mode and must be writable. Tables are another step:
    /// [`crate::schema::create`].
    ///
    /// # Errors
    /// [`DbError::Url`], [`DbError::SqliteFile`], or [`DbError::Unavailable`] when a server does not answer.
    pub async fn connect(options: DbOptions) -> Result<Self, DbError> {
        let target = parse(&options)?;
        let shown = redacted(&options.url);
        let (pool, kept, file) = match target {
            Target::Sqlite(file) => {
                let (pool, kept) = sqlite::open(&options, file.as_deref()).await?;
                (pool, kept, file)
            }
            Target::Postgres(server) => (server::postgres(&options, *server).await?, None, None),
            Target::MySql(server) => (server::mysql(&options, *server).await?, None, None),
        };
        let limits = Limits { statement: statement_limit(&options), write_lock: options.write_timeout };
        tracing::debug!(url = %shown, "database opened");
        Ok(Self { conn: Conn::new(pool, kept, limits), file, shown })
    }

    /// Has a SQLite file on a local file system use a write-ahead log until [`Db::close`], where it has a rollback
    /// journal and nobody else uses it at this moment. Where it then has one, what was read may be remembered
    /// ([`crate::Known`]). For who goes on to ask and write a lot.
    pub async fn log_ahead(&self) -> Result<(), DbError> {
        self.conn.log_ahead().await
    }

    /// The pool, for single statements.
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Begins a transaction. On SQLite it takes the write lock at once, so keep it short.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        self.conn.begin().await
    }

    /// SQLite, PostgreSQL, or MySQL (which stands for MariaDB too).
    pub fn backend(&self) -> DbBackend {
        self.conn.get_database_backend()
    }

    /// The SQLite file, `None` for servers and in memory.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The URL without its password, for logs.
    pub fn shown_url(&self) -> &str {
        &self.shown
    }

    /// How many statements this process has sent so far, those of transactions too; what tests of fixed numbers count.
    pub fn statements(&self) -> u64 {
        self.conn.statements()
    }

    /// A number that changes with all that anybody changes in the database, new tokens of this process aside; `None`
    /// where that cannot be told. For [`crate::Known`].
    pub fn version(&self) -> Option<u64> {
        self.conn.version(true)
    }

    /// The same, this process's notes of who was active when aside, too.
    pub fn version_without_activity(&self) -> Option<u64> {
        self.conn.version(false)
    }

    /// Whether the database answers now. What a health check asks.
    pub async fn ping(&self) -> Result<(), DbError> {
        // A query: what executes would queue behind SQLite's writers.
        self.conn.query_one_raw(Statement::from_string(self.backend(), "SELECT 1")).await?;
        Ok(())
    }

    /// Closes the pool after the statements under way; on SQLite the write-ahead log is folded into the file, which
    /// gets back the journal mode that it had.
    pub async fn close(self) -> Result<(), DbError> {
        self.conn.close().await
    }
}

/// The limit within this process: the pool may take its own time before the statement begins, and the server's limit
/// should strike first.
fn statement_limit(options: &DbOptions) -> Duration {
    options.acquire_timeout + options.statement_timeout + Duration::from_secs(2)
}
