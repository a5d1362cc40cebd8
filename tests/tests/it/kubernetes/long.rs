//! What takes minutes, as a stage of its own: `cargo xtask test kubernetes-long`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::events::Listener;
use hub_tests::hub::Kind;
use hub_tests::kube::Condition;
use hub_tests::settings::Settings;
use serde_json::{Value, json};

use super::outage::outage;
use super::{NEEDS, Site};

/// A server that has run for less is not started again.
const RUNS_FOR: Duration = Duration::from_secs(65);
const NOTICED_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn an_outage_of_a_minute_is_survived() -> Result<()> {
    outage(Duration::from_mins(1), Condition::Refused).await
}

#[tokio::test]
async fn a_silence_of_a_minute_is_survived() -> Result<()> {
    outage(Duration::from_mins(1), Condition::Silent).await
}

#[tokio::test]
async fn an_outage_of_three_minutes_is_survived() -> Result<()> {
    outage(Duration::from_mins(3), Condition::Refused).await
}

#[tokio::test]
async fn a_server_whose_node_shuts_down_is_started_again_where_that_is_wanted() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let change = |settings: Settings| Settings {
        poll_interval: Some(Duration::from_hours(1)),
        spawner_more: [("start_again_after".to_owned(), json!(["node-shutdown"]))].into(),
        ..settings.with_light_singleuser()
    };
    let site = Site::start(Kind::Himalia, json!({}), change).await?;
    let administrator = site.hub.administrator()?;
    let mut events = Listener::new(&administrator).await?;
    for user in ["ann", "ben"] {
        administrator.add_user(user).await?;
        administrator.start_server(user, "").await?;
        events.next(user, "start", NOTICED_WITHIN).await?;
    }
    tokio::time::sleep(RUNS_FOR).await;
    let id = |pod: &Value| pod.pointer("/metadata/uid").cloned();
    let before = site.namespace.find("pods", "jupyter-ann").await?.context("no pod")?;
    site.namespace.fault("jupyter-ann", "shutdown-after", "0s").await?;
    let end = events.next("ann", "stop", NOTICED_WITHIN).await?;
    ensure!(end.get("cause") == Some(&json!("node-shutdown")), "{end}");
    events.next("ann", "start", NOTICED_WITHIN).await?;
    let after = site.namespace.find("pods", "jupyter-ann").await?.context("no pod")?;
    ensure!(id(&before) != id(&after), "the same pod: {after}");

    // Other ends are ends.
    site.namespace.fault("jupyter-ben", "evict-after", "0s").await?;
    events.next("ben", "stop", NOTICED_WITHIN).await?;
    administrator.server_is_gone("ben", "").await?;
    site.is_at_rest().await?;
    site.kept_to_the_charts_role()
}
