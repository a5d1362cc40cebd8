//! Who may choose what: profiles and options by groups, and what groups change.

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NEEDS, Site};

#[tokio::test]
async fn what_a_person_may_choose_follows_from_the_persons_groups_in_form_api_and_links() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let memory = |size: &str| json!({ "mem_guarantee": size });
    let options = json!({
        "group_overrides": { "10-lab": { "groups": ["lab"], "spawner_override": { "extra_labels": { "team": "lab" } } } },
        "profile_list": [
            { "display_name": "Small", "slug": "small", "default": true, "kubespawner_override": memory("1G"),
              "profile_options": { "image": { "display_name": "Image", "choices": {
                  "stable": { "display_name": "Stable", "kubespawner_override": { "image": "registry.test/lab:1" } },
                  "next": { "display_name": "Next", "allowed_groups": ["lab"],
                            "kubespawner_override": { "image": "registry.test/lab:2" } },
              } } } },
            { "display_name": "Graphics", "slug": "graphics", "allowed_groups": ["lab"],
              "kubespawner_override": memory("2G") },
        ],
    });
    let change = |settings: Settings| {
        let mut settings = settings.with_light_singleuser();
        settings.services.iter_mut().for_each(|service| service.scopes.push("admin:groups".to_owned()));
        settings
    };
    let site = Site::start(Kind::Himalia, options, change).await?;
    let administrator = site.hub.administrator()?;
    let (mia, guest) = (site.hub.logged_in("mia").await?, site.hub.logged_in("guest").await?);
    let (status, answer) = administrator.send(Method::POST, "groups/lab", Value::Null).await?;
    ensure!(status == 201, "{status}: {answer}");
    let (status, answer) =
        administrator.send(Method::POST, "groups/lab/users", json!({ "users": ["mia"] })).await?;
    ensure!(status == 200, "{status}: {answer}");

    let (for_mia, for_guest) = (mia.follow("hub/spawn").await?, guest.follow("hub/spawn").await?);
    ensure!(for_mia.text.contains("Graphics") && for_mia.text.contains("Next"), "{}", for_mia.text);
    ensure!(for_guest.text.contains("Stable"), "{}", for_guest.text);
    ensure!(!for_guest.text.contains("Graphics") && !for_guest.text.contains("Next"), "{}", for_guest.text);

    for choice in [json!({ "profile": "graphics" }), json!({ "profile": "small", "image": "next" })] {
        let (status, answer) = administrator.send(Method::POST, "users/guest/server", choice.clone()).await?;
        ensure!(status == 400, "{choice} answers {status}: {answer}");
    }
    let linked = guest.follow("hub/spawn/guest?profile=graphics").await?;
    ensure!(linked.status.is_client_error() || linked.text.contains("graphics"), "{}", linked.text);
    administrator.server_is_gone("guest", "").await?;
    ensure!(site.namespace.all("pods").await?.is_empty());

    for (user, choice, image, memory, team) in [
        ("mia", json!({ "profile": "graphics" }), "registry.test/singleuser:1", "2147483648", json!("lab")),
        ("guest", json!({ "profile": "small" }), "registry.test/lab:1", "1073741824", Value::Null),
    ] {
        let path = format!("users/{user}/server");
        let (status, answer) = administrator.send(Method::POST, &path, choice).await?;
        ensure!(status == 201 || status == 202, "{status}: {answer}");
        administrator.server_is_ready(user, "").await?;
        let pod = site.namespace.find("pods", &format!("jupyter-{user}")).await?.context("no pod")?;
        let of = |pointer: &str| pod.pointer(pointer).cloned().unwrap_or_default();
        ensure!(of("/spec/containers/0/image") == image, "{pod}");
        ensure!(of("/spec/containers/0/resources/requests/memory") == memory, "{pod}");
        ensure!(of("/metadata/labels/team") == team, "{pod}");
    }
    site.kept_to_the_charts_role()
}
