//! The cluster itself: it does to pods what tests ask of it, and its outages are such as they are in earnest.

use std::sync::Arc;

use anyhow::{Result, ensure};
use hub_tests::kube::{Bed, Namespace};
use reqwest::Method;
use serde_json::{Value, json};

use super::NEEDS;

/// A pod that does nothing for long; it is started again when it ends, as those of servers are.
fn idle(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "restartPolicy": "OnFailure",
            "containers": [{ "name": "main", "image": "registry.test/idle:1", "args": ["sleep", "3600"] }],
        },
    })
}

fn is(pointer: &'static str, wanted: Value) -> impl Fn(&Value) -> bool {
    move |pod| pod.pointer(pointer) == Some(&wanted)
}

async fn running(namespace: &Namespace, name: &str) -> Result<Value> {
    namespace.cluster.create(&namespace.path("pods", ""), &idle(name)).await?;
    namespace.pod(name, "runs", is("/status/phase", json!("Running"))).await
}

#[tokio::test]
async fn a_node_does_to_a_running_pod_what_a_test_asks_for() -> Result<()> {
    if !crate::e2e::ready(&[], &NEEDS) {
        return Ok(());
    }
    let namespace = Namespace::new(&Bed::shared(), "asked").await?;
    for (name, fault, pointer, value) in [
        ("evicted", "evict-after", "/status/reason", "Evicted"),
        ("shut-down", "shutdown-after", "/status/reason", "Terminated"),
        ("oom", "oom-after", "/status/containerStatuses/0/lastState/terminated/reason", "OOMKilled"),
        ("crash", "crash-after", "/status/containerStatuses/0/state/waiting/reason", "CrashLoopBackOff"),
    ] {
        running(&namespace, name).await?;
        namespace.fault(name, fault, "0s").await?;
        namespace.pod(name, value, is(pointer, json!(value))).await?;
    }
    running(&namespace, "lost").await?;
    namespace.fault("lost", "node-lost-after", "0s").await?;
    namespace.cluster.delete(&namespace.path("pods", "lost"), 1).await?;
    namespace.pod("lost", "is ending", |pod| pod.pointer("/metadata/deletionTimestamp").is_some()).await?;
    // Nobody but the administrator can end what is left of it.
    namespace.cluster.delete(&namespace.path("pods", "lost"), 0).await?;
    namespace.pod_is_gone("lost").await
}

#[tokio::test]
async fn a_webhook_refuses_the_pods_that_ask_for_it() -> Result<()> {
    if !crate::e2e::ready(&[], &NEEDS) {
        return Ok(());
    }
    let namespace = Namespace::new(&Bed::shared(), "denied").await?;
    let mut pod = idle("denied");
    pod["metadata"]["annotations"] = json!({ "kubebed/deny": "no pods on Fridays" });
    let (status, answer) = namespace.cluster.send(Method::POST, &namespace.path("pods", ""), &pod).await?;
    let message = answer.get("message").and_then(Value::as_str).unwrap_or_default();
    ensure!(
        status.is_client_error() && message.contains("denied the request: no pods on Fridays"),
        "{answer}"
    );
    running(&namespace, "allowed").await.map(drop)
}

#[tokio::test]
async fn pods_outlive_an_outage_of_the_api_server_and_old_watches_do_not() -> Result<()> {
    if !crate::e2e::ready(&[], &NEEDS) {
        return Ok(());
    }
    // A cluster of its own: the API server goes away for everybody.
    let bed = Arc::new(Bed::start()?);
    let namespace = Namespace::new(&bed, "outage").await?;
    let made = namespace.cluster.create(&namespace.path("pods", ""), &idle("survivor")).await?;
    let before = namespace.pod("survivor", "runs", is("/status/phase", json!("Running"))).await?;
    let version = made.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    let pods = namespace.path("pods", "");
    let watch = format!("{pods}?watch=1&timeoutSeconds=1&resourceVersion={version}");

    bed.stop_api_server()?;
    let nobody = namespace.cluster.send(Method::GET, &pods, &Value::Null).await;
    ensure!(nobody.is_err(), "answered by nobody: {nobody:?}");
    bed.start_api_server()?;

    let (_, event) = namespace.cluster.send(Method::GET, &watch, &Value::Null).await?;
    ensure!(event.pointer("/object/code") == Some(&json!(410)), "{event}");
    let after = namespace.pod("survivor", "runs", is("/status/phase", json!("Running"))).await?;
    let started = "/status/containerStatuses/0/state/running/startedAt";
    ensure!(
        before.pointer(started).is_some() && before.pointer(started) == after.pointer(started),
        "{after}"
    );
    Ok(())
}
