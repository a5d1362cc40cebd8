//! A hub that is killed at every point of a start. A second process stands in for the hub: this test program,
//! which runs the one test that is ignored otherwise.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use hub_core::{Adoption, Spawner as _, StopMode};
use hub_spawner_local::LocalSpawner;
use serde_json::Value;

use crate::support::{Bench, SERVER, Sink, context, facts, job, marked, quick_options, server, until};

const DIRECTORY: &str = "HIMALIA_TEST_HUB_DIRECTORY";
const HANG_AT: &str = "HIMALIA_TEST_HUB_HANG_AT";

/// The hub: starts a server, writes what a database would hold to a file, and waits to be killed.
#[tokio::test]
#[ignore = "run by the other tests of this file in a process of its own"]
async fn stand_in() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let hang_at = std::env::var(HANG_AT).unwrap().parse().ok();
    let spawner = LocalSpawner::new(quick_options(directory), &context(directory, false)).unwrap();
    let sink = Sink { hang_at, ..Sink::default() };
    let write = |sink: &Sink| {
        let part = directory.join("state.part");
        std::fs::write(&part, sink.last().to_string()).unwrap();
        std::fs::rename(part, directory.join("state")).unwrap();
    };
    let start = spawner.start(job("ann", &["python3", "-c", SERVER]), &sink);
    tokio::pin!(start);
    let reached = async {
        let saves = hang_at.unwrap_or(usize::MAX);
        until("the save", || sink.saved.lock().unwrap().len() >= saves).await;
    };
    tokio::select! {
        started = &mut start => { started.unwrap(); }
        () = reached, if hang_at.is_some() => {}
    }
    write(&sink);
    std::future::pending::<()>().await;
}

/// Runs the stand-in up to that save (or to the end), kills it with SIGKILL and returns what was stored.
async fn killed_hub(bench: &Bench, hang_at: &str) -> Value {
    let hub = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::stand_in", "--ignored", "--nocapture"])
        .env(DIRECTORY, bench.directory.path())
        .env(HANG_AT, hang_at)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut hub = Hub(hub);
    let path = bench.path("state");
    until("the stand-in has stored its state", || path.exists()).await;
    let state: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    bench.guard(state["launch"].as_str().unwrap());
    hub.0.kill().unwrap();
    hub.0.wait().unwrap();
    state
}

struct Hub(Child);

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn killed_before_the_process_was_made_there_is_nothing() {
    let bench = Bench::new();
    let state = killed_hub(&bench, "1").await;
    assert_eq!(state.get("pid"), None);
    let found = bench.spawner.adopt(&server("ann", state.clone())).await.unwrap();
    assert!(matches!(found, Adoption::Gone(_)));
    assert_eq!(marked(state["launch"].as_str().unwrap()), [0; 0]);
}

#[tokio::test]
async fn killed_between_fork_and_command_the_helper_ends_by_itself() {
    let bench = Bench::new();
    let state = killed_hub(&bench, "2").await;
    assert!(state["pid"].is_number());
    let launch = state["launch"].as_str().unwrap();
    until("the helper ends", || marked(launch).is_empty()).await;
    let found = bench.spawner.adopt(&server("ann", state.clone())).await.unwrap();
    assert!(matches!(found, Adoption::Gone(_)));
    bench.spawner.stop(&server("ann", state.clone()), StopMode::Now).await.unwrap();
}

#[tokio::test]
async fn killed_while_a_server_runs_the_server_goes_on_and_is_found() {
    let bench = Bench::new();
    let state = killed_hub(&bench, "never").await;
    let found = bench.spawner.adopt(&server("ann", state.clone())).await.unwrap();
    let Adoption::Running(found) = found else { panic!("it should run: {found:?}") };
    assert_eq!(facts(&found).await["pid"], state["pid"]);
    bench.spawner.stop(&server("ann", state.clone()), StopMode::Graceful).await.unwrap();
    assert_eq!(marked(state["launch"].as_str().unwrap()), [0; 0]);
}
