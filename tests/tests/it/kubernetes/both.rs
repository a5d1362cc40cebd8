//! Pods and local processes under one hub.

use std::time::Duration;

use anyhow::{Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::json;

use super::{NEEDS, Site, address};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test]
async fn one_hub_has_servers_as_pods_and_as_processes() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let homes = tempfile::tempdir()?;
    let change = |settings: Settings| {
        let settings = settings.with_light_singleuser();
        let local = json!({ "home_dir_template": format!("{}/{{username}}", homes.path().display()) });
        let profiles = json!({
            "pod": { "default": true },
            "process": { "kind": "local", "cmd": settings.command, "local": local },
        });
        Settings { spawner_more: [("profiles".to_owned(), profiles)].into(), ..settings }
    };
    let mut site = Site::start(Kind::Himalia, json!({}), change).await?;
    let servers = [("", "pod"), ("beside", "process")];
    let administrator = site.hub.administrator()?;
    administrator.add_user("ann").await?;
    for (server, profile) in servers {
        let path = if server.is_empty() { "users/ann/server" } else { "users/ann/servers/beside" };
        let (status, answer) = administrator.send(Method::POST, path, json!({ "profile": profile })).await?;
        ensure!(status == 201 || status == 202, "{profile}: {status}: {answer}");
    }
    for restarted in [false, true] {
        if restarted {
            site.hub.kill().await?;
            site.hub.start_again().await?;
        }
        let administrator = site.hub.administrator()?;
        let ann = site.hub.logged_in("ann").await?;
        for (server, profile) in servers {
            administrator.server_is_ready("ann", server).await?;
            let page = ann.follow(&address("ann", server)).await?;
            ensure!(page.status == 200, "{profile}: {} at {}", page.status, page.url);
        }
        let pods: Vec<String> = site.namespace.all("pods").await?.into_keys().collect();
        ensure!(pods == ["jupyter-ann"], "{pods:?}");
    }
    let administrator = site.hub.administrator()?;
    for (server, _) in servers {
        administrator.stop_server("ann", server).await?;
    }
    site.namespace.pod_is_gone("jupyter-ann").await?;
    eventually("no process is left", SOON, || async {
        Ok(site.hub.mark.with_command("light-singleuser").is_empty().then_some(()))
    })
    .await?;
    site.kept_to_the_charts_role()
}
