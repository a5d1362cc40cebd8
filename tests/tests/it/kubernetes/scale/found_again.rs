//! Five thousand servers run when the hub starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_tests::database;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Bed, Namespace, kube_settings};
use hub_tests::settings::Settings;
use hub_tests::usage::{Memory, memory};
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::NEEDS;
use super::{people, stand_ins};

const SERVERS: usize = 5_000;
/// Requests of the test itself at once.
const AT_ONCE: usize = 32;
/// In what time the hub is to answer.
const STARTS_WITHIN: Duration = Duration::from_secs(2);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(4);
/// Memory, in MiB, that it may take then.
const MEMORY: f64 = 100.0;
/// How long after all that its memory is read.
const REST: Duration = Duration::from_secs(10);
/// In what time all servers are to be looked at.
const FOUND_WITHIN: Duration = Duration::from_mins(2);
/// A node that nobody looks after, so that nothing happens to its pods.
const NODE: &str = "far-away";
/// Servers of all users, as the hub's database tells of them.
const ROWS: [&str; 3] = [
    "INSERT INTO servers (proto, ip, port, base_url, cookie_name) \
     SELECT 'http', '127.0.0.1', PORT, '/user/' || name || '/', 'jupyterhub-user-' || name \
     FROM users WHERE name LIKE 'u%'",
    "INSERT INTO oauth_clients (identifier, description, secret, redirect_uri, allowed_scopes) \
     SELECT 'jupyterhub-user-' || name, 'Server at /user/' || name || '/', 'sha512:1:0:0', \
     '/user/' || name || '/oauth_callback', '[]' FROM users WHERE name LIKE 'u%'",
    "INSERT INTO spawners (user_id, server_id, state, name, started, last_activity, user_options, oauth_client_id) \
     SELECT users.id, servers.id, json_object('kubespawner_version', '7.1.0', 'pod_name', 'jupyter-' || users.name, \
     'namespace', 'NAMESPACE', 'dns_name', 'jupyter-' || users.name || '.NAMESPACE.svc.cluster.local'), '', \
     '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000', '{}', servers.cookie_name \
     FROM users JOIN servers ON servers.cookie_name = 'jupyterhub-user-' || users.name",
];

#[tokio::test]
async fn five_thousand_servers_are_found_again_at_once_and_take_little_memory() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let town = Town::build(SERVERS).await?;
    let found = town.meets(Kind::Himalia).await?;
    println!("{found:?}");
    ensure!(found.answers < STARTS_WITHIN + SLACK, "the first answer takes {:?}", found.answers);
    ensure!(found.memory.now < MEMORY, "{:?}", found.memory);
    Ok(())
}

/// What a hub showed that found the servers.
#[derive(Debug)]
pub(super) struct Found {
    /// From its start to the first answer for which the database is needed.
    pub(super) answers: Duration,
    /// From its start until all servers were looked at.
    pub(super) all: Duration,
    /// What it takes then.
    pub(super) memory: Memory,
}

/// A cluster with the pods of all servers, and a door that answers for all of them.
pub(super) struct Town {
    namespace: Namespace,
    account: Account,
    servers: usize,
    door: u16,
    looks: Arc<AtomicUsize>,
}

impl Town {
    pub(super) async fn build(servers: usize) -> Result<Self> {
        let bed = Arc::new(Bed::with_room_for(500)?);
        let namespace = Namespace::new(&bed, "town").await?;
        let (door, looks) = door().await?;
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
        namespace.cluster.create("/api/v1/nodes", &node).await?;
        stream::iter(0..servers)
            .map(|number| pod(&namespace, number, door))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let account = Account::new(&namespace, bed.port).await?;
        Ok(Self { namespace, account, servers, door, looks })
    }

    /// Starts a hub whose database tells of all servers.
    pub(super) async fn meets(&self, kind: Kind) -> Result<Found> {
        let settings = Settings {
            poll_interval: Some(Duration::from_hours(1)),
            ..kube_settings(&self.namespace, &self.account, &stand_ins("0s"))
        };
        let mut hub = Hub::start(kind, settings).await?;
        people(&hub.administrator()?, self.servers).await?;
        hub.terminate().await?;
        let file = hub.folder().join("jupyterhub.sqlite");
        for statement in ROWS {
            let statement = statement.replace("NAMESPACE", &self.namespace.name);
            database::query(&file, &statement.replace("PORT", &self.door.to_string())).await?;
        }
        self.looks.store(0, Ordering::Relaxed);
        let began = Instant::now();
        hub.start_again().await?;
        hub.administrator()?.fetch("user").await?;
        let answers = began.elapsed();
        eventually("all servers are looked at", FOUND_WITHIN, || async {
            Ok((self.looks.load(Ordering::Relaxed) >= self.servers).then_some(()))
        })
        .await?;
        let all = began.elapsed();
        for number in [0, self.servers / 2, self.servers - 1] {
            hub.administrator()?.server_is_ready(&format!("u{number}"), "").await?;
        }
        tokio::time::sleep(REST).await;
        Ok(Found { answers, all, memory: memory(hub.pid().context("the hub runs")?)? })
    }
}

/// A running server's pod, as stock made it.
async fn pod(namespace: &Namespace, number: usize, door: u16) -> Result<()> {
    let name = format!("jupyter-u{number}");
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": { "app": "jupyterhub", "component": "singleuser-server" },
            "annotations": { "hub.jupyter.org/username": format!("u{number}"), "hub.jupyter.org/servername": "" },
        },
        "spec": {
            "nodeName": NODE,
            "containers": [{
                "name": "notebook", "image": "registry.test/stand-in:1",
                "ports": [{ "name": "notebook-port", "containerPort": door }],
                // As much of it as real servers have.
                "env": (0..30).map(|variable| json!({ "name": format!("JUPYTERHUB_{variable}"),
                    "value": "a text of about the length of a usual variable" })).collect::<Vec<Value>>(),
            }],
        },
    });
    let (status, answer) = namespace.cluster.send(Method::POST, &namespace.path("pods", ""), &object).await?;
    // A connection that breaks off makes the client ask again for what was made already.
    ensure!(status.is_success() || status == 409, "{status}: {answer}");
    let status = json!({ "status": {
        "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{ "ip": "127.0.0.1" }],
        "containerStatuses": [{ "name": "notebook", "ready": true, "restartCount": 0, "image": "registry.test/stand-in:1",
            "imageID": "", "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } } }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    namespace.cluster.patch(&format!("{}/status", namespace.path("pods", &name)), &status).await?;
    Ok(())
}

/// A port on 127.0.0.1 at which every request is answered, and the count of those.
async fn door() -> Result<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (port, looks) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&looks);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                // Whoever goes away in between asks again, or does not.
                let _ = answer(stream, &counted).await;
            });
        }
    });
    Ok((port, looks))
}

async fn answer(stream: TcpStream, looks: &AtomicUsize) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        if line.trim().is_empty() {
            let text = b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Length: 2\r\n\r\n{}";
            stream.write_all(text).await?;
            looks.fetch_add(1, Ordering::Relaxed);
        }
        line.clear();
    }
    Ok(())
}
