//! Databases of a test's own on the servers that there are.

use hub_core::secret::random_hex32;
use hub_db::{ConnectionTrait as _, Db, DbOptions};

/// A kind of database server.
pub(crate) struct Kind {
    /// Where the tests are told of one.
    pub(crate) variable: &'static str,
    /// The port when the address names none.
    pub(crate) port: u16,
    /// What follows the name of a database that is dropped although somebody uses it.
    pub(crate) drop: &'static str,
    /// The number of connections to a database, as a condition of the table of connections.
    pub(crate) connections: &'static str,
}

pub(crate) const POSTGRESQL: Kind = Kind {
    variable: "HIMALIA_TEST_POSTGRES_URL",
    port: 5432,
    drop: " WITH (FORCE)",
    // But for the one that is woken.
    connections: "pg_stat_activity WHERE query NOT LIKE 'LISTEN %' AND datname",
};
pub(crate) const MARIADB: Kind = Kind {
    variable: "HIMALIA_TEST_MARIADB_URL",
    port: 3306,
    drop: "",
    connections: "information_schema.PROCESSLIST WHERE DB",
};

/// A database of its own on a test server.
pub(crate) struct Fresh {
    pub(crate) admin: Db,
    pub(crate) name: String,
    pub(crate) url: url::Url,
    pub(crate) kind: Kind,
}

impl Fresh {
    /// None without such a server; in continuous integration there must be one.
    pub(crate) async fn on(kind: Kind) -> Option<Self> {
        let Some(server) = std::env::var(kind.variable).ok().filter(|url| !url.is_empty()) else {
            assert!(std::env::var_os("CI").is_none(), "{} is not set", kind.variable);
            return None;
        };
        let mut options = DbOptions::new(&server);
        options.max_connections = 1;
        let admin = Db::connect(options).await.unwrap();
        let name = format!("himalia_outage_{}", &random_hex32()[..12]);
        admin.conn().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        let mut url: url::Url = server.parse().unwrap();
        url.set_path(&name);
        Some(Self { admin, name, url, kind })
    }

    /// The server's host and port.
    pub(crate) fn server(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap(), self.url.port().unwrap_or(self.kind.port))
    }

    pub(crate) async fn drop(self) {
        let Self { admin, name, kind, .. } = self;
        admin.conn().execute_unprepared(&format!("DROP DATABASE {name}{}", kind.drop)).await.unwrap();
        admin.close().await.unwrap();
    }
}
