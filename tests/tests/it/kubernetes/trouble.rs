//! What goes wrong with pods, and what people are told of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hub_tests::events::Listener;
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NEEDS, Site, progress};

/// Seconds, and much longer than it takes on an idle machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

const GIVEN_UP_WITHIN: Duration = Duration::from_secs(90);

async fn himalia(options: Value) -> Result<Option<Site>> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(None);
    }
    // What is noticed was told by the cluster: the hub itself does not look before the test is over.
    let change = |settings: Settings| Settings {
        poll_interval: Some(Duration::from_hours(1)),
        ..settings.with_light_singleuser()
    };
    Site::start(Kind::Himalia, options, change).await.map(Some)
}

/// What a node does to a running pod, and the cause that is told.
#[tokio::test]
async fn a_server_whose_pod_ends_is_noticed_at_once_and_its_end_is_explained() -> Result<()> {
    let Some(site) = himalia(json!({})).await? else { return Ok(()) };
    let administrator = site.hub.administrator()?;
    let mut events = Listener::new(&administrator).await?;
    for (user, fault, cause) in
        [("evan", "evict-after", "evicted"), ("nora", "shutdown-after", "node-shutdown")]
    {
        administrator.add_user(user).await?;
        administrator.start_server(user, "").await?;
        let pod = format!("jupyter-{user}");
        site.namespace.fault(&pod, fault, "0s").await?;
        let began = Instant::now();
        let end = events.next(user, "stop", NOTICED_WITHIN).await.with_context(|| cause.to_owned())?;
        println!("{cause} is told after {:?}", began.elapsed());
        ensure!(end.get("cause") == Some(&json!(cause)), "{end}");
        administrator.server_is_gone(user, "").await?;
        site.namespace.pod_is_gone(&pod).await?;
        administrator.start_server(user, "").await.context("the next start")?;
    }
    let pod = "jupyter-evan";
    site.namespace.cluster.delete(&site.namespace.path("pods", pod), 0).await?;
    let end = events.next("evan", "stop", NOTICED_WITHIN).await?;
    ensure!(end.get("cause") == Some(&json!("deleted")), "{end}");
    administrator.server_is_gone("evan", "").await?;
    administrator.start_server("evan", "").await.context("the next start")?;
    site.kept_to_the_charts_role()
}

#[tokio::test]
async fn a_full_quota_is_told_with_its_figures_and_passes_when_there_is_room_again() -> Result<()> {
    let Some(site) = himalia(json!({})).await? else { return Ok(()) };
    let administrator = site.hub.administrator()?;
    let mut events = Listener::new(&administrator).await?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" },
        "spec": { "hard": { "pods": "1" } },
    });
    site.namespace.cluster.create(&site.namespace.path("resourcequotas", ""), &quota).await?;
    let path = site.namespace.path("resourcequotas", "few");
    hub_tests::wait::eventually("the quota counts", GIVEN_UP_WITHIN, || async {
        let quota = site.namespace.cluster.find(&path).await?.context("the quota")?;
        Ok((quota.pointer("/status/used/pods") == Some(&json!("0"))).then_some(()))
    })
    .await?;
    for user in ["first", "second"] {
        administrator.add_user(user).await?;
    }
    administrator.start_server("first", "").await?;
    administrator.send(Method::POST, "users/second/server", Value::Null).await?;
    let failure = events.next("second", "failure", GIVEN_UP_WITHIN).await?;
    ensure!(failure.get("cause") == Some(&json!("quota")), "{failure}");
    administrator.server_is_gone("second", "").await?;
    administrator.stop_server("first", "").await?;
    administrator.start_server("second", "").await.context("there is room again")?;
    site.kept_to_the_charts_role()
}

#[tokio::test]
async fn a_pod_that_does_not_go_away_does_not_keep_its_server_pending_for_ever() -> Result<()> {
    let options = json!({ "force_delete_after": 2, "start_timeout": 20 });
    let Some(site) = himalia(options).await? else { return Ok(()) };
    let administrator = site.hub.administrator()?;
    for (user, fault) in [("stuck", "stuck-terminating"), ("lost", "node-lost-after")] {
        administrator.add_user(user).await?;
        administrator.start_server(user, "").await?;
        let pod = format!("jupyter-{user}");
        let value = if fault == "stuck-terminating" { "1h" } else { "0s" };
        site.namespace.fault(&pod, fault, value).await?;
        administrator.stop_server(user, "").await.with_context(|| fault.to_owned())?;
        site.namespace.pod_is_gone(&pod).await?;
        administrator.start_server(user, "").await.context("the next start")?;
    }
    site.kept_to_the_charts_role()
}

#[tokio::test]
async fn a_foreign_pod_under_a_servers_name_is_not_touched() -> Result<()> {
    let Some(site) = himalia(json!({})).await? else { return Ok(()) };
    let administrator = site.hub.administrator()?;
    let mut events = Listener::new(&administrator).await?;
    let foreign = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "jupyter-alice", "labels": { "app": "other" } },
        "spec": { "containers": [{ "name": "main", "image": "registry.test/pause:1" }] },
    });
    let pods = site.namespace.path("pods", "");
    let made = site.namespace.cluster.create(&pods, &foreign).await?;
    administrator.add_user("alice").await?;
    administrator.send(Method::POST, "users/alice/server", Value::Null).await?;
    let failure = events.next("alice", "failure", GIVEN_UP_WITHIN).await?;
    ensure!(failure.get("cause") == Some(&json!("conflict")), "{failure}");
    administrator.server_is_gone("alice", "").await?;
    let still = site.namespace.find("pods", "jupyter-alice").await?.context("the foreign pod is gone")?;
    ensure!(still.pointer("/metadata/uid") == made.pointer("/metadata/uid"), "another pod: {still}");
    ensure!(still.pointer("/metadata/deletionTimestamp").is_none(), "{still}");
    let told = progress(&site.hub, "alice").await?;
    ensure!(told.last().and_then(|event| event.get("failed")) == Some(&json!(true)), "{told:#?}");
    site.kept_to_the_charts_role()
}
