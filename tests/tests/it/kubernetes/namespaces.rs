//! A namespace for each server, as platforms have them for each workspace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::events::Listener;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Bed, Namespace, kube_settings};
use serde_json::json;

use super::{NEEDS, Site};

const WORKSPACES: usize = 12;
/// Less than the interval of polls.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_namespace_that_loses_its_rights_does_not_touch_the_others() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let bed = Bed::shared();
    let home = Namespace::new(&bed, "home").await?;
    let account = Account::new(&home, bed.port).await?;
    let mut workspaces = Vec::new();
    for number in 0..WORKSPACES {
        let workspace = Namespace::named(&bed, &format!("{}-ws-{number}", home.name)).await?;
        account.allow_in(&workspace).await?;
        workspaces.push(workspace);
    }
    let options = json!({
        "enable_user_namespaces": true,
        "create_namespaces": false,
        "user_namespace_template": format!("{}-{{servername}}", home.name),
    });
    let settings = kube_settings(&home, &account, &options).with_light_singleuser();
    let hub = Hub::start(Kind::Himalia, settings).await?;
    let site = Site { hub, account, namespace: home };
    let administrator = site.hub.administrator()?;
    let mut events = Listener::new(&administrator).await?;
    administrator.add_user("alice").await?;
    let server = |number: usize| format!("ws-{number}");
    let pod = |number: usize| format!("jupyter-alice--ws-{number}");
    for number in 0..WORKSPACES {
        administrator.request_start("alice", &server(number)).await?;
    }
    for (number, workspace) in workspaces.iter().enumerate() {
        administrator.server_is_ready("alice", &server(number)).await?;
        workspace.find("pods", &pod(number)).await?.context("the pod is in the server's namespace")?;
    }

    let [dark, other, ..] = &workspaces[..] else { unreachable!("there are some") };
    site.account.forbid_in(dark).await?;
    dark.cluster.delete(&dark.path("pods", &pod(0)), 0).await?;
    dark.pod_is_gone(&pod(0)).await?;
    // In the others all is as before: an end is noticed, starts and stops work.
    other.cluster.delete(&other.path("pods", &pod(1)), 0).await?;
    let failure = events.next("alice", "failure", NOTICED_WITHIN).await?;
    ensure!(failure.get("server") == Some(&json!(server(1))), "{failure}");
    administrator.server_is_gone("alice", &server(1)).await?;
    administrator.start_server("alice", &server(1)).await?;
    administrator.stop_server("alice", &server(2)).await?;
    administrator.start_server("alice", &server(2)).await?;
    // Where the hub has no rights it cannot know, and so does not decide.
    let user = administrator.fetch("users/alice").await?;
    ensure!(user.pointer("/servers/ws-0/ready") == Some(&json!(true)), "{user}");

    site.account.allow_again_in(dark).await?;
    administrator.server_is_gone("alice", &server(0)).await.context("the rights are back")?;
    administrator.start_server("alice", &server(0)).await?;
    site.kept_to_the_charts_role()
}
