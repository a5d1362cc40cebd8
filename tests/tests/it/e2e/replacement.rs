//! One process of the whole hub takes the place of another, and nobody notices.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hub_tests::client::Person;
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use jupyterhub_api_compat::client::Started;

use super::ready;

/// How long a process may take to end, once nothing holds it.
const SOON: Duration = Duration::from_mins(1);

/// Asks one address after another until it is told to stop; no answer may be missing or another one than usual.
async fn keep_asking(person: &Person, path: &str, stop: &AtomicBool, done: &AtomicUsize) -> Result<()> {
    while !stop.load(Relaxed) {
        let answer = person.get(path).await.with_context(|| format!("{path} was not answered"))?;
        ensure!(answer.status() == 200, "{path} was answered {}", answer.status());
        answer.bytes().await?;
        done.fetch_add(1, Relaxed);
    }
    Ok(())
}

#[tokio::test]
async fn the_next_process_takes_over_while_people_work() -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::Venv61]) {
        return Ok(());
    }
    let mut hub = Hub::start(Kind::Himalia, Settings { handover: true, ..Settings::default() }).await?;
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    administrator.start_server("alice", "").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    kernel.execute("answer = 0").await?;
    let servers = hub.mark.with_command("jupyterhub-singleuser");

    let (stop, pages, statuses) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let replacing = async {
        let mut retired = Vec::new();
        for round in 1..=3 {
            retired.push(hub.replace().await?);
            let printed = kernel.execute("answer += 1; print(answer)").await?;
            ensure!(printed == format!("{round}\n"), "{printed}");
            for count in [&pages, &statuses] {
                let before = count.load(Relaxed);
                eventually("requests go on", SOON, || async {
                    Ok((count.load(Relaxed) > before + 3).then_some(()))
                })
                .await?;
            }
        }
        stop.store(true, Relaxed);
        Ok(retired)
    };
    let (retired, (), ()) = tokio::try_join!(
        replacing,
        keep_asking(&alice, "hub/home", &stop, &pages),
        keep_asking(&alice, "user/alice/api/status", &stop, &statuses),
    )
    .with_context(|| format!("log:\n{}", hub.log()))?;

    // The new process knows the servers, and may stop them.
    ensure!(hub.mark.with_command("jupyterhub-singleuser") == servers, "the server is another one");
    administrator.server_is_ready("alice", "").await?;
    // The processes of before are there for the websocket alone.
    drop(kernel);
    drop(alice);
    for mut process in retired {
        let ended = tokio::time::timeout(SOON, process.wait()).await;
        let status = ended.with_context(|| format!("a process stays; log:\n{}", hub.log()))??;
        ensure!(status.success(), "a process that was relieved ended with {status}");
    }
    administrator.stop_server("alice", "").await?;
    Ok(())
}

#[tokio::test]
async fn a_next_process_that_fails_leaves_the_hub_as_it_was() -> Result<()> {
    if !ready(&[Kind::Himalia], &[]) {
        return Ok(());
    }
    let settings = Settings { handover: true, ..Settings::default() }.with_light_singleuser();
    let mut hub = Hub::start(Kind::Himalia, settings).await?;
    let alice = hub.logged_in("alice").await?;
    // Its configuration is good, and only its hub finds out that it cannot start.
    hub.settings.further_services =
        vec![serde_json::json!({ "name": "broken", "command": ["/nowhere/to/be/found"] })];
    let failed = hub.replace().await;
    ensure!(failed.is_err(), "a hub with a service that cannot be started took over");
    hub.healthy().await?;
    ensure!(alice.who_am_i().await?.as_deref() == Some("alice"));
    ensure!(hub.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn the_next_process_does_not_wait_for_starts_that_are_under_way() -> Result<()> {
    if !ready(&[Kind::Himalia], &[]) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let go = folder.path().join("go");
    let mut settings = Settings { handover: true, ..Settings::default() }.with_light_singleuser();
    let held =
        format!("until [ -e '{}' ]; do sleep 0.1; done; exec {}", go.display(), settings.command.join(" "));
    settings.command = ["sh", "-c", &held].map(str::to_owned).to_vec();
    settings.slow_spawn_timeout = Duration::from_millis(100);
    // Whoever waited for the start would wait for good.
    settings.hub.insert("init_spawners_timeout".to_owned(), serde_json::json!("1h"));
    let mut hub = Hub::start(Kind::Himalia, settings).await?;
    let administrator = hub.administrator()?;
    administrator.add_user("alice").await?;
    ensure!(
        administrator.request_start("alice", "").await? == Started::Pending,
        "the start is over too early"
    );
    let mark = &hub.mark;
    eventually("the server's process begins", SOON, || async {
        Ok((!mark.with_command("until [").is_empty()).then_some(()))
    })
    .await?;
    hub.replace().await?;
    let alice = hub.logged_in("alice").await?;
    ensure!(alice.who_am_i().await?.as_deref() == Some("alice"), "the next process answers nobody");
    std::fs::write(&go, "")?;
    administrator.server_is_ready("alice", "").await?;
    administrator.stop_server("alice", "").await?;
    Ok(())
}
