//! The statements that make tables, in the dialect of each database.
//!
//! On SQLite the text is kept by the database, so it is laid out as SQLAlchemy lays it out: then even a comparison
//! of `sqlite_master` finds no difference to a database made by stock.

use sea_orm::DbBackend;

use super::tables::{Column, Key, Kind, OnDelete, Table};

/// A name as this database quotes it. None of the names contains a quote.
pub(super) fn quoted(backend: DbBackend, name: &str) -> String {
    match backend {
        DbBackend::MySql => format!("`{name}`"),
        DbBackend::Postgres => format!("\"{name}\""),
        _ => name.to_owned(),
    }
}

/// The type of a column as this database calls it.
pub(super) fn type_name(backend: DbBackend, kind: Kind) -> String {
    let name = match (kind, backend) {
        (Kind::Id, DbBackend::Postgres) => "SERIAL",
        (Kind::Id | Kind::Integer, _) => "INTEGER",
        (Kind::Boolean, DbBackend::MySql) => "BOOL",
        (Kind::Boolean, _) => "BOOLEAN",
        (Kind::Text, _) => "TEXT",
        (Kind::Timestamp, DbBackend::Postgres) => "TIMESTAMP WITHOUT TIME ZONE",
        (Kind::Timestamp, _) => "DATETIME",
        (Kind::Bytes, DbBackend::Postgres) => "BYTEA",
        (Kind::Bytes, _) => "BLOB",
        (Kind::Varchar(length), _) => return format!("VARCHAR({length})"),
    };
    name.to_owned()
}

/// `CREATE TABLE` and its indexes.
pub(super) fn create(backend: DbBackend, table: &Table) -> Vec<String> {
    let q = |name: &str| quoted(backend, name);
    let mut lines: Vec<String> = table.columns.iter().map(|column| definition(backend, column)).collect();
    let primary: Vec<String> = table
        .columns
        .iter()
        .filter(|column| column.key == Key::Primary)
        .map(|column| q(column.name))
        .collect();
    let name = q(&format!("pk_{}", table.name));
    lines.push(format!("CONSTRAINT {name} PRIMARY KEY ({})", primary.join(", ")));
    for column in table.columns {
        if column.key == Key::Unique {
            let name = q(&format!("uq_{}_{}", table.name, column.name));
            lines.push(format!("CONSTRAINT {name} UNIQUE ({})", q(column.name)));
        }
        if let Some(reference) = column.reference {
            let name = q(&format!("fk_{}_{}_{}", table.name, column.name, reference.table));
            let action = match reference.on_delete {
                OnDelete::Cascade => "CASCADE",
                OnDelete::SetNull => "SET NULL",
            };
            lines.push(format!(
                "CONSTRAINT {name} FOREIGN KEY({}) REFERENCES {} ({}) ON DELETE {action}",
                q(column.name),
                q(reference.table),
                q(reference.column),
            ));
        }
    }
    // InnoDB's row format for keys over long UTF-8 columns; stock asks for it as well.
    let tail = if backend == DbBackend::MySql { " ROW_FORMAT=DYNAMIC" } else { "" };
    let mut statements =
        vec![format!("CREATE TABLE {} (\n\t{}\n){tail}", q(table.name), lines.join(", \n\t"))];
    for column in table.columns.iter().filter(|column| column.key == Key::Indexed) {
        let name = q(&format!("ix_{}_{}", table.name, column.name));
        statements.push(format!("CREATE INDEX {name} ON {} ({})", q(table.name), q(column.name)));
    }
    statements
}

fn definition(backend: DbBackend, column: &Column) -> String {
    let null = if column.nullable { "" } else { " NOT NULL" };
    let count = if column.kind == Kind::Id && backend == DbBackend::MySql { " AUTO_INCREMENT" } else { "" };
    format!("{} {}{null}{count}", quoted(backend, column.name), type_name(backend, column.kind))
}

/// Alembic's own table.
pub(super) fn create_alembic_version() -> String {
    let lines =
        ["version_num VARCHAR(32) NOT NULL", "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"];
    format!("CREATE TABLE alembic_version (\n\t{}\n)", lines.join(", \n\t"))
}
