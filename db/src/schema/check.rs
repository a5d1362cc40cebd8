//! Which schema the database has.

use std::collections::BTreeSet;

use sea_orm::ConnectionTrait;

use super::tables::TABLES;
use super::{HEAD, inspect};
use crate::error::DbError;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// None of JupyterHub's tables and no revision.
    Empty,
    /// There is a revision.
    Stamped(String),
    /// Tables without a revision, as JupyterHub before 0.8 left them; the revision is stock's guess.
    Unstamped {
        /// What the tables look like.
        guess: &'static str,
    },
}

/// Looks at the database and changes nothing. Two or three queries.
pub async fn check(db: &impl ConnectionTrait) -> Result<State, DbError> {
    let tables = inspect::tables(db).await?;
    state(db, &tables).await
}

pub(super) async fn state(db: &impl ConnectionTrait, tables: &BTreeSet<String>) -> Result<State, DbError> {
    // A stamp counts also without tables: it may be another application's.
    if tables.contains("alembic_version")
        && let Some(revision) = inspect::revision(db).await?
    {
        return Ok(State::Stamped(revision));
    }
    if !TABLES.iter().any(|table| tables.contains(table.name)) {
        return Ok(State::Empty);
    }
    let guess = if tables.contains("spawners") {
        HEAD
    } else if tables.contains("services") {
        "af4cbdb2d13c"
    } else {
        "19c0846f6344"
    };
    Ok(State::Unstamped { guess })
}
