//! A fresh database for each test.

use std::env;
use std::future::Future;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use hub_core::secret::random_hex32;
use hub_db::{ConnectionTrait, Db, DbBackend, DbOptions, schema};
use sea_orm::{DbErr, ExecResult, QueryResult, Statement};
use tempfile::TempDir;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
}

/// One test's database.
#[derive(Debug, Clone)]
pub(crate) struct Bed {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) db: Db,
}

/// Runs the same tests on each kind of database.
macro_rules! on_every_database {
    ($($test:ident),+ $(,)?) => {
        crate::harness::on_every_database! { @on sqlite Sqlite: $($test),+ }
        crate::harness::on_every_database! { @on postgres Postgres: $($test),+ }
        crate::harness::on_every_database! { @on mariadb MariaDb: $($test),+ }
    };
    (@on $module:ident $kind:ident: $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $test() {
                    Box::pin(crate::harness::run(crate::harness::Kind::$kind, super::$test)).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_database;

/// The value of a variable that this test needs. Without it the test is passed over, loudly; in CI it fails.
pub(crate) fn needed(variable: &str) -> Option<String> {
    let value = env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        assert!(env::var_os("CI").is_none(), "{variable} is not set: in CI nothing may be passed over");
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test").to_owned();
        // Not a print macro: the test runner would keep that to itself.
        let _ = writeln!(std::io::stderr(), "NOT TESTED: {test}: {variable} is not set");
    }
    value
}

/// Runs a test on a fresh database with JupyterHub's schema.
pub(crate) async fn run<F: Future<Output = ()> + Send + 'static>(kind: Kind, test: impl FnOnce(Bed) -> F) {
    run_on(kind, true, test).await;
}

/// Runs a test on a fresh database that is empty.
pub(crate) async fn run_empty<F: Future<Output = ()> + Send + 'static>(
    kind: Kind,
    test: impl FnOnce(Bed) -> F,
) {
    run_on(kind, false, test).await;
}

async fn run_on<F: Future<Output = ()> + Send + 'static>(
    kind: Kind,
    tables: bool,
    test: impl FnOnce(Bed) -> F,
) {
    let Some(fresh) = Fresh::make(kind).await else { return };
    let mut options = DbOptions::new(&fresh.url);
    options.max_connections = 4;
    let db = Db::connect(options).await.expect("the fresh database opens");
    if tables {
        schema::create(&db).await.expect("the schema is made");
    }
    let bed = Bed { kind, url: fresh.url.clone(), db: db.clone() };
    let result = tokio::spawn(test(bed)).await;
    db.close().await.expect("the database closes");
    fresh.drop().await;
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// A database that exists for one test.
pub(crate) struct Fresh {
    pub(crate) url: String,
    server: Option<(Db, String)>,
    _folder: Option<TempDir>,
}

impl Fresh {
    /// `None`: there is no such server to test on.
    pub(crate) async fn make(kind: Kind) -> Option<Self> {
        let variable = match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let url = format!("sqlite:///{}/hub.sqlite", folder.path().display());
                return Some(Self { url, server: None, _folder: Some(folder) });
            }
            Kind::Postgres => "HIMALIA_TEST_POSTGRES_URL",
            Kind::MariaDb => "HIMALIA_TEST_MARIADB_URL",
        };
        let server = needed(variable)?;
        let name = format!("himalia_test_{}", &random_hex32()[..12]);
        let mut options = DbOptions::new(&server);
        options.max_connections = 1;
        let admin = Db::connect(options).await.expect("the database server answers");
        let letters = if kind == Kind::MariaDb { " CHARACTER SET utf8mb4" } else { "" };
        let create = format!("CREATE DATABASE {name}{letters}");
        admin.conn().execute_unprepared(&create).await.expect("the test's user may make databases");
        let mut url: url::Url = server.parse().expect("the variable holds a URL");
        url.set_path(&name);
        Some(Self { url: url.into(), server: Some((admin, name)), _folder: None })
    }

    pub(crate) async fn drop(self) {
        if let Some((admin, name)) = self.server {
            let force = if admin.backend() == DbBackend::Postgres { " WITH (FORCE)" } else { "" };
            let drop = format!("DROP DATABASE {name}{force}");
            admin.conn().execute_unprepared(&drop).await.expect("the test's database goes");
            admin.close().await.expect("the connection closes");
        }
    }
}

/// A connection that counts its statements.
pub(crate) struct Counting<'a, C> {
    inner: &'a C,
    count: AtomicUsize,
}

impl<'a, C: ConnectionTrait> Counting<'a, C> {
    pub(crate) fn new(inner: &'a C) -> Self {
        Self { inner, count: AtomicUsize::new(0) }
    }

    /// How many statements ran since the last call.
    pub(crate) fn take(&self) -> usize {
        self.count.swap(0, Ordering::Relaxed)
    }

    fn one_more(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait::async_trait]
impl<C: ConnectionTrait> ConnectionTrait for Counting<'_, C> {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.one_more();
        self.inner.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.one_more();
        self.inner.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.one_more();
        self.inner.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.one_more();
        self.inner.query_all_raw(statement).await
    }
}

/// A moment by its RFC 3339 text.
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an RFC 3339 time")
}

/// Noon of the day on which the tests live.
pub(crate) fn noon() -> DateTime<Utc> {
    at("2026-03-04T12:00:00Z")
}

/// The number in the first column of the first row.
pub(crate) async fn number(db: &impl ConnectionTrait, sql: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await.expect("the query runs").expect("it has a row");
    row.try_get_by_index(0).expect("its first column is a number")
}

/// The texts in the first column.
pub(crate) async fn texts(db: &impl ConnectionTrait, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.expect("the query runs");
    rows.iter().map(|row| row.try_get_by_index(0).expect("its first column is a text")).collect()
}
