//! A backup on MySQL that an attempt before this one has left. Where it still has all that there is, no other is made:
//! it is the database as it was before the first attempt, and each attempt that fails would leave one more.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use super::mysql::{count, q};
use super::{Backup, NAME, SCRIPT};
use crate::error::DbError;
use crate::schema::inspect;
use crate::schema::revisions::{self, AddColumn};
use crate::schema::tables::TABLES;
use crate::session::Tx;

/// The newest backup that has all that there is.
pub(super) async fn find(tx: &Tx, present: &BTreeSet<String>) -> Result<Option<Backup>, DbError> {
    let whole = present.iter().filter_map(|table| table.strip_suffix(SCRIPT)?.strip_suffix('_'));
    let mut backups: Vec<(&str, &str, &str)> = whole
        .filter_map(|name| name.strip_prefix(NAME)?.split_once('_').map(|(from, time)| (time, from, name)))
        .collect();
    backups.sort_unstable_by_key(|backup| Reverse(*backup));
    for (_, from, name) in backups {
        if has_all(tx, present, name, from).await?
            && let Some(script) = script(tx, name).await?
        {
            return Ok(Some(Backup::Tables { name: name.to_owned(), script }));
        }
    }
    Ok(None)
}

async fn script(tx: &Tx, name: &str) -> Result<Option<String>, DbError> {
    let ask = format!("SELECT script FROM {}", q(&format!("{name}_{SCRIPT}")));
    let row = tx.query_one_raw(Statement::from_string(DbBackend::MySql, ask)).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
}

/// Whether the tables differ from a backup by nothing but what upgrades from its revision add.
async fn has_all(tx: &Tx, present: &BTreeSet<String>, name: &str, from: &str) -> Result<bool, DbError> {
    let added: Vec<&AddColumn> = match revisions::since(from) {
        Ok(steps) => steps.iter().flat_map(|step| step.changes).collect(),
        Err(_) => return Ok(false),
    };
    for table in TABLES.iter().map(|table| table.name) {
        let copy = format!("{name}_{table}");
        let has_all = match (present.contains(table), present.contains(&copy)) {
            (true, true) => has_rows(tx, table, &copy, &added).await?,
            (true, false) => count(tx, &q(table)).await? == Some(0),
            (false, copied) => !copied,
        };
        if !has_all {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a copy has the rows of a table, letter by letter, and no others. Two or three statements, however many rows.
async fn has_rows(tx: &Tx, table: &str, copy: &str, added: &[&AddColumn]) -> Result<bool, DbError> {
    let (columns, copied) = (inspect::columns(tx, table).await?, inspect::columns(tx, copy).await?);
    let mut untouched = Vec::new();
    for column in columns.difference(&copied) {
        match added.iter().find(|change| change.table == table && change.column == *column) {
            Some(change) => untouched.push(change.filling.is_all_of(&format!("present.{}", q(column)))),
            None => return Ok(false),
        }
    }
    if !copied.is_subset(&columns) || count(tx, &q(table)).await? != count(tx, &q(copy)).await? {
        return Ok(false);
    }
    // The first comparison finds the row by its key, the second tells letters apart that are equal to the first.
    let same = copied.iter().map(|column| {
        let column = q(column);
        format!(
            "present.{column} <=> kept.{column} \
             AND CAST(present.{column} AS BINARY) <=> CAST(kept.{column} AS BINARY)"
        )
    });
    let same = same.collect::<Vec<_>>().join(" AND ");
    let kept = format!("EXISTS (SELECT 1 FROM {} AS kept WHERE {same})", q(copy));
    let as_kept = untouched.into_iter().chain([kept]).collect::<Vec<_>>().join(" AND ");
    let ask = format!("SELECT 1 FROM {} AS present WHERE NOT ({as_kept}) LIMIT 1", q(table));
    Ok(tx.query_one_raw(Statement::from_string(DbBackend::MySql, ask)).await?.is_none())
}
