//! Servers that are reached by a service of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::kube::Namespace;
use hub_tests::ports::free_port;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Site, with_both};

const SOON: Duration = Duration::from_mins(1);
const NAME: &str = "jupyter-alice";

with_both! {
    a_server_is_reached_by_a_service_that_comes_and_goes_with_its_pod,
}

async fn a_server_is_reached_by_a_service_that_comes_and_goes_with_its_pod(kind: Kind) -> Result<()> {
    let port = free_port();
    // Names of services mean something in pods only, and the hub is in none: the name is the address of a door.
    let options = json!({ "services_enabled": true, "port": port, "dns_name_template": "127.0.0.1" });
    let site = Site::start(kind, options, Settings::with_light_singleuser).await?;
    let (hub, namespace) = (&site.hub, &site.namespace);
    let door = Door::open(namespace, port).await?;
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    let passed = || door.passed.load(Ordering::Relaxed);
    let mut last = Value::Null;
    for round in 1..=2 {
        let before = passed();
        administrator.start_server("alice", "").await?;
        let pod = namespace.find("pods", NAME).await?.context("no pod")?;
        let service = namespace.find("services", NAME).await?.context("no service")?;
        let of = |pointer: &str| service.pointer(pointer).cloned().unwrap_or_default();
        ensure!(of("/metadata/ownerReferences/0/uid") == pod["metadata"]["uid"], "{service} of {pod}");
        ensure!(of("/spec/ports/0/port") == json!(port) && of("/spec/type") == "ClusterIP", "{service}");
        ensure!(of("/metadata/uid") != last, "the service of the pod before: {service}");
        last = of("/metadata/uid");
        let up = passed();
        ensure!(up > before, "round {round}: the hub has not come by the service");
        let page = alice.follow("user/alice/").await?;
        ensure!(page.status == 200, "round {round}: {} at {}: {}", page.status, page.url, page.text);
        ensure!(passed() > up, "round {round}: the page has not come by the service");
        administrator.stop_server("alice", "").await?;
        namespace.pod_is_gone(NAME).await?;
        if round == 2 {
            eventually("the service goes with its pod", SOON, || async {
                Ok(namespace.find("services", NAME).await?.is_none().then_some(()))
            })
            .await?;
        }
    }
    site.kept_to_the_charts_role()
}

/// Passes connections on to the service of alice's server, whichever it is by then.
struct Door {
    /// Connections that have come to the service.
    passed: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Door {
    async fn open(namespace: &Namespace, port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let cluster = Arc::new(namespace.bed.administrator()?);
        let (path, passed) = (Arc::new(namespace.path("services", NAME)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&passed);
        let accepting = tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let (cluster, path, counted) =
                    (Arc::clone(&cluster), Arc::clone(&path), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(Some(service)) = cluster.find(&path).await else { return };
                    let Some(address) = service.pointer("/spec/clusterIP").and_then(Value::as_str) else {
                        return;
                    };
                    let Ok(mut to) = TcpStream::connect((address, port)).await else { return };
                    counted.fetch_add(1, Ordering::Relaxed);
                    // Either end may break off.
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                });
            }
        });
        Ok(Self { passed, accepting })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
