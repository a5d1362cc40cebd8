//! Starts that fail, and what they say.

use std::os::unix::fs::PermissionsExt as _;

use hub_core::Spawner as _;
use hub_spawner_local::plugin;
use serde_json::json;

use crate::support::{Bench, Sink, context, marked};

#[tokio::test]
async fn a_missing_command_is_named_with_the_key_to_set() {
    let bench = Bench::new();
    let job = bench.job("ann", &["no-such-singleuser", "--debug"]);
    let launch = job.launch.clone();
    let error = bench.spawner.start(job, &Sink::default()).await.unwrap_err();
    assert_eq!((error.cause.as_ref(), error.retry), ("command-not-found", false));
    assert!(
        error.operator.contains("no-such-singleuser") && error.operator.contains("spawner.cmd"),
        "{error}"
    );
    assert!(!error.user.contains("no-such-singleuser"));
    crate::support::until("the helper ends", || marked(&launch).is_empty()).await;
}

#[tokio::test]
async fn a_file_without_permission_or_interpreter_is_told_apart_from_a_missing_one() {
    let bench = Bench::new();
    let plain = bench.path("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let broken = bench.path("broken");
    std::fs::write(&broken, "#!/no/such/python\n").unwrap();
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (path, cause, words) in [
        (&plain, "not-executable", "permissions"),
        (&broken, "command-not-found", "interpreter in its first line"),
    ] {
        let job = bench.job("ann", &[path.to_str().unwrap()]);
        let error = bench.spawner.start(job, &Sink::default()).await.unwrap_err();
        assert_eq!(error.cause, cause, "{error}");
        assert!(error.operator.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_ends_at_once_shows_its_exit_code_and_last_lines() {
    let bench = Bench::new();
    let job = bench.job("ann", &["sh", "-c", "echo 'No module named jupyterhub' >&2; exit 3"]);
    let error = bench.spawner.start(job, &Sink::default()).await.unwrap_err();
    assert_eq!((error.cause.as_ref(), error.retry), ("exited-at-once", false));
    assert!(error.user.contains("exit code 3"), "{}", error.user);
    assert_eq!(error.log_tail, ["No module named jupyterhub"]);
}

#[tokio::test]
async fn a_server_that_ends_at_once_leaves_no_children() {
    let bench = Bench::new();
    let job = bench.job("ann", &["sh", "-c", "setsid sleep 1000 & sleep 1000 & exit 1"]);
    let launch = job.launch.clone();
    let error = bench.spawner.start(job, &Sink::default()).await.unwrap_err();
    assert_eq!(error.cause, "exited-at-once");
    assert_eq!(marked(&launch), [0; 0]);
}

#[tokio::test]
async fn a_home_that_cannot_be_made_is_an_error() {
    let bench = Bench::with(|options| options.home_dir_template = Some("/proc/{username}/home".to_owned()));
    let error = bench.spawner.start(bench.job("ann", &["true"]), &Sink::default()).await.unwrap_err();
    assert_eq!(error.cause, "cwd-missing");
    assert!(error.operator.contains("/proc/ann/home"), "{error}");
}

#[tokio::test]
async fn a_fixed_port_that_is_in_use_is_named() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let bench = Bench::made(|_, cx| cx.port = port);
    let error = bench.spawner.start(bench.job("ann", &["true"]), &Sink::default()).await.unwrap_err();
    assert_eq!((error.cause.as_ref(), error.retry), ("port-taken", true));
    assert!(error.operator.contains(&port.to_string()) && error.operator.contains("spawner.port"), "{error}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    let bench = Bench::made(|_, cx| cx.ip = "192.0.2.1".to_owned());
    let error = bench.spawner.start(bench.job("ann", &["true"]), &Sink::default()).await.unwrap_err();
    assert!(error.operator.contains("spawner.ip"), "{error}");
}

#[tokio::test]
async fn an_environment_that_no_process_can_have_is_refused_without_showing_it() {
    let bench = Bench::new();
    let mut job = bench.job("ann", &["true"]);
    job.env.insert("SECRET".to_owned(), "hush\0hush".to_owned());
    let error = bench.spawner.start(job, &Sink::default()).await.unwrap_err();
    assert_eq!(error.cause, "bad-environment");
    assert!(error.operator.contains("SECRET") && !error.operator.contains("hush"), "{error}");
}

#[tokio::test]
async fn settings_that_are_too_long_for_the_system_say_so() {
    let bench = Bench::new();
    let mut job = bench.job("ann", &["true"]);
    job.env.insert("LONG".to_owned(), "x".repeat(1024 * 1024));
    let error = bench.spawner.start(job, &Sink::default()).await.unwrap_err();
    assert_eq!(error.cause, "arguments-too-long");
}

#[test]
fn the_plugin_tells_every_wrong_option() {
    let directory = tempfile::tempdir().unwrap();
    let mut cx = context(directory.path(), false);
    assert!((plugin().build)(json!(null), &cx).is_ok());
    let wrong = json!({"shel_cmd": [], "log_size": -1, "kill_timeout": "soon"});
    let text = (plugin().build)(wrong, &cx).unwrap_err().to_string();
    assert!(text.contains("spawner.local.shel_cmd: unknown key, did you mean `shell_cmd`?"), "{text}");
    assert!(text.contains("spawner.local.log_size: "), "{text}");
    assert!(text.contains("spawner.local.kill_timeout: "), "{text}");
    let invalid = (plugin().build)(json!({"switch_user": "always"}), &cx).unwrap_err().to_string();
    assert!(invalid.contains("spawner.local.switch_user"), "{invalid}");
    cx.section = "spawner.profiles.big".to_owned();
    cx.ip = "somewhere".to_owned();
    cx.env_keep = Some(vec!["A=B".to_owned()]);
    let invalid = (plugin().build)(json!({"log_size": 1}), &cx).unwrap_err();
    let keys: Vec<&str> = invalid.problems.iter().map(|problem| problem.key.as_str()).collect();
    let expected = ["local.log_size", "ip", "env_keep"].map(|key| format!("spawner.profiles.big.{key}"));
    assert_eq!(keys, expected);
}
