//! A look into a hub's database past the hub, with Python's own drivers: what stock would find there.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::environment::Needed;

/// Runs one statement on an SQLite file; its rows, each a list of values.
///
/// # Errors
/// When there is no such file or table.
pub async fn query(file: &Path, statement: &str) -> Result<Vec<Vec<Value>>> {
    const SCRIPT: &str = "import json, sqlite3, sys\n\
        db = sqlite3.connect(f'file:{sys.argv[1]}?mode=rw', uri=True, timeout=30)\n\
        print(json.dumps(db.execute(sys.argv[2]).fetchall(), default=str))\n\
        db.commit()\n";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(file).arg(statement);
    let rows = output(command).await?;
    Ok(serde_json::from_str(&rows)?)
}

/// A database of its own on the server of an administrator's URL (`postgresql://` or `mysql://`), empty. Returns its
/// URL as SQLAlchemy writes it, with the driver that the environment of JupyterHub 6.1 has.
///
/// # Errors
/// When the server refuses.
pub async fn create(server: &str) -> Result<String> {
    const SCRIPT: &str = "import sqlalchemy, sys\n\
        engine = sqlalchemy.create_engine(sys.argv[1], isolation_level='AUTOCOMMIT')\n\
        with engine.connect() as db: db.execute(sqlalchemy.text('CREATE DATABASE ' + sys.argv[2]))\n";
    let (scheme, rest) = server.split_once("://").context("a database URL has a scheme")?;
    let driver = if scheme.starts_with("postgres") { "postgresql+psycopg2" } else { "mysql+pymysql" };
    let name = format!("hub_{}", uuid::Uuid::new_v4().simple());
    let mut command = Command::new(Needed::Venv61.path().join("bin/python"));
    command.args(["-c", SCRIPT, &format!("{driver}://{rest}"), &name]);
    output(command).await?;
    let (account, _) = rest.rsplit_once('/').context("a database URL names a database")?;
    Ok(format!("{driver}://{account}/{name}"))
}

async fn output(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().await.context("cannot start Python")?;
    ensure!(output.status.success(), "Python: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
