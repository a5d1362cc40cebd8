//! Copies in a schema of their own.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};

use super::{Plan, SCRIPT};
use crate::error::{DbError, is_refused};
use crate::schema::{ddl, inspect, revisions};
use crate::session::Tx;

/// Makes the copies in the transaction, in which nobody else writes from here on, and returns the script.
pub(super) async fn copy(tx: &Tx, plan: &Plan<'_>) -> Result<String, DbError> {
    let script = script(tx, plan).await?;
    copy_tables(tx, plan, &script).await.map_err(|error| {
        let remedy = if is_refused(&error) {
            "let the hub's user make schemas (GRANT CREATE ON DATABASE … TO …)"
        } else {
            "see that all hubs are stopped"
        };
        DbError::Backup {
            place: format!("the schema {}", plan.name),
            problem: DbError::from(error).to_string(),
            remedy: remedy.to_owned(),
        }
    })?;
    Ok(script)
}

async fn copy_tables(tx: &Tx, plan: &Plan<'_>, script: &str) -> Result<(), DbErr> {
    let Plan { name, tables, .. } = plan;
    tx.execute_unprepared(&format!("CREATE SCHEMA {}", q(name))).await?;
    tx.execute_unprepared(&format!("LOCK TABLE {}", list(tables))).await?;
    for table in tables {
        let table = q(table);
        tx.execute_unprepared(&format!("CREATE TABLE {}.{table} AS TABLE {table}", q(name))).await?;
    }
    let place = format!("{}.{}", q(name), q(SCRIPT));
    tx.execute_unprepared(&format!("CREATE TABLE {place} (script TEXT NOT NULL)")).await?;
    let keep = format!("INSERT INTO {place} (script) VALUES ($1)");
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, keep, [script.into()])).await?;
    Ok(())
}

/// Takes away what the upgrade is about to add, so that constraints, counters and owners of the tables stay, and puts
/// the rows back.
async fn script(tx: &Tx, plan: &Plan<'_>) -> Result<String, DbError> {
    let Plan { name, tables, missing, .. } = plan;
    let mut lines = vec!["BEGIN".to_owned(), format!("SET LOCAL search_path TO {}", own_schema(tx).await?)];
    if !missing.is_empty() {
        lines.push(format!("DROP TABLE IF EXISTS {}", list(missing)));
    }
    lines.push(format!("TRUNCATE {}", list(tables)));
    for (table, columns) in additions(tx, plan).await? {
        let drops = columns.iter().map(|column| format!("DROP COLUMN IF EXISTS {}", q(column)));
        lines.push(format!("ALTER TABLE {} {}", q(table), drops.collect::<Vec<_>>().join(", ")));
    }
    for table in tables {
        let table = q(table);
        lines.push(format!("INSERT INTO {table} SELECT * FROM {}.{table}", q(name)));
    }
    lines.push("COMMIT".to_owned());
    let head = plan.head(&format!("DROP SCHEMA {} CASCADE", q(name)));
    Ok(lines.into_iter().fold(head, |script, line| script + &line + ";\n"))
}

async fn own_schema(tx: &Tx) -> Result<String, DbError> {
    let ask = Statement::from_string(DbBackend::Postgres, "SELECT quote_ident(current_schema())");
    let row = tx.query_one_raw(ask).await?;
    let schema = row.map(|row| row.try_get_by_index(0)).transpose()?;
    schema.ok_or_else(|| DbError::Invalid("the database has no schema to work in".to_owned()))
}

/// The columns that the upgrade will add to tables that exist.
async fn additions(tx: &Tx, plan: &Plan<'_>) -> Result<BTreeMap<&'static str, Vec<&'static str>>, DbError> {
    let mut added: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for change in revisions::since(plan.from)?.iter().flat_map(|step| step.changes) {
        if plan.tables.contains(&change.table) {
            added.entry(change.table).or_default().push(change.column);
        }
    }
    for (table, columns) in &mut added {
        let present = inspect::columns(tx, table).await?;
        columns.retain(|column| !present.contains(*column));
    }
    added.retain(|_, columns| !columns.is_empty());
    Ok(added)
}

fn q(name: &str) -> String {
    ddl::quoted(DbBackend::Postgres, name)
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| q(name)).collect::<Vec<_>>().join(", ")
}
