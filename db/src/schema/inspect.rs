//! What is in the database.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::error::DbError;

async fn names(
    db: &impl ConnectionTrait,
    sql: &str,
    values: Vec<sea_orm::Value>,
) -> Result<BTreeSet<String>, DbError> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get_by_index(0).map_err(DbError::from)).collect()
}

/// Names of the tables of this database (of the first schema of the search path on PostgreSQL).
pub(super) async fn tables(db: &impl ConnectionTrait) -> Result<BTreeSet<String>, DbError> {
    let sql = match db.get_database_backend() {
        DbBackend::Postgres => {
            "SELECT CAST(table_name AS text) FROM information_schema.tables WHERE table_schema = current_schema()"
        }
        DbBackend::MySql => {
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        }
        _ => "SELECT name FROM sqlite_master WHERE type = 'table'",
    };
    names(db, sql, Vec::new()).await
}

/// Names of the columns of a table, none if there is no such table.
pub(super) async fn columns(db: &impl ConnectionTrait, table: &str) -> Result<BTreeSet<String>, DbError> {
    let sql = match db.get_database_backend() {
        DbBackend::Postgres => {
            "SELECT CAST(column_name AS text) FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = $1"
        }
        DbBackend::MySql => {
            "SELECT column_name FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = ?"
        }
        _ => "SELECT name FROM pragma_table_info(?)",
    };
    names(db, sql, vec![table.into()]).await
}

/// The revision in `alembic_version`, which must exist; `None` when it is empty.
pub(super) async fn revision(db: &impl ConnectionTrait) -> Result<Option<String>, DbError> {
    Ok(names(db, "SELECT version_num FROM alembic_version", Vec::new()).await?.pop_last())
}
