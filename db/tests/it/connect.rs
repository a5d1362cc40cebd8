use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use hub_db::repo::users;
use hub_db::{ConnectionTrait as _, Db, DbError, DbOptions, schema};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{Bed, Fresh, Kind, noon, number, run, texts};

#[tokio::test]
async fn a_new_sqlite_file_is_private_and_in_wal_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sqlite");
    let db = Db::connect(DbOptions::new(format!("sqlite:///{}", path.display()))).await.unwrap();
    assert_eq!(texts(db.conn(), "PRAGMA journal_mode").await, ["wal"]);
    assert_eq!(number(db.conn(), "PRAGMA foreign_keys").await, 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(db.file(), Some(path.as_path()));
    db.ping().await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn an_existing_sqlite_file_keeps_its_journal_mode_but_for_a_log_while_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sqlite").display().to_string();
    // As another program makes it.
    let made = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = made.connect().await.unwrap();
    connection.execute("CREATE TABLE anything (id INTEGER)").await.unwrap();
    connection.close().await.unwrap();
    let db = Db::connect(DbOptions::new(&path)).await.unwrap();
    assert_eq!(texts(db.conn(), "PRAGMA journal_mode").await, ["delete"]);
    db.log_ahead().await.unwrap();
    assert_eq!(
        texts(db.conn(), "SELECT name FROM sqlite_master").await,
        ["anything"],
        "the probe left nothing"
    );
    // A connection learns of the log when it reads the file.
    assert_eq!(texts(db.conn(), "PRAGMA journal_mode").await, ["wal"]);
    db.conn().execute_unprepared("INSERT INTO anything VALUES (7)").await.unwrap();
    db.close().await.unwrap();

    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    let id: i64 = sqlx::query_scalar("SELECT id FROM anything").fetch_one(&mut connection).await.unwrap();
    assert_eq!((mode.as_str(), id), ("delete", 7));
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_sqlite_file_that_another_program_uses_is_opened_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sqlite").display().to_string();
    let made = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = made.connect().await.unwrap();
    other.execute("CREATE TABLE anything (id INTEGER)").await.unwrap();
    other.execute("BEGIN").await.unwrap();
    let _: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM anything").fetch_one(&mut other).await.unwrap();
    let options = DbOptions { write_timeout: Duration::from_millis(50), ..DbOptions::new(&path) };
    let db = Db::connect(options).await.unwrap();
    db.log_ahead().await.unwrap();
    assert_eq!(texts(db.conn(), "PRAGMA journal_mode").await, ["delete"]);
    db.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn unusable_sqlite_files_are_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("text"), "this is a text and no database, long enough to be looked at").unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    for (name, problem) in [
        ("missing/hub.sqlite", "is not a folder"),
        ("text/hub.sqlite", "is not a folder"),
        ("folder", "is not a file"),
        ("text", "not a SQLite database"),
    ] {
        let path = root.join(name);
        let error = Db::connect(DbOptions::new(path.display().to_string())).await.unwrap_err();
        assert!(matches!(error, DbError::SqliteFile { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()) && text.contains(problem), "{text}");
    }
}

#[tokio::test]
async fn a_read_only_sqlite_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sqlite");
    let url = path.display().to_string();
    let db = Db::connect(DbOptions::new(&url)).await.unwrap();
    schema::create(&db).await.unwrap();
    db.close().await.unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let superuser = fs::OpenOptions::new().append(true).open(&path).is_ok();
    let result = Db::connect(DbOptions::new(&url)).await;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    if superuser {
        // Permissions do not bind the superuser: then the file must simply work.
        result.unwrap().close().await.unwrap();
    } else {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("writable"), "{error}");
    }
}

#[tokio::test]
async fn memory_is_one_database_for_all_tasks() {
    let db = Db::connect(DbOptions::new("sqlite://")).await.unwrap();
    schema::create(&db).await.unwrap();
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(
                async move { users::create(db.conn(), &format!("u{n}"), false, noon()).await.map(drop) },
            )
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(users::count(db.conn()).await.unwrap(), 10);
    assert_eq!(db.file(), None);
}

