//! Backups of databases on servers, and the way back.

use chrono::TimeDelta;
use hub_core::secret::random_hex32;
use hub_db::repo::users;
use hub_db::schema::{Backup, HEAD, Precaution, State, check, create, upgrade};
use hub_db::{ConnectionTrait as _, Db, DbError, DbOptions};

use crate::harness::{Bed, Kind, noon, run_empty, texts};
use crate::stock::{for_stock, stock};

/// The revision of JupyterHub 5.4.
const OLD: &str = "4621fec11365";

/// Runs the same tests on both kinds of servers.
macro_rules! on_servers {
    ($($test:ident),+ $(,)?) => {
        mod postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    Box::pin(crate::harness::run_empty(crate::harness::Kind::Postgres, super::$test)).await;
                }
            )+
        }
        mod mariadb {
            $(
                #[tokio::test]
                async fn $test() {
                    Box::pin(crate::harness::run_empty(crate::harness::Kind::MariaDb, super::$test)).await;
                }
            )+
        }
    };
}

on_servers!(
    a_database_of_version_4_comes_back_as_it_was,
    a_database_of_version_5_comes_back_as_it_was,
    of_several_hubs_that_upgrade_at_once_one_makes_a_backup,
    who_may_not_make_a_backup_is_refused_unless_told_to_go_on,
);

async fn a_database_of_version_4_comes_back_as_it_was(bed: Bed) {
    comes_back(&bed, "HIMALIA_TEST_STOCK4_PYTHON").await;
}

async fn a_database_of_version_5_comes_back_as_it_was(bed: Bed) {
    comes_back(&bed, "HIMALIA_TEST_STOCK5_PYTHON").await;
}

async fn comes_back(bed: &Bed, python: &str) {
    let url = for_stock(&bed.url);
    if stock(python, &["make", &url]).await.is_none() {
        return;
    }
    let (schema, rows) = (stock(python, &["dump", &url]).await, stock(python, &["rows", &url]).await);
    let done = upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap().unwrap();
    let Some(Backup::Tables { name, script }) = done.backup else { panic!("{:?}", done.backup) };
    assert_eq!(name, format!("himalia_backup_{}_20260304120000", done.from));
    let mut copies = stock(python, &["rows", &url, &name]).await;
    let kept = copies.as_mut().unwrap().as_object_mut().unwrap().remove("to_go_back");
    assert_eq!(copies, rows);
    assert!(kept.unwrap()[0].as_str().unwrap().contains(&name), "the backup has the way back in it");

    // The upgraded database is opened by us and by the new stock, the backup beside it, and changes.
    let db = bed.db.conn();
    create(&bed.db).await.unwrap();
    assert_eq!(check(db).await.unwrap(), State::Stamped(HEAD.to_owned()));
    users::create(db, "since", false, noon()).await.unwrap();
    let opened = stock("HIMALIA_TEST_STOCK_PYTHON", &["enter", &url]).await.unwrap();
    assert_eq!(opened, serde_json::json!(["old", "since", "new"]));
    db.execute_unprepared("DELETE FROM users WHERE name <> 'since'").await.unwrap();

    db.execute_unprepared(&script).await.unwrap();
    let mut found = stock(python, &["dump", &url]).await.unwrap();
    found.as_object_mut().unwrap().retain(|table, _| !table.starts_with("himalia_backup_"));
    assert_eq!(Some(found), schema);
    assert_eq!(stock(python, &["rows", &url]).await, rows);
    let opened = stock(python, &["enter", &url]).await.unwrap();
    assert_eq!(opened, serde_json::json!(["old", "new"]));

    // And forth again, after which neither backup is needed.
    let later = noon() + TimeDelta::seconds(1);
    let again = upgrade(&bed.db, Precaution::Backup, later).await.unwrap().unwrap();
    let Some(Backup::Tables { script: second, .. }) = again.backup else { panic!("{:?}", again.backup) };
    assert_eq!(backups(bed).await.len(), 2);
    for script in [script, second] {
        let remove =
            script.lines().find_map(|line| line.strip_prefix("-- When you need the backup no more: "));
        db.execute_unprepared(remove.unwrap()).await.unwrap();
    }
    assert!(backups(bed).await.is_empty());
    db.execute_unprepared("DELETE FROM users WHERE name = 'new'").await.unwrap();
    let opened = stock("HIMALIA_TEST_STOCK_PYTHON", &["enter", &url]).await.unwrap();
    assert_eq!(opened, serde_json::json!(["old", "new"]));
}

/// The names of all backups, also of those that are not whole.
async fn backups(bed: &Bed) -> Vec<String> {
    let all = match bed.kind {
        Kind::Postgres => {
            "SELECT CAST(schema_name AS text) FROM information_schema.schemata \
                           WHERE schema_name LIKE 'himalia%' ORDER BY 1"
        }
        _ => {
            "SELECT DISTINCT SUBSTRING_INDEX(table_name, '_', 4) FROM information_schema.tables \
              WHERE table_schema = DATABASE() AND table_name LIKE 'himalia%' ORDER BY 1"
        }
    };
    texts(bed.db.conn(), all).await
}

