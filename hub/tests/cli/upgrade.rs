//! Upgrades of databases on servers: the program makes the backup, and tells the way back.

use hub_core::secret::random_hex32;
use hub_db::schema::{HEAD, State, check, create};
use hub_db::{ConnectionTrait as _, Db, DbOptions};

use crate::support::{Place, Running, free_ports};

/// The revision of JupyterHub 5.4.
const OLD: &str = "4621fec11365";

/// An old database that a test has for itself.
struct Old {
    admin: Db,
    name: String,
    url: url::Url,
    db: Db,
}

impl Old {
    /// `None`: there is no such server to test on.
    async fn make(variable: &str) -> Option<Self> {
        let Some(server) = std::env::var(variable).ok().filter(|url| !url.is_empty()) else {
            assert!(std::env::var_os("CI").is_none(), "{variable} is not set");
            eprintln!("NOT TESTED: {variable} is not set");
            return None;
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
        Some(Self { admin, name, url, db })
    }

    async fn is_at(&self, revision: &str) {
        assert_eq!(check(self.db.conn()).await.unwrap(), State::Stamped(revision.to_owned()));
    }

    async fn gone(self) {
        self.db.close().await.unwrap();
        self.admin.conn().execute_unprepared(&format!("DROP DATABASE {}", self.name)).await.unwrap();
        self.admin.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_upgrade_on_postgresql_makes_a_backup_and_prints_the_way_back() {
    upgrade("HIMALIA_TEST_POSTGRES_URL").await;
}

#[tokio::test]
async fn an_upgrade_on_mariadb_makes_a_backup_and_prints_the_way_back() {
    upgrade("HIMALIA_TEST_MARIADB_URL").await;
}

async fn upgrade(variable: &str) {
    let Some(old) = Old::make(variable).await else { return };
    let (url, place) = (old.url.as_str(), Place::new());
    let done = place.himalia(&["upgrade-db", "--db", url]);
    assert_eq!(done.code, 0, "{}", done.err);
    let at = |text: &str| done.err.find(text).unwrap_or_else(|| panic!("no {text:?} in {}", done.err));
    assert!(at("were copied") < at("database upgraded"), "{}", done.err);
    let name = done.out.split([' ', ':']).nth(1).unwrap();
    assert!(name.starts_with(&format!("himalia_backup_{OLD}_")), "{}", done.out);
    assert!(done.err.contains(name), "{}", done.err);
    let secret = format!(":{}@", old.url.password().unwrap());
    assert!(!done.err.contains(&secret) && !done.out.contains(&secret), "{}", done.err);
    old.is_at(HEAD).await;

    let again = place.himalia(&["upgrade-db", "--db", url]);
    assert!(again.code == 0 && again.err.contains("needs no upgrade"), "{}", again.err);
    assert_eq!(again.out, "");
    // What is printed can be carried out as it is, and the database be upgraded again.
    old.db.conn().execute_unprepared(&done.out).await.unwrap();
    old.is_at(OLD).await;
    let bold = place.named("jupyterhub", &["upgrade-db", "--no-backup", "--db", url]);
    assert!(bold.code == 0 && bold.err.contains("without a backup"), "{}", bold.err);
    assert_eq!(bold.out, "");
    old.is_at(HEAD).await;
    old.gone().await;
}

#[tokio::test]
async fn a_hub_that_upgrades_its_database_at_the_start_makes_a_backup_or_does_not_start() {
    let Some(old) = Old::make("HIMALIA_TEST_POSTGRES_URL").await else { return };
    let conn = old.db.conn();
    let user = format!("himalia_{}", &random_hex32()[..12]);
    let rights = format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'limited'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}"
    );
    conn.execute_unprepared(&rights).await.unwrap();
    let mut limited = old.url.clone();
    limited.set_username(&user).unwrap();
    limited.set_password(Some("limited")).unwrap();
    let (port, hub_port) = free_ports();
    let (port, hub) = (port.to_string(), format!("hub.hub_bind_url=http://127.0.0.1:{hub_port}"));
    let arguments = ["serve", "--port", &port, "--set", &hub, "--set", "db.upgrade_db=true", "--db"];

    let place = Place::new();
    let refused = place.himalia(&[&arguments[..], &[limited.as_str()]].concat());
    assert_eq!(refused.code, 1, "{}", refused.err);
    for part in ["GRANT CREATE ON DATABASE", "`himalia upgrade-db --no-backup`", "nothing was changed"] {
        assert!(refused.err.contains(part), "{}", refused.err);
    }
    old.is_at(OLD).await;
    conn.execute_unprepared(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).await.unwrap();

    let running = Running::start(&place, "himalia", &[&arguments[..], &[old.url.as_str()]].concat());
    assert!(running.wait_for("were copied").contains(&format!("himalia_backup_{OLD}_")));
    assert!(running.wait_for("how to go back").contains("TRUNCATE"));
    running.wait_for("is now running");
    old.is_at(HEAD).await;
    assert_eq!(running.terminate(), 0);
    old.gone().await;
}
