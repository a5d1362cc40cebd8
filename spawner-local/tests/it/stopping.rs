//! Servers that do not want to end.

use std::time::{Duration, Instant};

use hub_core::{Spawner as _, Started, StopMode};
use hub_spawner_local::LocalOptions;

use crate::support::{Bench, SERVER, Sink, marked, pid_of, started, until_async};

/// Ignores what can be ignored, says so, and has a child in its group, one outside and one that lost its parent.
fn stubborn() -> String {
    format!(
        r#"
import os, signal, subprocess, sys
for which in (signal.SIGINT, signal.SIGTERM):
    signal.signal(which, lambda number, frame: print("got", signal.Signals(number).name, flush=True))
child = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; print('deaf', flush=True); time.sleep(1000)"
subprocess.Popen([sys.executable, "-c", child])
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", child])
    os._exit(0)
{SERVER}"#
    )
}

/// Starts it, and waits until all its children ignore signals too.
async fn start_stubborn(bench: &Bench) -> Started {
    let up = bench.spawner.start(bench.python("ann", &stubborn()), &Sink::default()).await.unwrap();
    until_async("all four run", async || {
        let log = bench.spawner.recent_log(&started("ann", &up)).await;
        log.iter().filter(|line| *line == "deaf").count() == 3
    })
    .await;
    up
}

/// What the server itself said.
async fn said(bench: &Bench, up: &Started) -> Vec<String> {
    let log = bench.spawner.recent_log(&started("ann", up)).await;
    log.into_iter().filter(|line| line != "deaf").collect()
}

fn launch_of(up: &Started) -> &str {
    up.state["launch"].as_str().unwrap()
}

fn impatient(options: &mut LocalOptions) {
    options.interrupt_timeout = Duration::from_secs(1);
    options.term_timeout = Duration::from_secs(1);
}

#[tokio::test]
async fn a_server_that_ignores_signals_is_killed_with_all_its_children() {
    let bench = Bench::with(impatient);
    let up = start_stubborn(&bench).await;
    assert_eq!(marked(launch_of(&up)).len(), 4);
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
    assert_eq!(marked(launch_of(&up)), [0; 0]);
    assert_eq!(said(&bench, &up).await, ["listening", "got SIGINT", "got SIGTERM"]);
}

#[tokio::test]
async fn a_stop_at_once_leaves_the_polite_signal_out() {
    let bench = Bench::with(impatient);
    let up = start_stubborn(&bench).await;
    bench.spawner.stop(&started("ann", &up), StopMode::Now).await.unwrap();
    assert_eq!(said(&bench, &up).await, ["listening", "got SIGTERM"]);
}

#[tokio::test]
async fn a_server_that_obeys_is_not_waited_for_longer_than_it_takes() {
    let bench = Bench::new();
    let up = bench.spawner.start(bench.python("ann", SERVER), &Sink::default()).await.unwrap();
    let before = Instant::now();
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}

#[tokio::test]
async fn jobs_outside_the_session_stay_when_the_operator_wants_that() {
    let bench = Bench::with(|options| {
        impatient(options);
        options.stop_detached = false;
    });
    let up = start_stubborn(&bench).await;
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
    let left = marked(launch_of(&up));
    assert_eq!(left.len(), 2, "the two that left the session");
    assert!(!left.contains(&pid_of(&up.state)));
}
