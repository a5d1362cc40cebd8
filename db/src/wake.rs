//! A word to all who use a database at this moment, where it passes that on: PostgreSQL. It says that there is
//! something to read, and nothing else.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::Db;
use crate::error::DbError;

const CHANNEL: &str = "himalia_notices";

/// Hears the word, on a connection of its own.
#[derive(Debug)]
pub struct Waker(PgListener);

impl Db {
    /// Listens from now on; `None` where the database passes nothing on. Behind a pooler that gives each transaction
    /// another connection nothing is heard, so look now and then as well.
    pub async fn waker(&self) -> Result<Option<Waker>, DbError> {
        let Some(pool) = self.conn().postgres() else { return Ok(None) };
        let options = (*pool.connect_options()).clone();
        let own = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await.map_err(|error| unavailable(&error))?;
        listener.listen(CHANNEL).await.map_err(|error| unavailable(&error))?;
        Ok(Some(Waker(listener)))
    }

    /// Gives the word to everybody, this process too.
    pub async fn wake(&self) -> Result<(), DbError> {
        if self.backend() == DbBackend::Postgres {
            let sql = "SELECT pg_notify($1, '')";
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [CHANNEL.into()]);
            self.conn().query_one_raw(statement).await?;
        }
        Ok(())
    }
}

impl Waker {
    /// Waits for the word, given once or many times, or until the connection was lost and words may have been missed;
    /// the next call connects again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn woken(&mut self) -> Result<(), DbError> {
        self.0.try_recv().await.map_err(|error| unavailable(&error))?;
        while self.0.next_buffered().is_some() {}
        Ok(())
    }
}

fn unavailable(error: &sqlx::Error) -> DbError {
    DbError::Unavailable(error.to_string())
}
