//! `upgrade-db` on database servers, where nobody but their operator makes backups.

use hub_core::secret::random_hex32;
use hub_db::schema::{HEAD, State, check, create};
use hub_db::{ConnectionTrait as _, Db, DbOptions};

use crate::support::Place;

/// The revision of JupyterHub 5.4.
const OLD: &str = "4621fec11365";

#[tokio::test]
async fn an_upgrade_on_postgresql_says_before_it_begins_that_there_is_no_backup() {
    upgrade("HIMALIA_TEST_POSTGRES_URL", "pg_dump").await;
}

#[tokio::test]
async fn an_upgrade_on_mariadb_says_before_it_begins_that_there_is_no_backup() {
    upgrade("HIMALIA_TEST_MARIADB_URL", "mariadb-dump").await;
}

async fn upgrade(variable: &str, remedy: &str) {
    let Some(server) = std::env::var(variable).ok().filter(|url| !url.is_empty()) else {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set");
        return;
    };
    let admin = Db::connect(DbOptions::new(&server)).await.unwrap();
    let name = format!("himalia_upgrade_{}", &random_hex32()[..12]);
    admin.conn().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let mut url: url::Url = server.parse().unwrap();
    url.set_path(&name);
    let db = Db::connect(DbOptions::new(url.as_str())).await.unwrap();
    create(&db).await.unwrap();
    let older = format!("UPDATE alembic_version SET version_num = '{OLD}'");
    db.conn().execute_unprepared(&older).await.unwrap();

    let done = Place::new().himalia(&["upgrade-db", "--db", url.as_str()]);
    assert_eq!(done.code, 0, "{}", done.err);
    let at = |text: &str| done.err.find(text).unwrap_or_else(|| panic!("no {text:?} in {}", done.err));
    assert!(at("without a backup") < at("database upgraded"), "{}", done.err);
    assert!(at(remedy) < at("database upgraded"), "{}", done.err);
    let secret = url.password().unwrap();
    assert!(!done.err.contains(&format!(":{secret}@")), "{}", done.err);
    assert_eq!(check(db.conn()).await.unwrap(), State::Stamped(HEAD.to_owned()));
    // What needs no upgrade needs no warning.
    let again = Place::new().himalia(&["upgrade-db", "--db", url.as_str()]);
    assert!(again.code == 0 && !again.err.contains("without a backup"), "{}", again.err);

    db.close().await.unwrap();
    admin.conn().execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
    admin.close().await.unwrap();
}
