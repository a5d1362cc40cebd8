//! Opening a pool to PostgreSQL, MySQL or MariaDB.

use std::time::Duration;

use sea_orm::{DatabaseConnection, SqlxMySqlConnector, SqlxPostgresConnector};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, Executor as _};
use tracing::debug;

use super::DbOptions;
use crate::error::{DbError, is_driver_outage};

/// Firewalls and servers drop connections that rest longer.
const IDLE: Duration = Duration::from_mins(5);
const LIFETIME: Duration = Duration::from_mins(30);
const SLOW: Duration = Duration::from_secs(1);
/// How long a connection that has come back is taken to be alive: it was asked when it came back. To ask again before
/// each statement would take as long as the statement.
const TRUSTED: Duration = Duration::from_secs(1);
/// After how many seconds without a statement the server ends a transaction: what a hub has locked whose machine is gone
/// would else stay locked for hours.
const RESTING: u64 = 60;

pub(super) async fn postgres(
    options: &DbOptions,
    server: PgConnectOptions,
) -> Result<DatabaseConnection, DbError> {
    let server = server.log_slow_statements(log::LevelFilter::Warn, SLOW);
    let address = format!("{}:{}", server.get_host(), server.get_port());
    part(greet(&server, options, "PostgreSQL", &address).await?).await;
    // Statements and not start-up options, which connection poolers refuse.
    let limit = format!(
        "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = '{RESTING}s'",
        options.statement_timeout.as_millis()
    );
    let pool = PgPoolOptions::new()
        .max_connections(options.max_connections.max(1))
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(IDLE)
        .max_lifetime(LIFETIME)
        .test_before_acquire(false)
        .before_acquire(|connection, known| {
            Box::pin(async move { Ok(known.idle_for < TRUSTED || connection.ping().await.is_ok()) })
        })
        .after_connect(move |connection, _| {
            let limit = limit.clone();
            Box::pin(async move { connection.execute(sqlx::AssertSqlSafe(limit)).await.map(drop) })
        })
        .connect_lazy_with(server);
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

pub(super) async fn mysql(
    options: &DbOptions,
    server: MySqlConnectOptions,
) -> Result<DatabaseConnection, DbError> {
    let server = server.log_slow_statements(log::LevelFilter::Warn, SLOW);
    let address = format!("{}:{}", server.get_host(), server.get_port());
    let mut connection = greet(&server, options, "MySQL", &address).await?;
    let letters: String =
        sqlx::query_scalar("SELECT @@character_set_database").fetch_one(&mut connection).await?;
    if letters != "utf8mb4" {
        tracing::warn!(
            character_set = %letters,
            "the database cannot store all characters: names and notes beyond its character set will be refused; \
             make it with CHARACTER SET utf8mb4"
        );
    }
    part(connection).await;
    let seconds = options.statement_timeout.as_secs_f64();
    let milliseconds = options.statement_timeout.as_millis();
    let pool = MySqlPoolOptions::new()
        .max_connections(options.max_connections.max(1))
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(IDLE)
        .max_lifetime(LIFETIME)
        .test_before_acquire(false)
        .before_acquire(|connection, known| {
            Box::pin(async move { Ok(known.idle_for < TRUSTED || connection.ping().await.is_ok()) })
        })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                // MariaDB has the one variable, MySQL the other. Row locks are waited for no longer than a statement.
                let mariadb = sqlx::AssertSqlSafe(format!("SET max_statement_time = {seconds}"));
                let mysql = sqlx::AssertSqlSafe(format!("SET max_execution_time = {milliseconds}"));
                if connection.execute(mariadb).await.is_err() {
                    connection.execute(mysql).await?;
                }
                let rest = format!("SET idle_transaction_timeout = {RESTING}");
                if let Err(error) = connection.execute(sqlx::AssertSqlSafe(rest)).await {
                    debug!(%error, "MySQL, and MariaDB before 10.3, let a transaction rest for hours");
                }
                let locks = format!("SET innodb_lock_wait_timeout = {}", seconds.clamp(1.0, 1e6).ceil());
                connection.execute(sqlx::AssertSqlSafe(locks)).await.map(drop)
            })
        })
        .connect_lazy_with(server);
    Ok(SqlxMySqlConnector::from_sqlx_mysql_pool(pool))
}

/// One connection outside the pool, which would repeat a refused connection until its own time is over and then only
/// say that the time is over.
async fn greet<O>(
    server: &O,
    options: &DbOptions,
    kind: &str,
    address: &str,
) -> Result<O::Connection, DbError>
where
    O: ConnectOptions,
    O::Connection: Sized,
{
    let at = |problem: String| DbError::Unavailable(format!("{kind} at {address}: {problem}"));
    match tokio::time::timeout(options.acquire_timeout, server.connect()).await {
        Err(_) => Err(at(format!("no answer within {:?}", options.acquire_timeout))),
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if is_driver_outage(&error) => Err(at(error.to_string())),
        Ok(Err(error)) => Err(DbError::Url {
            url: super::redacted(&options.url),
            problem: format!("{kind} at {address} refuses: {error}"),
        }),
    }
}

/// Closes a connection that has served its purpose; a failing farewell changes nothing.
async fn part(connection: impl sqlx::Connection) {
    let _ = connection.close().await;
}
