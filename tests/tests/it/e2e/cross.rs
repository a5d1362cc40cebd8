//! Each hub with the other one's proxy, real servers behind it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use serde_json::Value;

use super::ready;

fn crossed() -> Settings {
    Settings { separate_proxy: true, foreign_proxy: true, ..Settings::default() }
}

#[tokio::test]
async fn our_hub_works_with_configurable_http_proxy() -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::Venv61, Needed::Chp]) {
        return Ok(());
    }
    let mut hub = Hub::start(Kind::Himalia, crossed()).await?;
    a_day(&hub).await?;
    // It forgets all routes when it dies; the hub notices and tells it again.
    let alice = hub.logged_in("alice").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    hub.kill_proxy().await?;
    hub.start_proxy()?;
    let alice = &alice;
    eventually("the routes are back", Duration::from_mins(1), || async move {
        let answer = alice.get("user/alice/api/status").await;
        Ok(answer.is_ok_and(|answer| answer.status() == 200).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_stock_hub_works_with_our_proxy() -> Result<()> {
    if !ready(&[Kind::Stock, Kind::Himalia], &[]) {
        return Ok(());
    }
    let mut hub = Hub::start(Kind::Stock, crossed()).await?;
    a_day(&hub).await?;
    // It knows the routes by itself: the hub is away, and does not look at a proxy that it has not started.
    let alice = hub.logged_in("alice").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    hub.kill().await?;
    hub.kill_proxy().await?;
    let killed = Instant::now();
    hub.start_proxy()?;
    let waiting = &alice;
    eventually("the routes are back", Duration::from_mins(1), || async move {
        let answer = waiting.get("user/alice/api/status").await;
        Ok(answer.is_ok_and(|answer| answer.status() == 200).then_some(()))
    })
    .await?;
    // A fraction of a second by itself; the bound is for machines that do much else.
    ensure!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    hub.start_again().await
}

/// A stock hub that starts our program as its proxy, as an operator would: by a link with the original's name.
async fn with_our_command(internal_ssl: bool) -> Result<Hub> {
    let mut hub = Hub::prepare(Kind::Stock, Settings::default())?;
    let link = hub.folder().join("configurable-http-proxy");
    std::os::unix::fs::symlink(Needed::Himalia.path(), &link)?;
    hub.settings.extra = format!(
        "c.ConfigurableHTTPProxy.command = [{:?}]\nc.ConfigurableHTTPProxy.check_running_interval = 1\n",
        link.display().to_string()
    );
    hub.settings.internal_ssl = internal_ssl.then(|| hub.folder().join("certificates"));
    hub.start_again().await?;
    Ok(hub)
}

/// The one process that is the hub's proxy.
fn proxy_of(hub: &Hub) -> Result<nix::unistd::Pid> {
    let found = hub.mark.with_command("configurable-http-proxy");
    ensure!(found.len() == 1, "{found:?}");
    Ok(nix::unistd::Pid::from_raw(found[0].pid))
}

#[tokio::test]
async fn the_stock_hub_starts_our_program_as_its_proxy_and_starts_it_again() -> Result<()> {
    if !ready(&[Kind::Stock, Kind::Himalia], &[]) {
        return Ok(());
    }
    let hub = with_our_command(false).await?;
    a_day(&hub).await?;
    let alice = hub.logged_in("alice").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    let before = proxy_of(&hub)?;
    nix::sys::signal::kill(before, nix::sys::signal::Signal::SIGKILL)?;
    let alice = &alice;
    eventually(
        "the hub has started another one and told it the routes",
        Duration::from_mins(1),
        || async move {
            let answer = alice.get("user/alice/api/status").await;
            Ok(answer.is_ok_and(|answer| answer.status() == 200).then_some(()))
        },
    )
    .await?;
    ensure!(proxy_of(&hub)? != before);
    Ok(())
}

#[tokio::test]
async fn the_stock_hub_works_with_our_proxy_over_internal_tls() -> Result<()> {
    if !ready(&[Kind::Stock, Kind::Himalia], &[]) {
        return Ok(());
    }
    let hub = with_our_command(true).await?;
    a_day(&hub).await?;
    let command = std::fs::read(format!("/proc/{}/cmdline", proxy_of(&hub)?))?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    for flag in ["--api-ssl-key", "--api-ssl-ca", "--client-ssl-key", "--client-ssl-ca"] {
        ensure!(command.contains(flag), "{command}");
    }
    let routes = hub.administrator()?.fetch("proxy").await?;
    let target = routes.pointer("/~1user~1alice~1/target").and_then(Value::as_str);
    ensure!(target.is_some_and(|target| target.starts_with("https://")), "{routes}");
    Ok(())
}

/// A server, its pages, a kernel over a websocket, routes and activity, errors, and the end of the server.
async fn a_day(hub: &Hub) -> Result<()> {
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    administrator.start_server("alice", "").await?;
    let page = alice.follow("user/alice/lab").await?;
    ensure!(page.status == 200, "{} at {}", page.status, page.url);
    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    ensure!(kernel.execute("print(6 * 7)").await? == "42\n");

    let routes = administrator.fetch("proxy").await?;
    let data =
        |path: &str, key: &str| routes.pointer(&format!("/{}/data/{key}", path.replace('/', "~1"))).cloned();
    ensure!(data("/", "hub") == Some(Value::Bool(true)), "{routes}");
    ensure!(data("/user/alice/", "user") == Some("alice".into()), "{routes}");
    let first = data("/user/alice/", "last_activity").context("no activity")?;
    ensure!(kernel.execute("print('busy')").await? == "busy\n");
    let routes = administrator.fetch("proxy").await?;
    let second = routes.pointer("/~1user~1alice~1/data/last_activity").context("no activity")?;
    ensure!(first.as_str() < second.as_str(), "the kernel's messages are activity: {first} {second}");

    // Pages of errors come from the hub, whichever proxy asks for them.
    for process in hub.mark.with_command("jupyterhub-singleuser") {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), nix::sys::signal::Signal::SIGKILL)?;
    }
    let gone = alice.get("user/alice/api/status").await?;
    ensure!(matches!(gone.status().as_u16(), 424 | 503), "{}", gone.status());
    administrator.server_is_gone("alice", "").await?;
    administrator.start_server("alice", "").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    Ok(())
}
