//! Start, poll, exit, stop.

use std::time::Duration;

use hub_core::spawner::{Bind, Exit, Phase};
use hub_core::{Adoption, PollStatus, ServerName, ServerRef, Spawner as _, StopMode};
use serde_json::json;

use crate::support::{Bench, SERVER, Sink, facts, key, marked, pid_of, server, started, until};

#[tokio::test]
async fn a_server_gets_its_own_session_and_only_the_environment_meant_for_it() {
    let bench = Bench::new();
    let mut job = bench.python("ann", SERVER);
    job.env.insert("HIMALIA_LAUNCH".to_owned(), "forged".to_owned());
    job.env.insert("HOME".to_owned(), "/elsewhere".to_owned());
    let launch = job.launch.clone();
    let sink = Sink::default();
    let up = bench.spawner.start(job, &sink).await.unwrap();
    let facts = facts(&up).await;
    let home = bench.path("home/ann").display().to_string();
    let port = up.address.port().unwrap();
    assert_eq!(facts["env"]["USER"], "ann");
    assert_eq!(facts["env"]["HOME"], json!(home));
    assert_eq!(facts["env"]["SHELL"], "/bin/bash");
    assert_eq!(facts["env"]["LANG"], "C.UTF-8");
    assert_eq!(facts["env"]["JUPYTERHUB_API_TOKEN"], "a-token");
    assert_eq!(facts["env"]["JUPYTERHUB_SERVICE_URL"], json!(format!("http://127.0.0.1:{port}/user/ann/")));
    assert_eq!(facts["env"]["HIMALIA_LAUNCH"], json!(launch));
    assert_eq!(facts["env"].get("HUB_SECRET"), None);
    assert_eq!(facts["cwd"], json!(home));
    assert_eq!(facts["stdin"], "/dev/null");
    for id in ["pid", "sid", "pgid"] {
        assert_eq!(facts[id], up.state["pid"], "{id}");
    }
    assert_eq!(bench.spawner.poll(&started("ann", &up)).await.unwrap(), PollStatus::Running);
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
    assert_eq!(marked(&launch), [0; 0]);
}

#[tokio::test]
async fn a_server_without_the_persons_files_has_a_directory_of_its_own_with_what_is_bound_there() {
    let bench = Bench::new();
    let (old, new) = (bench.path("old"), bench.path("new"));
    for folder in [&old, &new] {
        std::fs::create_dir(folder).unwrap();
    }
    let named = |source: &std::path::Path| {
        let mut job = bench.python("ann", SERVER);
        job.key.server = ServerName::stored("work space");
        job.overrides.without_own_volume = true;
        let source = source.display().to_string();
        job.overrides.binds = vec![Bind { source, target: "/home/jovyan/data/workspace".to_owned() }];
        job
    };
    let own = bench.path("home/ann/servers/work%20space");
    for source in [&old, &new] {
        let job = named(source);
        let key = job.key.clone();
        let up = bench.spawner.start(job, &Sink::default()).await.unwrap();
        let facts = facts(&up).await;
        assert_eq!((&facts["cwd"], &facts["env"]["HOME"]), (&json!(own), &json!(own)));
        assert_eq!(std::fs::read_link(own.join("data/workspace")).unwrap(), **source);
        let server = ServerRef { key, ..started("ann", &up) };
        bench.spawner.stop(&server, StopMode::Now).await.unwrap();
    }
    // What is no link is somebody's work.
    std::fs::remove_file(own.join("data/workspace")).unwrap();
    std::fs::create_dir(own.join("data/workspace")).unwrap();
    let error = bench.spawner.start(named(&old), &Sink::default()).await.unwrap_err();
    assert_eq!(error.cause, "storage-unavailable");
    let mut elsewhere = named(&old);
    elsewhere.overrides.binds[0].target = "/etc/workspace".to_owned();
    let error = bench.spawner.start(elsewhere, &Sink::default()).await.unwrap_err();
    assert_eq!(error.cause, "storage-unavailable");
}