/// A database that is to be upgraded.
async fn make_old(db: &Db) {
    create(db).await.unwrap();
    let older = format!("UPDATE alembic_version SET version_num = '{OLD}'");
    db.conn().execute_unprepared(&older).await.unwrap();
}

async fn of_several_hubs_that_upgrade_at_once_one_makes_a_backup(bed: Bed) {
    make_old(&bed.db).await;
    let at = |second| noon() + TimeDelta::seconds(second);
    let (one, two, three) = tokio::join!(
        upgrade(&bed.db, Precaution::Backup, at(1)),
        upgrade(&bed.db, Precaution::Backup, at(2)),
        upgrade(&bed.db, Precaution::Backup, at(3)),
    );
    let done = [one, two, three].into_iter().filter_map(|done| done.unwrap()).collect::<Vec<_>>();
    let [done] = &done[..] else { panic!("{done:?}") };
    assert_eq!(backups(&bed).await, [done.backup.as_ref().unwrap().to_string()]);
}

/// An account that may do to the database of a test what is said.
struct Limited {
    name: String,
    url: String,
}

impl Limited {
    async fn make(bed: &Bed, rights: &[&str]) -> Self {
        let name = format!("himalia_{}", &random_hex32()[..12]);
        let mut url: url::Url = bed.url.parse().unwrap();
        url.set_username(&name).unwrap();
        url.set_password(Some("limited")).unwrap();
        let database = url.path().trim_start_matches('/').to_owned();
        let make = match bed.kind {
            Kind::Postgres => format!("CREATE ROLE {name} LOGIN PASSWORD 'limited'"),
            _ => format!("CREATE USER {name} IDENTIFIED BY 'limited'"),
        };
        bed.db.conn().execute_unprepared(&make).await.unwrap();
        for right in rights {
            let grant = format!("GRANT {} TO {name}", right.replace("DATABASE", &database));
            bed.db.conn().execute_unprepared(&grant).await.unwrap();
        }
        Self { name, url: url.into() }
    }

    async fn connect(&self) -> Db {
        Db::connect(DbOptions::new(&self.url)).await.unwrap()
    }

    async fn gone(self, bed: &Bed) {
        let name = &self.name;
        let steps = match bed.kind {
            Kind::Postgres => format!("DROP OWNED BY {name}; DROP ROLE {name}"),
            _ => format!("DROP USER {name}"),
        };
        bed.db.conn().execute_unprepared(&steps).await.unwrap();
    }
}

