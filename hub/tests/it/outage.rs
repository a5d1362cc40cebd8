//! A database that goes away and comes back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hub_core::{ServerKey, ServerName, UserName};
use hub_db::ConnectionTrait as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api_extensions::{data, read_until};
use crate::database::{Fresh, Kind, MARIADB, POSTGRESQL};
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
    let (_, _, mut events) = root.open("/events").await;

    relay.cut().await;
    // Nobody can be told for now.
    let bob = ServerKey::new(UserName::stored("bob"), ServerName::default());
    test.hub.events.stopped(&bob);
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
    test.hub.events.started(&bob);
    let told = data(&read_until(&mut events, "\"action\": \"start\"").await);
    let told: Vec<&Value> = told.iter().map(|event| &event["action"]).collect();
    assert_eq!(told, ["stop", "start"], "what happened meanwhile is told once");
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
