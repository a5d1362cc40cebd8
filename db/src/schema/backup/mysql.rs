//! Copies beside the tables, under longer names: another database would need rights that hubs seldom have. Each change
//! of a table is final here, so what was begun is taken away again when something fails.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};

use super::{Plan, SCRIPT};
use crate::error::{DbError, is_refused};
use crate::schema::ddl;
use crate::schema::tables::TABLES;
use crate::session::Tx;

/// Why there is no backup.
enum Trouble {
    Query(DbErr),
    /// A table and its copy have not as many rows.
    Different(&'static str),
}

impl From<DbErr> for Trouble {
    fn from(error: DbErr) -> Self {
        Self::Query(error)
    }
}

/// Makes the copies and returns the script.
pub(super) async fn copy(tx: &Tx, plan: &Plan<'_>) -> Result<String, DbError> {
    let script = script(tx, plan).await?;
    // Only these are taken away again: a table of such a name that was there belongs to another backup.
    let mut made = Vec::new();
    let Err(trouble) = copy_tables(tx, plan, &script, &mut made).await else { return Ok(script) };
    let (mut problem, remedy) = match trouble {
        Trouble::Query(error) if is_refused(&error) => (
            DbError::from(error).to_string(),
            "let the hub's user make tables and remove them (GRANT SELECT, INSERT, CREATE, DROP ON the database)",
        ),
        Trouble::Query(error) => (DbError::from(error).to_string(), "see that all hubs are stopped"),
        Trouble::Different(table) => {
            (format!("somebody writes to the table {table} meanwhile"), "see that all hubs are stopped")
        }
    };
    if !made.is_empty()
        && let Err(error) = tx.execute_unprepared(&drop_tables(&made)).await
    {
        let error = DbError::from(error);
        problem = format!("{problem}, and the tables that were made for it cannot be removed ({error})");
    }
    Err(DbError::Backup { place: format!("tables {}_…", plan.name), problem, remedy: remedy.to_owned() })
}

async fn copy_tables(tx: &Tx, plan: &Plan<'_>, script: &str, made: &mut Vec<String>) -> Result<(), Trouble> {
    for table in &plan.tables {
        tx.execute_unprepared(&format!("CREATE TABLE {} LIKE {}", of(plan, table), q(table))).await?;
        made.push(of(plan, table));
    }
    // The changes of tables have ended the transaction, in which rows that were read cannot be changed by others.
    tx.execute_unprepared("START TRANSACTION").await?;
    for table in &plan.tables {
        tx.execute_unprepared(&put(&of(plan, table), &q(table))).await?;
    }
    tx.execute_unprepared("COMMIT").await?;
    for table in &plan.tables {
        if count(tx, &of(plan, table)).await? != count(tx, &q(table)).await? {
            return Err(Trouble::Different(table));
        }
    }
    let place = of(plan, SCRIPT);
    let table = format!("CREATE TABLE {place} (id INTEGER NOT NULL PRIMARY KEY, script LONGTEXT NOT NULL)");
    tx.execute_unprepared(&table).await?;
    made.push(place.clone());
    let keep = format!("INSERT INTO {place} (id, script) VALUES (1, ?)");
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::MySql, keep, [script.into()])).await?;
    Ok(())
}

pub(super) async fn count(tx: &Tx, table: &str) -> Result<Option<i64>, DbErr> {
    let ask = Statement::from_string(DbBackend::MySql, format!("SELECT COUNT(*) FROM {table}"));
    tx.query_one_raw(ask).await?.map(|row| row.try_get_by_index(0)).transpose()
}

/// Makes the tables anew as they are now, from whatever an upgrade, perhaps an interrupted one, has made of them. It
/// may be carried out again when it was interrupted itself.
async fn script(tx: &Tx, plan: &Plan<'_>) -> Result<String, DbError> {
    let known = TABLES.iter().map(|table| q(table.name)).chain([q("alembic_version")]);
    let mut lines = vec![
        "SET FOREIGN_KEY_CHECKS = 0".to_owned(),
        format!("DROP TABLE IF EXISTS {}", known.collect::<Vec<_>>().join(", ")),
    ];
    for table in &plan.tables {
        let ask = Statement::from_string(DbBackend::MySql, format!("SHOW CREATE TABLE {}", q(table)));
        if let Some(row) = tx.query_one_raw(ask).await? {
            lines.push(row.try_get_by_index(1)?);
        }
        lines.push(put(&q(table), &of(plan, table)));
    }
    lines.push("SET FOREIGN_KEY_CHECKS = 1".to_owned());
    let head = plan.head(&remove(plan));
    Ok(lines.into_iter().fold(head, |script, line| script + &line + ";\n"))
}

fn put(into: &str, from: &str) -> String {
    format!("INSERT INTO {into} SELECT * FROM {from}")
}

/// Takes the backup away, or what there is of it.
fn remove(plan: &Plan<'_>) -> String {
    let copies: Vec<_> = plan.tables.iter().copied().chain([SCRIPT]).map(|table| of(plan, table)).collect();
    drop_tables(&copies)
}

fn drop_tables(quoted: &[String]) -> String {
    format!("DROP TABLE IF EXISTS {}", quoted.join(", "))
}

/// The copy of a table.
fn of(plan: &Plan<'_>, table: &str) -> String {
    q(&format!("{}_{table}", plan.name))
}

pub(super) fn q(name: &str) -> String {
    ddl::quoted(DbBackend::MySql, name)
}
