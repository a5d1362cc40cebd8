//! The hub dies without warning and comes back.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use jupyterhub_api_compat::client::Started;
use serde_json::Value;

use super::with_both_hubs;

with_both_hubs! {
    [Needed::Venv61];
    running_servers_are_reachable_with_the_same_cookie_after_a_crash,
    a_start_that_was_pending_is_completed_after_a_crash,
    a_start_that_never_ends_is_cleaned_up_after_a_crash,
    an_open_kernel_websocket_survives_a_crash_of_the_hub_beside_its_proxy,
}

async fn running_servers_are_reachable_with_the_same_cookie_after_a_crash(kind: Kind) -> Result<()> {
    let mut hub = Hub::start(kind, Settings::default()).await?;
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    administrator.start_server("alice", "").await?;
    administrator.start_server("alice", "second").await?;
    for server in ["user/alice/", "user/alice/second/"] {
        let page = alice.follow(&format!("{server}lab")).await?;
        ensure!(page.status == 200, "{} at {}", page.status, page.url);
    }
    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    kernel.execute("answer = 42").await?;
    let before = hub.mark.with_command("jupyterhub-singleuser");
    ensure!(before.len() == 2, "{before:?}");

    hub.kill().await?;
    hub.start_again().await?;

    ensure!(alice.who_am_i().await?.as_deref() == Some("alice"));
    for server in ["", "second"] {
        administrator.server_is_ready("alice", server).await?;
    }
    for server in ["user/alice/", "user/alice/second/"] {
        let page = alice.follow(&format!("{server}lab")).await?;
        ensure!(page.status == 200 && page.url.path().ends_with("/lab"), "{} at {}", page.status, page.url);
        ensure!(page.hops.len() == 1, "the cookie of the server is no longer good: {:#?}", page.hops);
    }
    let mut kernel = Kernel::connect(&alice, "user/alice/", &kernel.id).await?;
    ensure!(kernel.execute("print(answer)").await? == "42\n");
    ensure!(hub.mark.with_command("jupyterhub-singleuser") == before);

    for server in ["", "second"] {
        administrator.stop_server("alice", server).await?;
    }
    let left = hub.mark.with_command("jupyterhub-singleuser");
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// Servers that wait for a file before they begin; the test makes the file.
fn held_back(settings: Settings, hold: &std::path::Path) -> Settings {
    let wait =
        format!("until [ -e '{}' ]; do sleep 0.1; done; exec {}", hold.display(), settings.command.join(" "));
    Settings {
        command: ["sh", "-c", &wait].map(str::to_owned).to_vec(),
        slow_spawn_timeout: Duration::from_millis(100),
        ..settings
    }
}

async fn crash_while_pending(kind: Kind, settings: Settings, hold: &std::path::Path) -> Result<Hub> {
    let mut hub = Hub::start(kind, held_back(settings, hold)).await?;
    let administrator = hub.administrator()?;
    administrator.add_user("alice").await?;
    let status = administrator.request_start("alice", "").await?;
    ensure!(status == Started::Pending, "the start is over too early");
    let mark = &hub.mark;
    eventually("the server's process begins", Duration::from_secs(30), || async {
        Ok((!mark.with_command("until [").is_empty()).then_some(()))
    })
    .await?;
    hub.kill().await?;
    Ok(hub)
}

async fn a_start_that_was_pending_is_completed_after_a_crash(kind: Kind) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hold = folder.path().join("go");
    let mut hub = crash_while_pending(kind, Settings::default(), &hold).await?;
    std::fs::write(&hold, "")?;
    hub.start_again().await?;
    let administrator = hub.administrator()?;
    match outcome(&hub, Duration::from_mins(2)).await? {
        Outcome::Ready => {
            let page = hub.logged_in("alice").await?.follow("user/alice/lab").await?;
            ensure!(
                page.status == 200 && page.url.path().ends_with("/lab"),
                "{} at {}",
                page.status,
                page.url
            );
            administrator.stop_server("alice", "").await?;
        }
        Outcome::Gone => no_process_left(&hub).await?,
    }
    no_process_left(&hub).await?;
    // Whatever became of that start, the next one works.
    administrator.start_server("alice", "").await?;
    Ok(())
}

async fn a_start_that_never_ends_is_cleaned_up_after_a_crash(kind: Kind) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hold = folder.path().join("never");
    let settings = Settings { start_timeout: Duration::from_secs(10), ..Settings::default() };
    let mut hub = crash_while_pending(kind, settings, &hold).await?;
    hub.start_again().await?;
    match outcome(&hub, Duration::from_mins(1)).await? {
        Outcome::Ready => bail!("a server that never began is said to be ready"),
        Outcome::Gone => no_process_left(&hub).await?,
    }
    ensure!(hub.log().contains("alice"), "the log gives no reason");
    Ok(())
}

enum Outcome {
    Ready,
    Gone,
}

/// What has become of alice's server, once it is no longer pending.
async fn outcome(hub: &Hub, limit: Duration) -> Result<Outcome> {
    let administrator = &hub.administrator()?;
    eventually("the server is ready or gone", limit, || async move {
        let user = administrator.fetch("users/alice").await?;
        let servers = user.get("servers").and_then(Value::as_object).context("no servers in the model")?;
        Ok(match servers.get("") {
            None => Some(Outcome::Gone),
            Some(server) if server.get("ready") == Some(&Value::Bool(true)) => Some(Outcome::Ready),
            Some(_) => None,
        })
    })
    .await
}

async fn no_process_left(hub: &Hub) -> Result<()> {
    let left = || [hub.mark.with_command("until ["), hub.mark.with_command("jupyterhub-singleuser")].concat();
    let gone = eventually("no process of the server is left", Duration::from_secs(30), || async {
        Ok(left().is_empty().then_some(()))
    });
    gone.await.with_context(|| format!("{:?}", left()))
}

async fn an_open_kernel_websocket_survives_a_crash_of_the_hub_beside_its_proxy(kind: Kind) -> Result<()> {
    let settings = Settings { separate_proxy: true, ..Settings::default() };
    let mut hub = Hub::start(kind, settings).await?;
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    administrator.start_server("alice", "").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    kernel.execute("answer = 42").await?;

    hub.kill().await?;
    ensure!(kernel.execute("print('nobody is at home')").await? == "nobody is at home\n");
    hub.start_again().await?;
    administrator.server_is_ready("alice", "").await?;
    ensure!(kernel.execute("print(answer)").await? == "42\n");

    ensure!(hub.terminate().await?.success(), "the hub does not end well: {}", hub.log());
    ensure!(kernel.execute("print(answer + 1)").await? == "43\n");
    hub.start_again().await?;
    ensure!(kernel.execute("print(answer + 2)").await? == "44\n");
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    Ok(())
}