#[tokio::test]
async fn another_process_may_write_between_and_is_waited_for_while_it_does() {
    run(Kind::Sqlite, async |bed: Bed| {
        let mut options = DbOptions::new(&bed.url);
        options.write_timeout = Duration::from_millis(200);
        let other = Db::connect(options).await.unwrap();
        let tx = bed.db.begin().await.unwrap();
        users::create(&tx, "ada", false, noon()).await.unwrap();
        let error = users::create(other.conn(), "bob", false, noon()).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert_eq!(users::count(other.conn()).await.unwrap(), 0, "readers are not held up");
        tx.commit().await.unwrap();
        users::create(other.conn(), "bob", false, noon()).await.unwrap();
        assert_eq!(users::count(bed.db.conn()).await.unwrap(), 2);
        other.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn many_writers_of_one_process_all_succeed() {
    run(Kind::Sqlite, async |bed: Bed| {
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                let db = bed.db.clone();
                tokio::spawn(async move {
                    let tx = db.begin().await?;
                    users::create(&tx, &format!("u{n}"), false, noon()).await?;
                    tx.commit().await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(users::count(bed.db.conn()).await.unwrap(), 100);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_in_time() {
    // A port on which nothing listens, and one that accepts and then says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [closed.local_addr().unwrap().port(), mute.local_addr().unwrap().port()];
    drop(closed);
    for scheme in ["postgresql", "mysql+pymysql"] {
        for port in ports {
            let mut options = DbOptions::new(format!("{scheme}://hub:hunter2@127.0.0.1:{port}/hub"));
            options.acquire_timeout = Duration::from_millis(300);
            let error = Db::connect(options).await.unwrap_err();
            assert!(error.is_unavailable(), "{error}");
            let text = error.to_string();
            assert!(text.contains(&port.to_string()) && !text.contains("hunter2"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_without_it() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(fresh) = Fresh::make(kind).await else { continue };
        let mut url: url::Url = fresh.url.parse().unwrap();
        url.set_username("nobody-of-this-name").unwrap();
        url.set_password(Some("hunter2")).unwrap();
        let error = Db::connect(DbOptions::new(url.as_str())).await.unwrap_err();
        assert!(matches!(error, DbError::Url { .. }), "{error}");
        assert!(error.to_string().contains("nobody-of-this-name"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        fresh.drop().await;
    }
}

#[tokio::test]
async fn the_pool_recovers_after_postgresql_was_away() {
    recovers(Kind::Postgres).await;
}

#[tokio::test]
async fn the_pool_recovers_after_mariadb_was_away() {
    recovers(Kind::MariaDb).await;
}

/// Puts a forwarder before the server and cuts it off.
async fn recovers(kind: Kind) {
    let Some(fresh) = Fresh::make(kind).await else { return };
    let mut url: url::Url = fresh.url.parse().unwrap();
    let target = (url.host_str().unwrap().to_owned(), url.port_or_known_default().unwrap_or(3306));
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(gate.local_addr().unwrap().port())).unwrap();
    let (open, is_open) = watch::channel(true);
    let forwarder = tokio::spawn(async move {
        loop {
            let (mut client, _) = gate.accept().await.unwrap();
            let (target, mut is_open) = (target.clone(), is_open.clone());
            tokio::spawn(async move {
                if !*is_open.borrow() {
                    return;
                }
                let mut server = TcpStream::connect(target).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = is_open.wait_for(|open| !open) => {}
                }
            });
        }
    });
    let mut options = DbOptions::new(url.as_str());
    options.acquire_timeout = Duration::from_secs(2);
    options.max_connections = 2;
    let db = Db::connect(options).await.unwrap();
    schema::create(&db).await.unwrap();
    open.send(false).unwrap();
    let error = users::count(db.conn()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(db.begin().await.unwrap_err().is_unavailable());
    open.send(true).unwrap();
    assert_eq!(users::count(db.conn()).await.unwrap(), 0);
    db.close().await.unwrap();
    forwarder.abort();
    fresh.drop().await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended() {
    for (kind, sleep) in [(Kind::Postgres, "SELECT pg_sleep(20)"), (Kind::MariaDb, "SELECT SLEEP(20)")] {
        let Some(fresh) = Fresh::make(kind).await else { continue };
        let mut options = DbOptions::new(&fresh.url);
        options.statement_timeout = Duration::from_millis(300);
        let db = Db::connect(options).await.unwrap();
        let started = std::time::Instant::now();
        let result = db.conn().execute_unprepared(sleep).await.map_err(DbError::from);
        assert!(started.elapsed() < Duration::from_secs(10));
        assert!(result.unwrap_err().is_unavailable());
        db.ping().await.unwrap();
        db.close().await.unwrap();
        fresh.drop().await;
    }
}

#[tokio::test]
async fn a_transaction_that_rests_is_ended_by_the_server() {
    let kinds = [
        (Kind::Postgres, "SELECT current_setting('idle_in_transaction_session_timeout')", "1min"),
        (Kind::MariaDb, "SELECT CAST(@@idle_transaction_timeout AS CHAR)", "60"),
    ];
    for (kind, ask, wanted) in kinds {
        let Some(fresh) = Fresh::make(kind).await else { continue };
        let db = Db::connect(DbOptions::new(&fresh.url)).await.unwrap();
        assert_eq!(texts(db.conn(), ask).await, [wanted]);
        db.close().await.unwrap();
        fresh.drop().await;
    }
}

#[tokio::test]
async fn the_password_may_come_from_elsewhere() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(fresh) = Fresh::make(kind).await else { continue };
        let mut url: url::Url = fresh.url.parse().unwrap();
        let password = url.password().unwrap_or_default().to_owned();
        url.set_password(None).unwrap();
        let options = DbOptions { password: Some(password.into()), ..DbOptions::new(url.as_str()) };
        let db = Db::connect(options).await.unwrap();
        db.ping().await.unwrap();
        db.close().await.unwrap();
        fresh.drop().await;
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_keeps_no_reader_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sqlite").display().to_string();
    let options = DbOptions { write_timeout: Duration::from_mins(1), ..DbOptions::new(&path) };
    let db = Db::connect(options).await.unwrap();
    db.conn().execute_unprepared("CREATE TABLE anything (id INTEGER)").await.unwrap();
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    for number_of in 1..=3 {
        let write = db.conn().execute_unprepared("INSERT INTO anything VALUES (1)");
        let given_up = tokio::time::timeout(Duration::from_millis(100), write).await;
        assert!(given_up.is_err(), "write {number_of} did not wait for the other program");
        // Long before the write would have given up by itself.
        let read = number(db.conn(), "SELECT COUNT(*) FROM anything");
        assert_eq!(tokio::time::timeout(Duration::from_secs(30), read).await.unwrap(), 0);
    }
    other.execute("ROLLBACK").await.unwrap();
    db.conn().execute_unprepared("INSERT INTO anything VALUES (2)").await.unwrap();
    assert_eq!(texts(db.conn(), "SELECT CAST(id AS TEXT) FROM anything WHERE id = 2").await, ["2"]);
    other.close().await.unwrap();
    db.close().await.unwrap();
}