/// The refusal of an upgrade, after which the database is as before.
async fn refusal(bed: &Bed, db: &Db) -> String {
    let error = upgrade(db, Precaution::Backup, noon()).await.unwrap_err();
    assert!(matches!(error, DbError::Backup { .. }), "{error}");
    assert_eq!(check(bed.db.conn()).await.unwrap(), State::Stamped(OLD.to_owned()));
    let text = error.to_string();
    for part in ["nothing was changed", "`himalia upgrade-db --no-backup`", "denied", "himalia_backup_"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    text
}

async fn who_may_not_make_a_backup_is_refused_unless_told_to_go_on(bed: Bed) {
    let (limited, remedy) = match bed.kind {
        Kind::Postgres => {
            let limited = Limited::make(&bed, &["ALL ON SCHEMA public"]).await;
            let own = limited.connect().await;
            make_old(&own).await;
            own.close().await.unwrap();
            (limited, "GRANT CREATE ON DATABASE")
        }
        _ => {
            make_old(&bed.db).await;
            let rights = ["SELECT, INSERT, UPDATE, DELETE, ALTER ON DATABASE.*"];
            (Limited::make(&bed, &rights).await, "GRANT SELECT, INSERT, CREATE, DROP")
        }
    };
    let own = limited.connect().await;
    let text = refusal(&bed, &own).await;
    assert!(text.contains(remedy), "{text}");
    assert!(backups(&bed).await.is_empty());
    let done = upgrade(&own, Precaution::None, noon()).await.unwrap().unwrap();
    assert_eq!((done.from.as_str(), done.backup), (OLD, None));
    assert_eq!(check(bed.db.conn()).await.unwrap(), State::Stamped(HEAD.to_owned()));
    own.close().await.unwrap();
    limited.gone(&bed).await;
}

#[tokio::test]
async fn a_backup_that_fails_part_way_on_mariadb_is_taken_away_again() {
    run_empty(Kind::MariaDb, async |bed: Bed| {
        make_old(&bed.db).await;
        let tables = texts(
            bed.db.conn(),
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
        );
        let mut rights: Vec<String> = tables
            .await
            .iter()
            .map(|table| format!("INSERT, UPDATE, DELETE ON DATABASE.`{table}`"))
            .collect();
        rights.push("SELECT, CREATE, ALTER ON DATABASE.*".to_owned());
        let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
        let limited = Limited::make(&bed, &rights).await;
        let own = limited.connect().await;
        let text = refusal(&bed, &own).await;
        assert!(text.contains("cannot be removed"), "{text}");
        let [left] = &backups(&bed).await[..] else { panic!("the account may not remove tables") };
        let whole = format!(
            "SELECT table_name FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = '{left}_to_go_back'"
        );
        assert!(texts(bed.db.conn(), &whole).await.is_empty());
        let copies = texts(
            bed.db.conn(),
            "SELECT table_name FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name LIKE 'himalia%'",
        );
        let remove = format!("DROP TABLE {}", copies.await.join(", "));
        bed.db.conn().execute_unprepared(&remove).await.unwrap();

        let database = bed.url.rsplit('/').next().unwrap();
        let right = format!("GRANT DROP ON {database}.* TO {}", limited.name);
        bed.db.conn().execute_unprepared(&right).await.unwrap();
        own.close().await.unwrap();
        let own = limited.connect().await;
        let text = refusal(&bed, &own).await;
        assert!(!text.contains("cannot be removed"), "{text}");
        assert!(backups(&bed).await.is_empty());
        own.close().await.unwrap();
        limited.gone(&bed).await;
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_that_fails_again_and_again_on_mariadb_has_one_backup_until_somebody_works_on() {
    run_empty(Kind::MariaDb, async |bed: Bed| {
        make_old(&bed.db).await;
        let db = bed.db.conn();
        users::create(db, "ada", false, noon()).await.unwrap();
        // It lacks a column of the third step.
        db.execute_unprepared("ALTER TABLE users DROP user_info").await.unwrap();
        let rights = ["SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON DATABASE.*"];
        let limited = Limited::make(&bed, &rights).await;
        let own = limited.connect().await;
        let at = |second| noon() + TimeDelta::seconds(second);
        for second in 0..3 {
            let error = upgrade(&own, Precaution::Backup, at(second)).await.unwrap_err();
            assert!(error.to_string().contains("ALTER command denied"), "{error}");
            assert_eq!(check(db).await.unwrap(), State::Stamped("afd65840b69e".to_owned()));
        }
        let first = format!("himalia_backup_{OLD}_20260304120000");
        assert_eq!(backups(&bed).await, [first.as_str()]);
        let done = upgrade(&bed.db, Precaution::Backup, at(3)).await.unwrap().unwrap();
        let Some(Backup::Tables { name, script }) = done.backup else { panic!("{:?}", done.backup) };
        assert_eq!(name, first);
        assert_eq!(backups(&bed).await, [first.as_str()]);
        db.execute_unprepared(&script).await.unwrap();
        assert_eq!(
            check(db).await.unwrap(),
            State::Stamped(OLD.to_owned()),
            "it leads to the very beginning"
        );

        // Of what the upgrade adds, of letters that count as equal, of rows.
        let changes = [
            "ALTER TABLE users ADD user_info TEXT; UPDATE users SET user_info = 'x'",
            "UPDATE users SET name = 'ADA'",
            "UPDATE oauth_clients SET description = 'JupyterHub '",
            "INSERT INTO `groups` (name, properties) VALUES ('maths', '{}')",
            "DELETE FROM users",
        ];
        for (second, change) in (4..).zip(changes) {
            db.execute_unprepared(change).await.unwrap();
            let older = format!("UPDATE alembic_version SET version_num = '{OLD}'");
            db.execute_unprepared(&older).await.unwrap();
            let done = upgrade(&bed.db, Precaution::Backup, at(second)).await.unwrap().unwrap();
            let name = format!("himalia_backup_{OLD}_2026030412000{second}");
            assert_eq!(done.backup.unwrap().to_string(), name, "{change}");
        }
        assert_eq!(backups(&bed).await.len(), 1 + changes.len());
        own.close().await.unwrap();
        limited.gone(&bed).await;
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_that_fails_on_postgresql_leaves_neither_change_nor_backup() {
    run_empty(Kind::Postgres, async |bed: Bed| {
        make_old(&bed.db).await;
        // A table cannot have the name of a type, and this one is made after the columns were added.
        for sql in
            ["DROP TABLE shares", "CREATE TYPE shares AS ENUM ('x')", "ALTER TABLE users DROP user_info"]
        {
            bed.db.conn().execute_unprepared(sql).await.unwrap();
        }
        let error = upgrade(&bed.db, Precaution::Backup, noon()).await.unwrap_err();
        assert!(matches!(error, DbError::Query(_)), "{error}");
        assert_eq!(check(bed.db.conn()).await.unwrap(), State::Stamped(OLD.to_owned()));
        assert!(backups(&bed).await.is_empty());
        let columns = "SELECT CAST(column_name AS text) FROM information_schema.columns \
                       WHERE table_schema = 'public' AND table_name = 'users'";
        assert!(!texts(bed.db.conn(), columns).await.contains(&"user_info".to_owned()));
    })
    .await;
}
