//! A database that goes away and comes back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hub_core::secret::random_hex32;
use hub_db::{ConnectionTrait as _, Db, DbOptions};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::TestHub;

/// A way to the database server that can be cut.
struct Relay {
    address: SocketAddr,
    server: String,
    cut: Mutex<(CancellationToken, Option<JoinHandle<()>>)>,
}

impl Relay {
    async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Self { address, server: server.to_owned(), cut: Mutex::default() };
        relay.carry(listener);
        relay
    }

    fn carry(&self, listener: TcpListener) {
        let (token, server) = (CancellationToken::new(), self.server.clone());
        let all = token.clone();
        let task = tokio::spawn(token.clone().run_until_cancelled_owned(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, one) = (server.clone(), all.clone());
                tokio::spawn(one.run_until_cancelled_owned(async move {
                    if let Ok(mut upstream) = TcpStream::connect(server).await {
                        // Either end may hang up.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
                    }
                }));
            }
        }));
        *self.cut.lock().unwrap() = (token, Some(tokio::spawn(async move { drop(task.await) })));
    }

    /// All connections end, and new ones are refused.
    async fn cut(&self) {
        let task = {
            let mut cut = self.cut.lock().unwrap();
            cut.0.cancel();
            cut.1.take()
        };
        task.unwrap().await.unwrap();
    }

    async fn mend(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.carry(listener);
    }
}

/// A kind of database server.
struct Kind {
    /// Where the tests are told of one.
    variable: &'static str,
    /// The port when the address names none.
    port: u16,
    /// What follows the name of a database that is dropped although somebody uses it.
    drop: &'static str,
    /// The number of connections to a database, as a condition of the table of connections.
    connections: &'static str,
}

const POSTGRESQL: Kind = Kind {
    variable: "HIMALIA_TEST_POSTGRES_URL",
    port: 5432,
    drop: " WITH (FORCE)",
    connections: "pg_stat_activity WHERE datname",
};
const MARIADB: Kind = Kind {
    variable: "HIMALIA_TEST_MARIADB_URL",
    port: 3306,
    drop: "",
    connections: "information_schema.PROCESSLIST WHERE DB",
};

/// A database of its own on a test server.
struct Fresh {
    admin: Db,
    name: String,
    url: url::Url,
    kind: Kind,
}

impl Fresh {
    /// None without such a server; in continuous integration there must be one.
    async fn on(kind: Kind) -> Option<Self> {
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
    fn server(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap(), self.url.port().unwrap_or(self.kind.port))
    }

    async fn drop(self) {
        let Self { admin, name, kind, .. } = self;
        admin.conn().execute_unprepared(&format!("DROP DATABASE {name}{}", kind.drop)).await.unwrap();
        admin.close().await.unwrap();
    }
}

#[actix_web::test]
async fn requests_get_503_while_postgresql_is_away_and_servers_go_on() {
    outage_of(POSTGRESQL).await;
}

#[actix_web::test]
async fn requests_get_503_while_mariadb_is_away_and_servers_go_on() {
    outage_of(MARIADB).await;
}

async fn outage_of(kind: Kind) {
    let Some(database) = Fresh::on(kind).await else { return };
    let relay = Arc::new(Relay::to(&database.server()).await);
    let mut url = database.url.clone();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(relay.address.port())).unwrap();
    let test = TestHub::with(|config| {
        config.db.url = url.as_str().into();
        config.db.acquire_timeout = Duration::from_millis(500);
        config.db.max_connections = 3;
        config.spawner.poll_interval = Duration::from_millis(50);
    })
    .await;
    let root = test.root();
    root.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    let before = root.get("/users/ada/server").await.holds(200);

    relay.cut().await;
    for path in ["/users/ada", "/users", "/user", "/groups"] {
        let answer = root.get(path).await;
        answer.fails(503, "The hub's database is not available at the moment.");
        assert_eq!(answer.header("retry-after"), Some("5"), "{path}");
    }
    let answer = root.post("/users", json!({ "usernames": ["eve"] })).await;
    answer.fails(503, "The hub's database is not available at the moment.");
    // What needs no database is answered.
    root.get("/").await.holds(200);
    assert_eq!(root.get("/health").await.code(), 200);

    relay.mend().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let after = loop {
        let answer = root.get("/users/ada/server").await;
        if answer.code() == 200 {
            break answer.json();
        }
        assert_eq!(answer.code(), 503, "{answer:?}");
        assert!(Instant::now() < deadline, "the hub does not find its database again");
    };
    // The same server: not stopped, not started again, with the address that it had.
    for key in ["ready", "started", "url", "pending"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["ready"], Value::Bool(true));
    assert_eq!(root.get("/users/eve").await.code(), 404);
    root.delete("/users/ada/server", None).await.is_empty(204, "");

    drop(test);
    database.drop().await;
}

#[actix_web::test]
async fn more_requests_than_connections_to_postgresql_wait_and_are_all_answered() {
    crowd_at(POSTGRESQL).await;
}

#[actix_web::test]
async fn more_requests_than_connections_to_mariadb_wait_and_are_all_answered() {
    crowd_at(MARIADB).await;
}

async fn crowd_at(kind: Kind) {
    let Some(database) = Fresh::on(kind).await else { return };
    let url = &database.url;
    let test = TestHub::with(|config| {
        config.db.url = url.as_str().into();
        config.db.max_connections = 2;
    })
    .await;
    let root = test.root();
    let answers = futures_util::future::join_all((0..100).map(|_| root.get("/users"))).await;
    assert!(answers.iter().all(|answer| answer.code() == 200));
    // The server cannot read a row of rows: an error when there are more than two connections.
    let connections = format!("SELECT 1 FROM {} = '{}'", database.kind.connections, database.name);
    let at_most_two = format!(
        "SELECT CASE WHEN (SELECT count(*) FROM ({connections}) AS open) <= 2 THEN 1 ELSE ({connections}) END"
    );
    database.admin.conn().execute_unprepared(&at_most_two).await.unwrap();
    let more_than_none =
        format!("SELECT CASE WHEN EXISTS ({connections}) THEN 1 ELSE (SELECT 1 UNION ALL SELECT 1) END");
    database.admin.conn().execute_unprepared(&more_than_none).await.unwrap();
    drop(test);
    database.drop().await;
}
