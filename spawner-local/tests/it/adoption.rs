//! Finding servers again, and not mistaking others for them.

use std::process::{Command, Stdio};
use std::time::Duration;

use hub_core::secret::ExposeSecret as _;
use hub_core::spawner::Exit;
use hub_core::{Adoption, PollStatus, Spawner as _, StopMode};
use serde_json::json;

use crate::support::{Bench, SERVER, Sink, facts, has_ended, marked, pid_of, server, started, until};

/// A process that neither belongs to a hub nor may be touched by one.
struct Bystander(std::process::Child);

impl Bystander {
    fn new(env: &[(&str, &str)]) -> Self {
        let child = Command::new("sleep")
            .arg("1000")
            .env_remove("JUPYTERHUB_USER")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_restarted_hub_takes_a_server_over_watches_it_and_stops_it() {
    let bench = Bench::new();
    let job = bench.python("ann", SERVER);
    let launch = job.launch.clone();
    let up = bench.spawner.start(job, &Sink::default()).await.unwrap();
    let hub = bench.restarted();
    let Adoption::Running(found) = hub.adopt(&server("ann", up.state.clone())).await.unwrap() else {
        panic!()
    };
    assert_eq!(found.address, up.address);
    assert_eq!(found.state["pid"], up.state["pid"]);
    assert_eq!(found.state["launch"], up.state["launch"]);
    assert_eq!(hub.poll(&started("ann", &found)).await.unwrap(), PollStatus::Running);
    assert_eq!(hub.recent_log(&started("ann", &found)).await, ["listening"]);
    let pid = nix::unistd::Pid::from_raw(pid_of(&up.state));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let event = tokio::time::timeout(Duration::from_secs(10), hub.next_event()).await.unwrap();
    assert_eq!(event.status, PollStatus::Exited(Exit::default()));
    let Adoption::Gone(_) = hub.adopt(&started("ann", &found)).await.unwrap() else {
        panic!("it was killed")
    };
    assert_eq!(marked(&launch), [0; 0]);
}

/// A job as the hub gives it, with what tells one hub and server from another.
fn of_hub(bench: &Bench, user: &str, port: u16) -> hub_core::StartJob {
    let mut job = bench.python(user, SERVER);
    job.env.insert("JUPYTERHUB_API_URL".to_owned(), format!("http://127.0.0.1:{port}/hub/api"));
    job.env.insert("JUPYTERHUB_CLIENT_ID".to_owned(), format!("jupyterhub-user-{user}"));
    job
}

#[tokio::test]
async fn without_any_state_a_start_takes_over_the_server_that_runs() {
    let bench = Bench::new();
    let up = bench.spawner.start(of_hub(&bench, "left", 1), &Sink::default()).await.unwrap();
    assert!(up.api_token.is_none());
    let hub = bench.restarted();
    let sink = Sink::default();
    let found = hub.start(of_hub(&bench, "left", 1), &sink).await.unwrap();
    assert_eq!((&found.address, &found.state["pid"]), (&up.address, &up.state["pid"]));
    assert_eq!(found.state["launch"], up.state["launch"]);
    assert_eq!(found.api_token.unwrap().expose_secret(), "a-token", "the hub has to know it again");
    assert_eq!(sink.saved.lock().unwrap().last(), Some(&found.state));

    // Not for another hub on this machine, nor for somebody else.
    for other in [of_hub(&bench, "left", 2), of_hub(&bench, "other", 1)] {
        let key = other.key.clone();
        let fresh = hub.start(other, &Sink::default()).await.unwrap();
        assert_ne!(fresh.state["pid"], up.state["pid"]);
        let server = hub_core::ServerRef { key, state: fresh.state, address: None };
        hub.stop(&server, StopMode::Now).await.unwrap();
    }
    let left = server("left", found.state);
    assert_eq!(hub.poll(&left).await.unwrap(), PollStatus::Running);
    hub.stop(&left, StopMode::Graceful).await.unwrap();
    let anew = hub.start(of_hub(&bench, "left", 1), &Sink::default()).await.unwrap();
    assert!(anew.api_token.is_none() && anew.state["pid"] != up.state["pid"]);
    hub.stop(&server("left", anew.state), StopMode::Now).await.unwrap();
}

#[tokio::test]
async fn a_server_is_found_by_its_mark_when_its_pid_was_never_stored() {
    let bench = Bench::new();
    let job = bench.python("ann", SERVER);
    let launch = job.launch.clone();
    let up = bench.spawner.start(job, &Sink::default()).await.unwrap();
    let lost = server("ann", json!({"launch": launch}));
    let hub = bench.restarted();
    let Adoption::Running(found) = hub.adopt(&lost).await.unwrap() else { panic!("not found") };
    assert_eq!((found.state["pid"].clone(), found.address), (up.state["pid"].clone(), up.address));
    hub.stop(&lost, StopMode::Graceful).await.unwrap();
    assert_eq!(marked(&launch), [0; 0]);
}

#[tokio::test]
async fn what_a_dead_server_left_behind_is_removed_when_it_is_looked_for() {
    let bench = Bench::new();
    let code = format!("import subprocess\nsubprocess.Popen(['setsid', 'sleep', '1000'])\n{SERVER}");
    let job = bench.python("ann", &code);
    let launch = job.launch.clone();
    let up = bench.spawner.start(job, &Sink::default()).await.unwrap();
    until("both run", || marked(&launch).len() == 2).await;
    let pid = pid_of(&up.state);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the server is dead", || has_ended(pid)).await;
    let Adoption::Gone(_) = bench.restarted().adopt(&started("ann", &up)).await.unwrap() else {
        panic!("it was killed")
    };
    assert_eq!(marked(&launch), [0; 0]);
}

#[tokio::test]
async fn a_state_that_stock_wrote_is_understood() {
    let bench = Bench::new();
    let up = bench.spawner.start(bench.python("ann", SERVER), &Sink::default()).await.unwrap();
    let mut stock = server("ann", json!({"pid": up.state["pid"]}));
    stock.address = Some(up.address.join("/user/ann/").unwrap());
    let hub = bench.restarted();
    assert_eq!(hub.poll(&stock).await.unwrap(), PollStatus::Running);
    let Adoption::Running(found) = hub.adopt(&stock).await.unwrap() else { panic!("not adopted") };
    assert_eq!(found.address, up.address);
    assert_eq!(found.state["start_time"], up.state["start_time"]);
    assert_eq!(facts(&found).await["pid"], up.state["pid"]);
    hub.stop(&started("ann", &found), StopMode::Graceful).await.unwrap();
    assert_eq!(hub.poll(&stock).await.unwrap(), PollStatus::Exited(Exit::default()));
}

#[tokio::test]
async fn a_number_that_was_given_to_another_process_is_a_server_that_ended() {
    let bench = Bench::new();
    let mut other = Bystander::new(&[]);
    let mut namesake = Bystander::new(&[("JUPYTERHUB_USER", "bob")]);
    for state in [
        json!({"pid": other.pid(), "start_time": 1, "launch": "gone"}),
        json!({"pid": other.pid()}),
        json!({"pid": namesake.pid()}),
        json!({"pid": std::process::id(), "start_time": 1}),
        json!({"pid": 1}),
        json!({"pid": -1}),
        json!({"pid": "x"}),
        json!(null),
    ] {
        let server = server("ann", state.clone());
        let gone = PollStatus::Exited(Exit::default());
        assert_eq!(bench.spawner.poll(&server).await.unwrap(), gone, "{state}");
        assert!(matches!(bench.spawner.adopt(&server).await.unwrap(), Adoption::Gone(_)), "{state}");
        bench.spawner.stop(&server, StopMode::Now).await.unwrap();
    }
    assert!(other.is_alive() && namesake.is_alive());
}

#[tokio::test]
async fn a_zombie_is_a_server_that_ended() {
    let bench = Bench::new();
    let mut child = Bystander::new(&[("JUPYTERHUB_USER", "ann")]);
    let server = server("ann", json!({"pid": child.pid()}));
    assert_eq!(bench.spawner.poll(&server).await.unwrap(), PollStatus::Running);
    // ended, but not waited for: it stays in the table
    child.0.kill().unwrap();
    let stat = format!("/proc/{}/stat", child.pid());
    until("a zombie", || std::fs::read_to_string(&stat).unwrap().contains(") Z ")).await;
    assert_eq!(bench.spawner.poll(&server).await.unwrap(), PollStatus::Exited(Exit::default()));
}
