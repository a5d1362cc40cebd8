use hub_db::repo::oauth;
use hub_db::schema::{HEAD, Precaution, State, check, create, upgrade};
use hub_db::{ConnectionTrait as _, Db, DbError, DbOptions};

use crate::harness::{Bed, Kind, noon, number, run_empty, texts};

/// `sqlite_master` of a database made by JupyterHub 6.1.1, with white space as it is there.
const STOCK: &str = include_str!("data/jupyterhub-6.1.1.sqlite.sql");

macro_rules! on_every_empty_database {
    ($($test:ident),+ $(,)?) => {
        $(
            mod $test {
                use crate::harness::{Kind, run_empty};

                #[tokio::test]
                async fn sqlite() {
                    Box::pin(run_empty(Kind::Sqlite, super::$test)).await;
                }

                #[tokio::test]
                async fn postgres() {
                    Box::pin(run_empty(Kind::Postgres, super::$test)).await;
                }

                #[tokio::test]
                async fn mariadb() {
                    Box::pin(run_empty(Kind::MariaDb, super::$test)).await;
                }
            }
        )+
    };
}

on_every_empty_database!(
    an_empty_database_gets_all_tables_and_the_stamp,
    another_revision_is_refused_with_a_remedy,
    a_database_without_stamp_is_guessed_as_stock_guesses,
    missing_tables_are_added,
    several_hubs_may_make_the_schema_at_once,
    an_unknown_revision_is_not_upgraded,
);

async fn an_empty_database_gets_all_tables_and_the_stamp(bed: Bed) {
    let db = bed.db.conn();
    assert_eq!(check(db).await.unwrap(), State::Empty);
    assert_eq!(upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap(), None);
    create(&bed.db).await.unwrap();
    assert_eq!(check(db).await.unwrap(), State::Stamped(HEAD.to_owned()));
    assert!(oauth::client(db, "jupyterhub").await.unwrap().is_some());
    create(&bed.db).await.unwrap();
    assert_eq!(texts(db, "SELECT version_num FROM alembic_version").await, [HEAD]);
    assert_eq!(number(db, "SELECT COUNT(*) FROM oauth_clients").await, 1);
    assert_eq!(upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap(), None);
}

async fn another_revision_is_refused_with_a_remedy(bed: Bed) {
    let db = bed.db.conn();
    create(&bed.db).await.unwrap();
    db.execute_unprepared("UPDATE alembic_version SET version_num = '4621fec11365'").await.unwrap();
    let error = create(&bed.db).await.unwrap_err();
    assert!(
        matches!(&error, DbError::Revision { found, wanted: HEAD } if found == "4621fec11365"),
        "{error}"
    );
    assert!(error.to_string().contains("himalia upgrade-db"));
    assert_eq!(texts(db, "SELECT version_num FROM alembic_version").await, ["4621fec11365"]);
}

async fn a_database_without_stamp_is_guessed_as_stock_guesses(bed: Bed) {
    let db = bed.db.conn();
    create(&bed.db).await.unwrap();
    db.execute_unprepared("DROP TABLE alembic_version").await.unwrap();
    assert_eq!(check(db).await.unwrap(), State::Unstamped { guess: HEAD });
    create(&bed.db).await.unwrap();
    assert_eq!(check(db).await.unwrap(), State::Stamped(HEAD.to_owned()));
    for table in ["shares", "share_codes", "spawners"] {
        db.execute_unprepared(&format!("DROP TABLE {table}")).await.unwrap();
    }
    db.execute_unprepared("DELETE FROM alembic_version").await.unwrap();
    assert_eq!(check(db).await.unwrap(), State::Unstamped { guess: "af4cbdb2d13c" });
    // As in stock, the guess is written down although the database is then refused.
    let error = create(&bed.db).await.unwrap_err();
    assert!(matches!(error, DbError::Revision { .. }), "{error}");
    assert_eq!(check(db).await.unwrap(), State::Stamped("af4cbdb2d13c".to_owned()));
}

async fn missing_tables_are_added(bed: Bed) {
    let db = bed.db.conn();
    create(&bed.db).await.unwrap();
    for table in ["shares", "share_codes"] {
        db.execute_unprepared(&format!("DROP TABLE {table}")).await.unwrap();
    }
    db.execute_unprepared("CREATE TABLE of_somebody_else (id INTEGER)").await.unwrap();
    create(&bed.db).await.unwrap();
    assert_eq!(number(db, "SELECT COUNT(*) FROM shares").await, 0);
    assert_eq!(number(db, "SELECT COUNT(*) FROM share_codes").await, 0);
    assert_eq!(number(db, "SELECT COUNT(*) FROM of_somebody_else").await, 0);
}

async fn several_hubs_may_make_the_schema_at_once(bed: Bed) {
    let mut hubs = Vec::new();
    for _ in 0..4 {
        let db = Db::connect(DbOptions { max_connections: 2, ..DbOptions::new(&bed.url) }).await.unwrap();
        hubs.push(tokio::spawn(async move {
            create(&db).await.unwrap();
            db.close().await.unwrap();
        }));
    }
    for hub in hubs {
        hub.await.unwrap();
    }
    assert_eq!(check(bed.db.conn()).await.unwrap(), State::Stamped(HEAD.to_owned()));
    assert_eq!(number(bed.db.conn(), "SELECT COUNT(*) FROM oauth_clients").await, 1);
}

async fn an_unknown_revision_is_not_upgraded(bed: Bed) {
    let db = bed.db.conn();
    create(&bed.db).await.unwrap();
    for revision in ["833da8570507", "0123456789ab"] {
        let stamp = format!("UPDATE alembic_version SET version_num = '{revision}'");
        db.execute_unprepared(&stamp).await.unwrap();
        let error = upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap_err();
        assert!(matches!(&error, DbError::UnknownRevision { found } if found == revision), "{error}");
    }
    if let Some(file) = bed.db.file() {
        let beside = std::fs::read_dir(file.parent().unwrap()).unwrap().filter_map(Result::ok);
        let copies = beside.filter(|entry| entry.file_name().to_string_lossy().contains("sqlite.2"));
        assert_eq!(copies.count(), 0, "no backup for nothing");
    }
}

#[tokio::test]
async fn the_sqlite_schema_is_the_text_of_stock() {
    run_empty(Kind::Sqlite, async |bed: Bed| {
        create(&bed.db).await.unwrap();
        let mut found = texts(bed.db.conn(), "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").await;
        let mut wanted: Vec<&str> = STOCK.split(";\n").map(str::trim).filter(|sql| !sql.is_empty()).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
    })
    .await;
}
