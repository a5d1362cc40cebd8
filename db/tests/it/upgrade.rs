//! Databases of older JupyterHubs.

use std::os::unix::fs::PermissionsExt as _;

use hub_db::repo::{groups, roles, services, spawners, users};
use hub_db::schema::{Backup, HEAD, Precaution, State, check, create, upgrade};
use hub_db::{ConnectionTrait as _, DbError, JsonDict};
use serde_json::json;

use crate::harness::{Bed, Fresh, Kind, at, noon, number, run_empty, texts};
use crate::stock::{for_stock, stock};

/// Databases as JupyterHub 4.1.6 and 5.4.6 make them with the rows of `stock.py make`, and the schema of each after
/// JupyterHub 6.1.1 has upgraded and opened it.
const RECORDED: [(&str, &str, &str); 2] = [
    (
        "0eee8c825d24",
        include_str!("data/jupyterhub-4.1.6.sqlite.sql"),
        include_str!("data/jupyterhub-4.1.6-upgraded.sqlite.sql"),
    ),
    (
        "4621fec11365",
        include_str!("data/jupyterhub-5.4.6.sqlite.sql"),
        include_str!("data/jupyterhub-5.4.6-upgraded.sqlite.sql"),
    ),
];

fn statements(dump: &str) -> Vec<&str> {
    dump.split(";\n").map(str::trim).filter(|sql| !sql.is_empty()).collect()
}

