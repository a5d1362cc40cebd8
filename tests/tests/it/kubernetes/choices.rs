//! Who may choose what: profiles, options and patches by groups, the same in the form, in the API and by a link.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NEEDS, Site};

fn options() -> Value {
    json!({
        "profile_list": [
            { "display_name": "Standard", "slug": "standard", "default": true },
            { "display_name": "With a GPU", "slug": "gpu", "allowed_groups": ["gpu"],
              "kubespawner_override": { "extra_labels": { "machine": "gpu" } },
              "profile_options": { "size": { "display_name": "Size", "choices": {
                  "one": { "display_name": "One", "default": true },
                  "eight": { "display_name": "Eight", "allowed_users": ["zoe"],
                             "kubespawner_override": { "extra_labels": { "gpus": "8" } } },
              } } } },
        ],
        "group_overrides": {
            "10-gpu": { "groups": ["gpu"], "spawner_override": { "mem_guarantee": "512M" } },
        },
        "pod_patches": [{
            "when": { "groups": ["gpu"] },
            "merge": { "metadata": { "labels": { "patched": "yes" } } },
        }],
    })
}

#[tokio::test]
async fn what_groups_may_choose_is_the_same_in_form_api_and_link() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let site = Site::start(Kind::Himalia, options(), |settings| {
        let mut settings = settings.with_light_singleuser();
        settings.services[0].scopes.push("admin:groups".to_owned());
        // The answer to a start then says what became of it.
        Settings { slow_spawn_timeout: Duration::from_mins(1), ..settings }
    })
    .await?;
    let administrator = site.hub.administrator()?;
    let (member, guest, zoe) = (
        site.hub.logged_in("mia").await?,
        site.hub.logged_in("guy").await?,
        site.hub.logged_in("zoe").await?,
    );
    administrator.send(Method::POST, "groups/gpu", json!({ "users": ["mia", "zoe"] })).await?;

    let form = guest.follow("hub/spawn/guy").await?;
    ensure!(form.text.contains("Standard") && !form.text.contains("GPU"), "{}", form.text);
    let form = member.follow("hub/spawn/mia").await?;
    ensure!(form.text.contains("With a GPU") && !form.text.contains("Eight"), "{}", form.text);
    let form = zoe.follow("hub/spawn/zoe").await?;
    ensure!(form.text.contains("Eight"), "{}", form.text);

    // What somebody may not choose does not exist: no way leads to a pod.
    for (user, choice) in
        [("guy", json!({ "profile": "gpu" })), ("mia", json!({ "profile": "gpu", "size": "eight" }))]
    {
        let (status, answer) =
            administrator.send(Method::POST, &format!("users/{user}/server"), choice).await?;
        ensure!(status.is_client_error() || status.is_server_error(), "{user}: {status}: {answer}");
        administrator.server_is_gone(user, "").await?;
    }
    let link = guest.follow("hub/spawn/guy?profile=gpu").await?;
    administrator.server_is_gone("guy", "").await?;
    ensure!(link.status.is_client_error() || link.status.is_server_error(), "{}: {}", link.status, link.text);
    ensure!(site.namespace.all("pods").await?.is_empty(), "a pod that nobody may have");

    for (user, choice, labels) in [
        ("guy", json!({ "profile": "standard" }), [Value::Null, Value::Null, Value::Null]),
        ("mia", json!({ "profile": "gpu" }), [json!("gpu"), Value::Null, json!("yes")]),
        ("zoe", json!({ "profile": "gpu", "size": "eight" }), [json!("gpu"), json!("8"), json!("yes")]),
    ] {
        let (status, answer) =
            administrator.send(Method::POST, &format!("users/{user}/server"), choice).await?;
        ensure!(status == 201 || status == 202, "{user}: {status}: {answer}");
        administrator.server_is_ready(user, "").await?;
        let pod = site.namespace.find("pods", &format!("jupyter-{user}")).await?.context("no pod")?;
        let of = |pointer: &str| pod.pointer(pointer).cloned().unwrap_or_default();
        let found = ["machine", "gpus", "patched"].map(|label| of(&format!("/metadata/labels/{label}")));
        ensure!(found == labels, "{user}: {found:?}");
        let memory = if user == "guy" { Value::Null } else { json!("536870912") };
        ensure!(of("/spec/containers/0/resources/requests/memory") == memory, "{user}: {pod}");
    }
    site.kept_to_the_charts_role()
}
