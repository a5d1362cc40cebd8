//! Thousands of servers, as a stage of its own: `cargo xtask test kubernetes-scale`.
//!
//! Nodes answer for the servers without a process for each (`stand-in` in `tests/kubebed`).

mod crowd;
mod found_again;
mod ratios;

use anyhow::{Result, ensure};
use hub_tests::client::Api;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn one_of_two_hundred_namespaces_loses_its_rights_and_the_others_go_on() -> Result<()> {
    super::namespaces::one_of_them_loses_its_rights(200, &stand_ins("0s")).await
}

/// Users of one request that makes them.
const AT_ONCE: usize = 500;

/// Options of servers that nodes answer for, without volumes, whose start takes so long.
fn stand_ins(start_takes: &str) -> Value {
    json!({
        "image": "registry.test/stand-in:1",
        "storage_pvc_ensure": false,
        "volumes": [],
        "volume_mounts": [],
        "start_timeout": 300,
        "extra_annotations": { "kubebed/start-delay": start_takes },
    })
}

/// Makes users `u0`, `u1` and so on, and returns their names.
async fn people(administrator: &Api, count: usize) -> Result<Vec<String>> {
    let names: Vec<String> = (0..count).map(|number| format!("u{number}")).collect();
    for some in names.chunks(AT_ONCE) {
        let (status, answer) =
            administrator.send(Method::POST, "users", json!({ "usernames": some })).await?;
        ensure!(status == 201, "{status}: {answer}");
    }
    Ok(names)
}

/// The value that so many parts of a hundred of all do not exceed.
fn percentile(values: &mut [f64], part: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * part / 100).min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}