#[tokio::test]
async fn the_state_is_stored_before_the_process_exists_and_again_before_it_runs_the_command() {
    let bench = Bench::new();
    let sink = Sink::default();
    let job = bench.python("ann", SERVER);
    let launch = job.launch.clone();
    let up = bench.spawner.start(job, &sink).await.unwrap();
    let saved = sink.saved.lock().unwrap().clone();
    assert_eq!(saved.len(), 2);
    assert_eq!(saved[0].get("pid"), None);
    assert_eq!(saved[0]["launch"], json!(launch));
    assert_eq!(saved[1], up.state);
    let shown = sink.shown.lock().unwrap().clone();
    let phases: Vec<Phase> = shown.iter().map(|progress| progress.phase).collect();
    assert_eq!(phases, [Phase::Preparing, Phase::Launching, Phase::Connecting]);
    assert!(shown.is_sorted_by_key(|progress| progress.percent));
    bench.spawner.stop(&started("ann", &up), StopMode::Now).await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_server_is_news_with_its_exit_code() {
    let bench = Bench::new();
    let code = format!("import threading, os\nthreading.Timer(0.6, os._exit, [9]).start()\n{SERVER}");
    let up = bench.spawner.start(bench.python("ann", &code), &Sink::default()).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(10), bench.spawner.next_event()).await.unwrap();
    let exit = PollStatus::Exited(Exit { code: Some(9), ..Exit::default() });
    assert_eq!((event.key, &event.status), (key("ann"), &exit));
    assert_eq!(bench.spawner.poll(&started("ann", &up)).await.unwrap(), exit);
    assert_eq!(bench.spawner.recent_log(&started("ann", &up)).await, ["listening"]);
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
}

#[tokio::test]
async fn a_stop_that_was_asked_for_is_no_news() {
    let bench = Bench::new();
    let up = bench.spawner.start(bench.python("ann", SERVER), &Sink::default()).await.unwrap();
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
    assert_eq!(bench.spawner.recent_log(&started("ann", &up)).await, ["listening", "interrupted"]);
    let event = tokio::time::timeout(Duration::from_millis(200), bench.spawner.next_event()).await;
    assert!(event.is_err(), "{event:?}");
    // stopping what is gone is success, and nothing was ever there for a server without state
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
    bench.spawner.stop(&server("bob", json!({})), StopMode::Graceful).await.unwrap();
    assert_eq!(
        bench.spawner.poll(&server("bob", json!({}))).await.unwrap(),
        PollStatus::Exited(Exit::default())
    );
}

#[tokio::test]
async fn a_killed_server_says_by_what() {
    let bench = Bench::new();
    let up = bench.spawner.start(bench.python("ann", SERVER), &Sink::default()).await.unwrap();
    let pid = nix::unistd::Pid::from_raw(pid_of(&up.state));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let event = tokio::time::timeout(Duration::from_secs(10), bench.spawner.next_event()).await.unwrap();
    let PollStatus::Exited(exit) = event.status else { panic!("it runs") };
    assert_eq!((exit.code, exit.cause), (Some(-9), Some("killed")));
}

#[tokio::test]
async fn a_start_that_is_dropped_leaves_nothing_that_a_stop_cannot_remove() {
    let bench = Bench::new();
    for hang_at in [1, 2] {
        let sink = Sink::hanging_at(hang_at);
        let job = bench.python("ann", SERVER);
        let launch = job.launch.clone();
        let start = tokio::time::timeout(Duration::from_millis(500), bench.spawner.start(job, &sink));
        assert!(start.await.is_err());
        bench.spawner.stop(&server("ann", sink.last()), StopMode::Now).await.unwrap();
        until("the helper ends", || marked(&launch).is_empty()).await;
    }
    // and one that runs, but never listens
    let sink = Sink::default();
    let job = bench.job("ann", &["sleep", "1000"]);
    let launch = job.launch.clone();
    let start = tokio::time::timeout(Duration::from_millis(500), bench.spawner.start(job, &sink));
    assert!(start.await.is_err());
    assert_eq!(marked(&launch), [pid_of(&sink.last())]);
    bench.spawner.stop(&server("ann", sink.last()), StopMode::Now).await.unwrap();
    assert_eq!(marked(&launch), [0; 0]);
}

