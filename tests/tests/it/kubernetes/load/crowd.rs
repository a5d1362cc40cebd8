//! Thousands of pods that run when the hub begins.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Bed, Namespace};
use serde_json::{Value, json};

use super::{Doors, servers_run, settings, used};
use crate::kubernetes::NEEDS;

/// Writes the rows; run with the stock hub's interpreter.
const FILL: &str = include_str!("../../../../../xtask/src/bench/fill.py");
const PODS: &str = "HIMALIA_BENCH_PODS";
/// Its pod is the pattern for all others.
const PATTERN: &str = "qpattern";
/// Requests of the test itself at once.
const AT_ONCE: usize = 16;
const CHECKED_WITHIN: Duration = Duration::from_mins(15);
/// How long the hub is watched at rest.
const REST: Duration = Duration::from_mins(1);

#[tokio::test]
#[ignore = "minutes of load: cargo xtask bench kube"]
async fn thousands_of_pods_under_both_hubs() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia, Kind::Stock], &NEEDS) {
        return Ok(());
    }
    let pods: usize = std::env::var(PODS).map_or(Ok(5000), |count| count.parse()).context(PODS)?;
    println!(
        "{pods} pods: seconds to the first healthy answer, to all servers looked at, of processor until then,"
    );
    println!("and in a minute at rest; MiB of memory after it");
    for kind in [Kind::Himalia, Kind::Stock] {
        let figures = crowd(kind, pods).await.with_context(|| format!("{kind:?}"))?;
        let text: Vec<String> = figures.iter().map(|figure| format!("{figure:>9.2}")).collect();
        println!("{:<10}{}", format!("{kind:?}"), text.join(""));
    }
    Ok(())
}

async fn crowd(kind: Kind, count: usize) -> Result<[f64; 5]> {
    let doors = Doors::open().await?;
    let bed = Arc::new(Bed::start()?);
    let namespace = Namespace::new(&bed, "crowd").await?;
    let account = Account::new(&namespace, bed.port).await?;
    let mut hub = Hub::start(kind, settings(&namespace, &account, &doors, &json!({}))).await?;
    let administrator = hub.administrator()?;
    administrator.add_user(PATTERN).await?;
    administrator.start_server(PATTERN, "").await?;
    let name = format!("jupyter-{PATTERN}");
    let pattern = namespace.find("pods", &name).await?.context("no pod")?;
    administrator.stop_server(PATTERN, "").await?;
    hub.terminate().await?;

    let pattern = &plain(&pattern)?;
    let namespace_ref = &namespace;
    stream::iter((0..count).map(|number| make(namespace_ref, pattern, number)))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    for arguments in [
        vec!["users".to_owned(), count.to_string()],
        vec!["pods".to_owned(), count.to_string(), doors.port.to_string(), namespace.name.clone()],
    ] {
        let filled = Command::new(Needed::Venv61.path().join("bin/python"))
            .args(["-c", FILL])
            .arg(hub.folder().join("jupyterhub.sqlite"))
            .args(arguments)
            .status()?;
        ensure!(filled.success(), "the database cannot be filled: {filled}");
    }

    let began = Instant::now();
    hub.start_again().await?;
    let healthy = began.elapsed();
    servers_run(&hub, count, CHECKED_WITHIN).await?;
    let checked = began.elapsed();
    let pid = hub.pid().context("the hub runs")?;
    let (busy, _) = used(pid)?;
    tokio::time::sleep(REST).await;
    let (after, memory) = used(pid)?;
    Ok([healthy.as_secs_f64(), checked.as_secs_f64(), busy, after - busy, memory])
}

/// The pod without what the cluster adds, for no node.
fn plain(pod: &Value) -> Result<String> {
    let mut spec = pod.get("spec").context("a spec")?.clone();
    spec["schedulerName"] = "nobody".into();
    spec.as_object_mut().context("a table")?.remove("nodeName");
    let metadata = ["name", "labels", "annotations"].map(|key| (key, pod["metadata"][key].clone()));
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": spec });
    for (key, value) in metadata {
        pod["metadata"][key] = value;
    }
    Ok(pod.to_string())
}

/// Makes one pod that seems to run.
async fn make(namespace: &Namespace, pattern: &str, number: usize) -> Result<()> {
    let user = format!("u{number}");
    let pod: Value = serde_json::from_str(&pattern.replace(PATTERN, &user))?;
    namespace.cluster.create(&namespace.path("pods", ""), &pod).await?;
    let now = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now });
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    let status = json!({ "status": {
        "phase": "Running",
        "podIP": "127.0.0.1",
        "podIPs": [{ "ip": "127.0.0.1" }],
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": [{
            "name": "notebook", "ready": true, "started": true, "restartCount": 0,
            "image": "registry.test/pause:1", "imageID": "registry.test/pause@sha256:0",
            "containerID": "bed://0", "state": { "running": { "startedAt": now } },
        }],
    } });
    let path = namespace.path("pods", &format!("jupyter-{user}/status"));
    namespace.cluster.patch(&path, &status).await.map(drop)
}
