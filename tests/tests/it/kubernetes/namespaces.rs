//! A namespace for each server, as platforms have them for each workspace.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_tests::events::Listener;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Bed, Namespace, kube_settings};
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use serde_json::{Value, json};

use super::{NEEDS, Site};

/// Much longer than it takes on an idle machine.
const NOTICED_WITHIN: Duration = Duration::from_mins(1);
/// Requests of the test itself at once.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn a_namespace_that_loses_its_rights_does_not_touch_the_others() -> Result<()> {
    one_of_them_loses_its_rights(10, &json!({})).await
}

/// A server, with these options, in each of so many namespaces, in one of which the hub may do nothing any more and a
/// pod goes.
pub(super) async fn one_of_them_loses_its_rights(namespaces: usize, more: &Value) -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    // A cluster of its own, for its API server is started again.
    let bed = Arc::new(Bed::start()?);
    let home = Namespace::new(&bed, "home").await?;
    let account = Account::new(&home, bed.port).await?;
    let names = (0..namespaces).map(|number| format!("{}-{}", home.name, server(number)));
    let workspaces: Vec<Namespace> = stream::iter(names.map(|name| workspace(&bed, &account, name)))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut options = json!({
        "enable_user_namespaces": true,
        "create_namespaces": false,
        "user_namespace_template": format!("{}-{{servername}}", home.name),
    });
    options.as_object_mut().context("a table")?.extend(more.as_object().context("a table")?.clone());
    let settings = Settings {
        poll_interval: Some(Duration::from_hours(1)),
        ..kube_settings(&home, &account, &options).with_light_singleuser()
    };
    let hub = Hub::start(Kind::Himalia, settings).await?;
    let site = Site { hub, account, namespace: home };
    let administrator = site.hub.administrator()?;
    let mut events = Listener::new(&administrator).await?;
    administrator.add_user("alice").await?;
    for number in 0..namespaces {
        administrator.request_start("alice", &server(number)).await?;
    }
    for (number, workspace) in workspaces.iter().enumerate() {
        administrator.server_is_ready("alice", &server(number)).await?;
        workspace.find("pods", &pod(number)).await?.context("the pod is in the server's namespace")?;
    }

    let [dark, other, ..] = &workspaces[..] else { unreachable!("there are some") };
    site.account.forbid_in(dark).await?;
    // A watch that is up is not ended by the loss of rights. The next one is refused.
    bed.stop_api_server()?;
    bed.start_api_server()?;
    site.watch_is(dark, false).await?;
    for workspace in &workspaces[1..] {
        site.watch_is(workspace, true).await?;
    }
    dark.cluster.delete(&dark.path("pods", &pod(0)), 0).await?;
    dark.pod_is_gone(&pod(0)).await?;
    // In the others all is as before: an end is noticed, starts and stops work.
    other.cluster.delete(&other.path("pods", &pod(1)), 0).await?;
    let end = events.next("alice", "stop", NOTICED_WITHIN).await?;
    ensure!(end.get("server") == Some(&json!(server(1))), "{end}");
    administrator.server_is_gone("alice", &server(1)).await?;
    administrator.start_server("alice", &server(1)).await?;
    administrator.stop_server("alice", &server(2)).await?;
    administrator.start_server("alice", &server(2)).await?;
    // Where the hub has no rights it cannot know, and so does not decide.
    let user = administrator.fetch("users/alice").await?;
    let ready = user.pointer("/servers").and_then(Value::as_object).context("servers")?;
    ensure!(ready.len() == namespaces && ready["ws-0"]["ready"] == json!(true), "{user}");

    site.account.allow_in(dark).await?;
    administrator.server_is_gone("alice", &server(0)).await.context("the rights are back")?;
    administrator.start_server("alice", &server(0)).await?;
    site.kept_to_the_charts_role()
}

fn server(number: usize) -> String {
    format!("ws-{number}")
}

fn pod(number: usize) -> String {
    format!("jupyter-alice--{}", server(number))
}

async fn workspace(bed: &Arc<Bed>, account: &Account, name: String) -> Result<Namespace> {
    let workspace = Namespace::named(bed, &name).await?;
    account.allow_in(&workspace).await?;
    Ok(workspace)
}

impl Site {
    /// Waits until the hub says that its watch of a namespace is up, or that it is not.
    async fn watch_is(&self, namespace: &Namespace, up: bool) -> Result<()> {
        let administrator = &self.hub.administrator()?;
        let name = namespace.name.as_str();
        let line = &format!("himalia_watch_up{{scope=\"{name}\"}} {}", u8::from(up));
        let what = format!("the watch of {name} is {}", if up { "up" } else { "down" });
        eventually(&what, NOTICED_WITHIN, || async move {
            let answer = administrator.request(reqwest::Method::GET, "../metrics")?.send().await?;
            ensure!(answer.status() == 200, "the metrics answer {}", answer.status());
            let text = answer.text().await?;
            Ok(text.lines().any(|found| found == line).then_some(()))
        })
        .await
    }
}