#[tokio::test]
async fn a_server_that_is_slow_to_listen_is_left_to_the_hub() {
    let bench = Bench::new();
    let mut job = bench.job("ann", &["sleep", "1000"]);
    job.timeout = Duration::from_millis(600);
    let up =
        tokio::time::timeout(job.timeout, bench.spawner.start(job, &Sink::default())).await.unwrap().unwrap();
    assert_eq!(bench.spawner.poll(&started("ann", &up)).await.unwrap(), PollStatus::Running);
    bench.spawner.stop(&started("ann", &up), StopMode::Now).await.unwrap();
}

#[tokio::test]
async fn a_second_start_ends_the_server_that_its_state_speaks_of() {
    let bench = Bench::new();
    let first = bench.python("ann", SERVER);
    let launch = first.launch.clone();
    let up = bench.spawner.start(first, &Sink::default()).await.unwrap();
    let mut second = bench.python("ann", SERVER);
    second.state = up.state;
    let again = bench.spawner.start(second, &Sink::default()).await.unwrap();
    assert_eq!(marked(&launch), [0; 0]);
    assert_eq!(facts(&again).await["pid"], again.state["pid"]);
    bench.spawner.stop(&started("ann", &again), StopMode::Now).await.unwrap();
}

#[tokio::test]
async fn many_servers_start_at_once_on_different_ports() {
    let bench = std::sync::Arc::new(Bench::new());
    let starts: Vec<_> = (0..12)
        .map(|number| {
            let bench = std::sync::Arc::clone(&bench);
            tokio::spawn(async move {
                let user = format!("user{number}");
                let up = bench.spawner.start(bench.python(&user, SERVER), &Sink::default()).await.unwrap();
                assert_eq!(facts(&up).await["env"]["USER"], json!(user));
                (user, up)
            })
        })
        .collect();
    let mut servers = Vec::new();
    for start in starts {
        servers.push(start.await.unwrap());
    }
    let ports: std::collections::HashSet<_> = servers.iter().map(|(_, up)| up.address.port()).collect();
    assert_eq!(ports.len(), 12);
    for (user, up) in servers {
        bench.spawner.stop(&started(&user, &up), StopMode::Graceful).await.unwrap();
        assert!(marked(up.state["launch"].as_str().unwrap()).is_empty());
    }
}

#[tokio::test]
async fn a_server_that_cannot_share_its_port_gets_one_on_the_second_try() {
    let bench = Bench::new();
    let code = SERVER.replace("server = ", "http.server.HTTPServer.allow_reuse_address = False\nserver = ");
    let up = bench.spawner.start(bench.python("ann", &code), &Sink::default()).await.unwrap();
    assert_eq!(facts(&up).await["env"]["USER"], "ann");
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
}

#[tokio::test]
async fn a_server_on_all_addresses_is_reached_on_the_loopback() {
    let bench = Bench::made(|_, cx| cx.ip = String::new());
    let up = bench.spawner.start(bench.python("ann", SERVER), &Sink::default()).await.unwrap();
    let port = up.address.port().unwrap();
    assert_eq!(up.address.as_str(), format!("http://127.0.0.1:{port}/"));
    assert_eq!(facts(&up).await["env"]["JUPYTERHUB_SERVICE_URL"], json!(format!("http://:{port}/user/ann/")));
    // a hub that knows nothing but the number learns the port from the server
    let adopted = bench.restarted().adopt(&server("ann", json!({"pid": up.state["pid"]}))).await.unwrap();
    let Adoption::Running(found) = adopted else { panic!("not adopted") };
    assert_eq!(found.address, up.address);
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
}

#[tokio::test]
async fn a_shell_may_run_the_command() {
    let bench = Bench::with(|options| options.shell_cmd = ["bash", "-c"].map(str::to_owned).to_vec());
    let up = bench.spawner.start(bench.python("ann", SERVER), &Sink::default()).await.unwrap();
    assert_eq!(facts(&up).await["env"]["USER"], "ann");
    bench.spawner.stop(&started("ann", &up), StopMode::Graceful).await.unwrap();
}
