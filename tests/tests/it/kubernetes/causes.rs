//! Starts that cannot succeed: people are told the cause soon, and the failure names it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hub_tests::events::Listener;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NEEDS, Site};

/// How soon a cause is told after the request that leads to it; it takes less than a second.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
const FAILED_WITHIN: Duration = Duration::from_mins(1);

/// A profile of each trouble: its name, its options, the cause, and what the person reads.
fn troubles() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let annotated =
        |fault: &str, value: &str| json!({ "extra_annotations": { (format!("kubebed/{fault}")): value } });
    let from_secret = json!({ "valueFrom": { "secretKeyRef": { "name": "none-such", "key": "key" } } });
    let volume = json!([{ "name": "data", "secret": { "secretName": "none-such" } }]);
    let mount = json!([{ "name": "data", "mountPath": "/data" }]);
    vec![
        ("huge", json!({ "mem_guarantee": "999T" }), "unschedulable", "not enough memory"),
        ("nowhere", json!({ "node_selector": { "disk": "none-such" } }), "unschedulable", "machine"),
        ("no-image", annotated("pull", "backoff"), "image-missing", "image"),
        ("no-key", json!({ "environment": { "KEY": from_secret } }), "config-missing", "configured with"),
        ("no-volume", json!({ "volumes": volume, "volume_mounts": mount }), "volume-missing", "volume"),
        ("refused", annotated("deny", "no pods on Fridays"), "webhook", "rules of the cluster"),
    ]
}

#[tokio::test]
async fn a_start_that_cannot_succeed_tells_its_cause_soon() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let profiles: Vec<Value> = troubles()
        .into_iter()
        .map(|(name, options, ..)| json!({ "display_name": name, "slug": name, "kubespawner_override": options }))
        .collect();
    let options = json!({ "profile_list": profiles, "start_timeout": 20 });
    let change = |settings: Settings| Settings {
        slow_spawn_timeout: Duration::ZERO,
        ..settings.with_light_singleuser()
    };
    let site = Site::start(Kind::Himalia, options, change).await?;
    let administrator = site.hub.administrator()?;
    let mut events = Listener::new(&administrator).await?;
    for (name, _, cause, words) in troubles() {
        administrator.add_user(name).await?;
        let began = Instant::now();
        let path = format!("users/{name}/server");
        let (status, answer) = administrator.send(Method::POST, &path, json!({ "profile": name })).await?;
        ensure!(status == 202, "{name}: {status}: {answer}");
        told(&site.hub, name, cause, words).await.with_context(|| name.to_owned())?;
        let after = began.elapsed();
        println!("{name}: {cause} after {after:?}");
        ensure!(after < TOLD_WITHIN, "{name}: {cause} only after {after:?}");
        let failure = events.next(name, "failure", FAILED_WITHIN).await?;
        ensure!(failure.get("cause") == Some(&json!(cause)), "{name}: {failure}");
        administrator.server_is_gone(name, "").await?;
        site.namespace.pod_is_gone(&format!("jupyter-{name}")).await?;
    }
    site.kept_to_the_charts_role()
}

/// Waits until a start, which still goes on or has failed, names this cause in these words.
async fn told(hub: &Hub, user: &str, cause: &str, words: &str) -> Result<()> {
    let path = format!("users/{user}/server/progress?details");
    let mut answer = hub.administrator()?.request(Method::GET, &path)?.send().await?;
    ensure!(answer.status() == 200, "{path} answers {}", answer.status());
    let mut text = String::new();
    while let Some(chunk) = answer.chunk().await? {
        text.push_str(&String::from_utf8_lossy(&chunk));
        // The last line may be half there.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        for event in whole.filter_map(|line| line.strip_prefix("data:")) {
            let event: Value = serde_json::from_str(event)?;
            let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
            if text("cause") == cause && text("message").contains(words) {
                return Ok(());
            }
        }
    }
    bail!("nothing of {cause} as {words:?}:\n{text}")
}

/// What a node does to the container of a server again and again, and the cause that the end is explained with.
#[tokio::test]
async fn a_server_that_crashes_again_and_again_is_ended_and_one_crash_is_survived() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let options = json!({ "crash_limit": 2 });
    let site = Site::start(Kind::Himalia, options, Settings::with_light_singleuser).await?;
    let administrator = site.hub.administrator()?;
    let mut events = Listener::new(&administrator).await?;
    for (user, fault, cause) in [("carl", "crash-after", "crash-loop"), ("mona", "oom-after", "oom-killed")] {
        administrator.add_user(user).await?;
        administrator.start_server(user, "").await?;
        let pod = format!("jupyter-{user}");
        // The annotation stays, so that every further run of the container is killed as well.
        site.namespace.fault(&pod, fault, "1s").await?;
        let restarted = |pod: &Value| {
            pod.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64) >= Some(1)
        };
        let seen = site.namespace.pod(&pod, "is started again", restarted).await?;
        let user_model = administrator.fetch(&format!("users/{user}")).await?;
        ensure!(user_model.pointer("/servers//ready") == Some(&json!(true)), "{user_model} with {seen}");
        let end = events.next(user, "stop", FAILED_WITHIN).await.with_context(|| cause.to_owned())?;
        ensure!(end.get("cause") == Some(&json!(cause)), "{end}");
        administrator.server_is_gone(user, "").await?;
        site.namespace.pod_is_gone(&pod).await?;
        administrator.start_server(user, "").await.context("the next start")?;
    }
    site.kept_to_the_charts_role()
}
