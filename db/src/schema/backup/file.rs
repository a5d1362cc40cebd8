//! A copy of a SQLite file.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::connect::Db;
use crate::error::DbError;

/// Writes a consistent copy, the write-ahead log included, to `<file>.YYYY-MM-DD-HHMMSS` (UTC) beside the file,
/// readable by whom the file is readable.
///
/// # Errors
/// [`DbError::Backup`] when the copy exists already or cannot be written.
pub(super) async fn copy(db: &Db, file: &Path, now: DateTime<Utc>) -> Result<PathBuf, DbError> {
    let mut name = file.as_os_str().to_owned();
    name.push(now.format(".%Y-%m-%d-%H%M%S").to_string());
    let path = PathBuf::from(name);
    let refuse = |problem: String| DbError::Backup {
        place: path.display().to_string(),
        problem,
        remedy: "let the hub write a new file there".to_owned(),
    };
    let Some(text) = path.to_str() else { return Err(refuse("the path is not UTF-8".to_owned())) };
    let mode = fs::metadata(file).map_err(|error| refuse(error.to_string()))?.permissions().mode();
    // An existing file is never touched; an empty one that was just made may be written by SQLite.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .map_err(|error| refuse(error.to_string()))?;
    let copy = Statement::from_sql_and_values(DbBackend::Sqlite, "VACUUM INTO ?", [text.into()]);
    if let Err(error) = db.conn().execute_raw(copy).await {
        // Half a copy helps nobody and would stand in the way of the next attempt.
        let _ = fs::remove_file(&path);
        return Err(refuse(error.to_string()));
    }
    Ok(path)
}