async fn load(bed: &Bed, dump: &str) {
    let tx = bed.db.begin().await.unwrap();
    tx.execute_unprepared("PRAGMA defer_foreign_keys = ON").await.unwrap();
    for statement in statements(dump) {
        tx.execute_unprepared(statement).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// The rows of `stock.py make`.
async fn rows_are_there(bed: &Bed) {
    let db = bed.db.conn();
    let user = users::by_name(db, "old").await.unwrap().unwrap();
    assert!(user.is_admin());
    let fraction = if bed.kind == Kind::MariaDb { "2026-03-04T05:06:07Z" } else { "2026-03-04T05:06:07.5Z" };
    assert_eq!(user.created.unwrap().utc(), at(fraction));
    let servers = spawners::of_user(db, user.id).await.unwrap();
    assert_eq!(servers[0].row.state, Some(JsonDict(json!({"pid": 7}))));
    let role = roles::by_name(db, "grader").await.unwrap().unwrap();
    assert!(!role.managed_by_auth);
    assert_eq!(roles::scopes_of(db, roles::Holder::User(user.id)).await.unwrap(), ["read:users"]);
    let service = services::by_name(db, "old-service").await.unwrap().unwrap();
    assert_eq!((service.from_config, service.timeout), (Some(true), 30));
    assert!(groups::by_name(db, "staff").await.unwrap().is_some());
}

#[tokio::test]
async fn recorded_databases_become_what_stock_makes_of_them() {
    for (from, old, upgraded) in RECORDED {
        run_empty(Kind::Sqlite, async move |bed: Bed| {
            load(&bed, old).await;
            let refused = create(&bed.db).await.unwrap_err();
            assert!(matches!(&refused, DbError::Revision { found, .. } if found == from), "{refused}");
            let done = upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap().unwrap();
            assert_eq!(done.from, from);
            let db = bed.db.conn();
            let mut found = texts(db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").await;
            let mut wanted = statements(upgraded);
            found.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(found, wanted);
            assert_eq!(check(db).await.unwrap(), State::Stamped(HEAD.to_owned()));
            create(&bed.db).await.unwrap();
            rows_are_there(&bed).await;
        })
        .await;
    }
}

#[tokio::test]
async fn the_backup_is_whole_private_and_never_overwritten() {
    run_empty(Kind::Sqlite, async |bed: Bed| {
        load(&bed, RECORDED[0].1).await;
        let file = bed.db.file().unwrap();
        let copy = file.with_file_name("hub.sqlite.2026-03-04-120000");
        std::fs::write(&copy, "precious").unwrap();
        let error = upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap_err();
        let place_of_copy = copy.display().to_string();
        assert!(matches!(&error, DbError::Backup { place, .. } if *place == place_of_copy), "{error}");
        assert_eq!(std::fs::read(&copy).unwrap(), b"precious");
        assert_eq!(check(bed.db.conn()).await.unwrap(), State::Stamped("0eee8c825d24".to_owned()));

        std::fs::remove_file(&copy).unwrap();
        let done = upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap().unwrap();
        assert_eq!(done.backup, Some(Backup::File(copy.clone())));
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        let saved = hub_db::Db::connect(hub_db::DbOptions::new(copy.display().to_string())).await.unwrap();
        assert_eq!(check(saved.conn()).await.unwrap(), State::Stamped("0eee8c825d24".to_owned()));
        assert_eq!(number(saved.conn(), "SELECT COUNT(*) FROM users").await, 1);
        saved.close().await.unwrap();
    })
    .await;
}

/// An upgrade that was interrupted where changes of tables are final.
async fn is_taken_up(bed: Bed) {
    let db = bed.db.conn();
    create(&bed.db).await.unwrap();
    let tx = bed.db.begin().await.unwrap();
    let spec = services::ServiceSpec::new("old-service", true);
    services::upsert(&tx, spec).await.unwrap();
    tx.commit().await.unwrap();
    for (table, column) in [
        ("services", "environment"),
        ("services", "timeout"),
        ("roles", "managed_by_auth"),
        ("users", "user_info"),
        ("spawners", "display_name"),
    ] {
        db.execute_unprepared(&format!("ALTER TABLE {table} DROP COLUMN {column}")).await.unwrap();
    }
    // As after `from_config` was added and before it was filled.
    db.execute_unprepared("UPDATE services SET from_config = NULL").await.unwrap();
    db.execute_unprepared("UPDATE alembic_version SET version_num = '0eee8c825d24'").await.unwrap();
    upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap().unwrap();
    assert_eq!(check(db).await.unwrap(), State::Stamped(HEAD.to_owned()));
    let service = services::by_name(db, "old-service").await.unwrap().unwrap();
    assert_eq!((service.from_config, service.timeout), (Some(true), 30));
    assert_eq!(upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap(), None);
}

#[tokio::test]
async fn an_interrupted_upgrade_is_taken_up_on_sqlite() {
    run_empty(Kind::Sqlite, is_taken_up).await;
}

#[tokio::test]
async fn an_interrupted_upgrade_is_taken_up_on_postgresql() {
    run_empty(Kind::Postgres, is_taken_up).await;
}

#[tokio::test]
async fn an_interrupted_upgrade_is_taken_up_on_mariadb() {
    run_empty(Kind::MariaDb, is_taken_up).await;
}

/// One database made by an old stock is upgraded by us, another by the new stock; then they are compared.
async fn equals_stocks_upgrade(kind: Kind, old_python: &'static str, from: &'static str) {
    run_empty(kind, async move |bed: Bed| {
        let Some(theirs) = Fresh::make(kind).await else { return };
        compare(&bed, &theirs, old_python, from).await;
        theirs.drop().await;
    })
    .await;
}

async fn compare(bed: &Bed, theirs: &Fresh, old_python: &str, from: &str) {
    const NEW: &str = "HIMALIA_TEST_STOCK_PYTHON";
    let (ours_url, theirs_url) = (for_stock(&bed.url), for_stock(&theirs.url));
    for url in [&ours_url, &theirs_url] {
        if stock(old_python, &["make", url]).await.is_none() {
            return;
        }
    }
    if stock(NEW, &["upgrade", &theirs_url]).await.is_none() {
        return;
    }
    let done = upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap().unwrap();
    assert_eq!(done.from, from);
    assert_eq!(matches!(done.backup, Some(Backup::File(_))), bed.kind == Kind::Sqlite);
    let mut ours = stock(NEW, &["dump", &ours_url]).await.unwrap();
    ours.as_object_mut().unwrap().retain(|table, _| !table.starts_with("himalia_backup_"));
    let wanted = stock(NEW, &["dump", &theirs_url]).await.unwrap();
    for (table, wanted) in wanted.as_object().unwrap() {
        assert_eq!(&ours[table], wanted, "{table}");
    }
    assert_eq!(ours, wanted);
    rows_are_there(bed).await;
}

macro_rules! upgrades {
    ($($module:ident: $python:literal from $revision:literal),+ $(,)?) => {
        $(
            mod $module {
                use super::{Kind, equals_stocks_upgrade};

                #[tokio::test]
                async fn is_upgraded_as_by_stock_on_sqlite() {
                    equals_stocks_upgrade(Kind::Sqlite, $python, $revision).await;
                }

                #[tokio::test]
                async fn is_upgraded_as_by_stock_on_postgresql() {
                    equals_stocks_upgrade(Kind::Postgres, $python, $revision).await;
                }

                #[tokio::test]
                async fn is_upgraded_as_by_stock_on_mariadb() {
                    equals_stocks_upgrade(Kind::MariaDb, $python, $revision).await;
                }
            }
        )+
    };
}

upgrades! {
    a_database_of_version_4: "HIMALIA_TEST_STOCK4_PYTHON" from "0eee8c825d24",
    a_database_of_version_5: "HIMALIA_TEST_STOCK5_PYTHON" from "4621fec11365",
}
