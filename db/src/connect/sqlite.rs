//! Opening a SQLite file, or memory.
//!
//! A file that stock has made can have a write-ahead log while it is open, which costs a third of the time that its
//! rollback journal takes, and then gets its own journal mode back when it is closed. Not on network volumes: processes
//! on several machines cannot share the log's index.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
    XFS_SUPER_MAGIC, statfs,
};
use sea_orm::{DatabaseConnection, SqlxSqliteConnector};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};

use super::DbOptions;
use super::kept::Kept;
use crate::error::DbError;

/// A file whose rollback journal is folded in at each commit blocks its readers; more connections than this only wait.
const MOST_CONNECTIONS: u32 = 4;
/// File systems of one machine, where a write-ahead log works. ext2 and ext3 have ext4's number.
const LOCAL: [FsType; 6] = [
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    TMPFS_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
];
/// Has a connection open the log and its index, which it does when it first needs them.
pub(super) const OPEN_THE_LOG: &str = "SELECT COUNT(*) FROM sqlite_master";
/// Rows that a connection's thread may be ahead of whoever reads them: a page of a list, so that it need not wait.
const ROWS_AHEAD: usize = 512;

/// The pool, which is for transactions where there are kept connections for single statements, as there are for files.
pub(super) async fn open(
    options: &DbOptions,
    file: Option<&Path>,
) -> Result<(DatabaseConnection, Option<Kept>), DbError> {
    let mut sqlite = SqliteConnectOptions::new()
        .foreign_keys(true)
        .busy_timeout(options.write_timeout)
        .row_buffer_size(ROWS_AHEAD)
        .log_slow_statements(log::LevelFilter::Warn, Duration::from_secs(1));
    let mut pool = SqlitePoolOptions::new()
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .max_connections(options.max_connections.clamp(1, MOST_CONNECTIONS));
    match file {
        // One connection, kept for ever: the database is gone with it.
        None => {
            sqlite = sqlite.in_memory(true);
            pool = pool.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        }
        Some(path) => {
            if create(path)? {
                sqlite = sqlite.journal_mode(SqliteJournalMode::Wal);
            }
            sqlite = sqlite.filename(path);
        }
    }
    let (pool, kept) = match file {
        None => (pool.connect_with(sqlite).await?, None),
        Some(path) => {
            prove_writable(&sqlite).await.map_err(|error| unusable(path, &error))?;
            let most = options.max_connections.clamp(1, MOST_CONNECTIONS) as usize;
            let kept = Kept::new(sqlite.clone(), most, options.acquire_timeout);
            (pool.connect_lazy_with(sqlite), Some(kept))
        }
    };
    Ok((SqlxSqliteConnector::from_sqlx_sqlite_pool(pool), kept))
}

/// Makes an empty file that only its owner can read; `false` when there was one (an empty one counts as new).
fn create(path: &Path) -> Result<bool, DbError> {
    let refuse = |problem: String, remedy| DbError::SqliteFile { path: path.to_owned(), problem, remedy };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(refuse(
            format!("{} is not a folder", folder.display()),
            "create the folder or change db.url",
        ));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match path.metadata() {
            Ok(found) if found.is_file() => Ok(found.len() == 0),
            Ok(_) => Err(refuse("it is not a file".to_owned(), "change db.url to name a file")),
            Err(error) => Err(refuse(error.to_string(), "check the path in db.url")),
        },
        Err(error) => Err(refuse(
            error.to_string(),
            "make the folder writable for the user that runs the hub, or change db.url",
        )),
    }
}

/// A file that has a write-ahead log.
#[derive(Debug)]
pub(super) struct Logged {
    /// For as long as it is open the log and its index stay. What it commits is not waited for to reach the disk.
    pub(super) connection: SqliteConnection,
    /// Whether the file is to get `DELETE` back, which every program begins with.
    pub(super) restore: bool,
}

/// Has a file use a write-ahead log where that works. Whoever has chosen another mode is left with it, and so is a
/// file that another process uses at this moment.
pub(super) async fn log_ahead(sqlite: &SqliteConnectOptions) -> Result<Option<Logged>, sqlx::Error> {
    let file = sqlite.get_filename();
    if !statfs(file).is_ok_and(|on| LOCAL.contains(&on.filesystem_type())) || is_mounted_alone(file) {
        return Ok(None);
    }
    let mut connection = hasty(sqlite).connect().await?;
    let had: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await?;
    let mut restore = false;
    if had == "delete" {
        let now = sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(&mut connection);
        restore = now.await.is_ok_and(|mode| mode == "wal");
    }
    if !restore && had != "wal" {
        connection.close().await?;
        return Ok(None);
    }
    connection.execute(OPEN_THE_LOG).await?;
    Ok(Some(Logged { connection, restore }))
}

/// The same for a connection that does not wait for the disk at each commit, which is safe with a write-ahead log only.
pub(super) fn hasty(sqlite: &SqliteConnectOptions) -> SqliteConnectOptions {
    sqlite.clone().synchronous(SqliteSynchronous::Normal)
}

/// Whether a file was mounted by itself into a container. Log and index would lie where no other program looks for
/// them, and go with the container.
fn is_mounted_alone(file: &Path) -> bool {
    let (Ok(file), Ok(mounts)) =
        (std::fs::canonicalize(file), std::fs::read_to_string("/proc/self/mountinfo"))
    else {
        return false;
    };
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    places.map(|place| place.replace("\\040", " ")).any(|place| Path::new(&place) == file)
}

/// Makes a change and undoes it. Only that finds all of: a read-only file, a folder in which no journal can be made,
/// a read-only file system, a file that is no database.
async fn prove_writable(sqlite: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = sqlite.connect().await?;
    connection.execute("BEGIN IMMEDIATE").await?;
    let proof = async {
        connection.execute("CREATE TABLE himalia_write_probe (id INTEGER)").await?;
        connection.execute("ROLLBACK").await
    };
    proof.await?;
    connection.close().await
}

fn unusable(path: &Path, error: &sqlx::Error) -> DbError {
    let code = match error {
        sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<i32>().ok()),
        _ => None,
    };
    let (problem, remedy) = match code.map(|code| code & 0xff) {
        Some(5 | 6) => {
            return DbError::Unavailable(format!("{} is locked by another process", path.display()));
        }
        Some(8) => ("it is read-only".to_owned(), "make the file writable for the user that runs the hub"),
        Some(13) => ("the disk is full".to_owned(), "free some space"),
        Some(14) => (
            "it or its folder cannot be written".to_owned(),
            "make the file and its folder writable for the user that runs the hub",
        ),
        Some(11 | 26) => {
            ("it is not a SQLite database, or it is damaged".to_owned(), "change db.url or restore a backup")
        }
        _ => (error.to_string(), "check the file and the path in db.url"),
    };
    DbError::SqliteFile { path: path.to_owned(), problem, remedy }
}
