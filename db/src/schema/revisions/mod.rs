//! JupyterHub's migrations from version 4.0 on, one file for each, named by its alembic id.
//!
//! They only add columns, so each is a list of additions. What they add differs here and there from what a new
//! database has (a length, a server default): that is how stock's own upgrade leaves it.

mod r3c2384c5aae1;
mod r4621fec11365;
mod rafd65840b69e;
mod rbe8ecf03ddac;
mod rf460b0348206;
mod rff1860e38070;

use sea_orm::{ConnectionTrait as _, DbBackend};

use super::tables::Kind;
use super::{ddl, inspect};
use crate::error::DbError;
use crate::session::Tx;

/// One migration.
#[derive(Debug)]
pub(super) struct Revision {
    /// The revision before.
    pub(super) from: &'static str,
    /// The revision after: the id of the migration.
    pub(super) to: &'static str,
    pub(super) changes: &'static [AddColumn],
}

/// The value of existing rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Filling {
    /// NULL.
    Nothing,
    /// True, once, for the rows that exist; the column stays nullable and without default.
    TrueOnce,
    /// A default kept by the database for a column that is not nullable.
    False,
    /// The same with a number.
    Number(i32),
}

impl Filling {
    /// The condition in MySQL's SQL that a column of a row has what it was filled with.
    pub(super) fn is_all_of(self, column: &str) -> String {
        match self {
            Self::Nothing => format!("{column} IS NULL"),
            Self::TrueOnce => format!("COALESCE({column}, true) = true"),
            Self::False => format!("{column} = false"),
            Self::Number(number) => format!("{column} = {number}"),
        }
    }
}

/// A column to add to a table that may exist.
#[derive(Debug)]
pub(super) struct AddColumn {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    pub(super) kind: Kind,
    pub(super) filling: Filling,
}

/// All migrations in order, each beginning where the one before ends.
const REVISIONS: &[Revision] = &[
    r3c2384c5aae1::REVISION,
    r4621fec11365::REVISION,
    rbe8ecf03ddac::REVISION,
    rafd65840b69e::REVISION,
    rff1860e38070::REVISION,
    rf460b0348206::REVISION,
];

/// The migrations from a revision to the head.
///
/// # Errors
/// [`DbError::UnknownRevision`]
pub(super) fn since(revision: &str) -> Result<&'static [Revision], DbError> {
    let first = REVISIONS.iter().position(|step| step.from == revision);
    first
        .and_then(|first| REVISIONS.get(first..))
        .ok_or_else(|| DbError::UnknownRevision { found: revision.to_owned() })
}

impl AddColumn {
    pub(super) const fn nullable(table: &'static str, column: &'static str, kind: Kind) -> Self {
        Self { table, column, kind, filling: Filling::Nothing }
    }

    /// Adds the column unless the table is missing (it is made later, complete) or has it (an earlier attempt ended
    /// here), and fills it.
    pub(super) async fn apply(&self, tx: &Tx) -> Result<(), DbError> {
        let present = inspect::columns(tx, self.table).await?;
        if present.is_empty() {
            return Ok(());
        }
        let backend = tx.get_database_backend();
        if !present.contains(self.column) {
            tx.execute_unprepared(&self.addition(backend)).await?;
        }
        if matches!(self.filling, Filling::TrueOnce) {
            let (table, column) = (ddl::quoted(backend, self.table), ddl::quoted(backend, self.column));
            let fill = format!("UPDATE {table} SET {column} = true WHERE {column} IS NULL");
            tx.execute_unprepared(&fill).await?;
        }
        Ok(())
    }

    fn addition(&self, backend: DbBackend) -> String {
        let table = ddl::quoted(backend, self.table);
        let column = ddl::quoted(backend, self.column);
        let kind = ddl::type_name(backend, self.kind);
        let add = format!("ALTER TABLE {table} ADD COLUMN {column} {kind}");
        match self.filling {
            Filling::Nothing | Filling::TrueOnce => add,
            Filling::False if backend == DbBackend::Sqlite => format!("{add} DEFAULT 0 NOT NULL"),
            Filling::False => format!("{add} DEFAULT false NOT NULL"),
            Filling::Number(number) => format!("{add} DEFAULT '{number}' NOT NULL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::HEAD;
    use super::*;

    #[test]
    fn the_migrations_form_one_chain_that_ends_at_the_head() {
        for pair in REVISIONS.windows(2) {
            assert_eq!(pair[0].to, pair[1].from);
        }
        assert_eq!(REVISIONS.last().map(|revision| revision.to), Some(HEAD));
    }
}
