//! Servers that do not want to end.

use std::time::{Duration, Instant};

use hub_core::{Spawner as _, StopMode};
use hub_spawner_local::LocalOptions;

use crate::support::{Bench, SERVER, Sink, marked, pid_of, started, until};

/// Ignores what can be ignored, says so, and has a child in its group, one outside and one that lost its parent.
fn stubborn() -> String {
    format!(
        r#"
import os, signal, subprocess, sys
for which in (signal.SIGINT, signal.SIGTERM):
    signal.signal(which, lambda number, frame: print("got", signal.Signals(number).name, flush=True))
child = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; time.sleep(1000)"
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

fn impatient(options: &mut LocalOptions) {
    options.interrupt_timeout = Duration::from_millis(300);
    options.term_timeout = Duration::from_millis(300);
}

#[tokio::test]
async fn a_server_that_ignores_signals_is_killed_with_all_its_children() {
    let bench = Bench::with(impatient);
    let job = bench.python("ann", &stubborn());
    let launch = job.launch.clone();
    let up = bench.spawner.start(job, &Sink::default()).await.unwrap();
    until("all four run", || marked(&launch).len() == 4).await;
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
    assert_eq!(marked(&launch), [0; 0]);
    let log = bench.spawner.recent_log(&started("ann", &up)).await;
    assert_eq!(log, ["listening", "got SIGINT", "got SIGTERM"]);
}

#[tokio::test]
async fn a_stop_at_once_leaves_the_polite_signal_out() {
    let bench = Bench::with(impatient);
    let up = bench.spawner.start(bench.python("ann", &stubborn()), &Sink::default()).await.unwrap();
    bench.spawner.stop(&started("ann", &up), StopMode::Now).await.unwrap();
    assert_eq!(bench.spawner.recent_log(&started("ann", &up)).await, ["listening", "got SIGTERM"]);
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
    let job = bench.python("ann", &stubborn());
    let launch = job.launch.clone();
    let up = bench.spawner.start(job, &Sink::default()).await.unwrap();
    until("all four run", || marked(&launch).len() == 4).await;
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
    let left = marked(&launch);
    assert_eq!(left.len(), 2, "the two that left the session");
    assert!(!left.contains(&pid_of(&up.state)));
}
