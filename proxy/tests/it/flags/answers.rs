//! Flags about errors, waiting, metrics and the process itself.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{Process, ask, get, refused, same, upgrade};
use crate::support::{Raw, Target, dead_address, until};

/// What clients and websockets get where there is no route, no target, and no valid path: status, type, first lines.
async fn same_errors(flags: &[&str]) -> Vec<(u16, Option<String>, String)> {
    let dead = format!("http://{}", dead_address().await);
    same(async |which| {
        let process = Process::start(&which, flags).await;
        process.route("/dead", &dead).await;
        let mut seen = Vec::new();
        for path in ["/nothing?a=b", "/dead/x", "/%zz"] {
            let answer = ask(&process, &get(path)).await;
            // The pages that are built in are written in words of their own.
            let text = if flags.is_empty() { String::new() } else { answer.text().lines().take(2).collect() };
            seen.push((answer.status(), answer.header("content-type").map(str::to_owned), text));
        }
        for path in ["/nothing", "/dead"] {
            let answer = ask(&process, &upgrade(path)).await;
            seen.push((answer.status(), answer.header("content-length").map(str::to_owned), answer.text()));
        }
        seen
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_same_status_and_type() {
    let seen = same_errors(&[]).await;
    let statuses: Vec<u16> = seen.iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [404, 503, 500, 404, 503]);
}

#[tokio::test(flavor = "multi_thread")]
async fn error_path_is_a_folder_of_pages() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("404.html"), "own 404").unwrap();
    std::fs::write(folder.path().join("error.html"), "own error").unwrap();
    let seen = same_errors(&["--error-path", folder.path().to_str().unwrap()]).await;
    assert_eq!((seen[0].2.as_str(), seen[1].2.as_str()), ("own 404", "own error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn error_target_is_asked_for_the_page() {
    let errors = Target::echo("errors").await;
    let seen = same_errors(&["--error-target", &format!("http://{}/hub/error", errors.address)]).await;
    assert!(seen[0].2.starts_with("errorsGET /hub/error/404?url="), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn error_target_that_does_not_answer_leaves_the_built_in_page() {
    let dead = format!("http://{}", dead_address().await);
    let statuses = same(async |which| {
        let process = Process::start(&which, &["--error-target", &dead]).await;
        let answer = ask(&process, &get("/nothing")).await;
        (answer.status(), answer.header("content-type").map(str::to_owned))
    })
    .await;
    assert_eq!(statuses.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn error_path_and_error_target_exclude_each_other() {
    refused(&["--error-path", "/x", "--error-target", "http://h"]).await;
}

async fn silent_target() -> Target {
    Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_timeout_gives_a_silent_target_up() {
    let silent = silent_target().await;
    let base = format!("http://{}", silent.address);
    let status = same(async |which| {
        let process = Process::start(&which, &["--default-target", &base, "--proxy-timeout", "200"]).await;
        ask(&process, &get("/")).await.status()
    })
    .await;
    assert_eq!(status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_timeout_does_not_count_while_a_body_goes_up() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let status = same(async |which| {
        let process = Process::start(&which, &["--default-target", &base, "--proxy-timeout", "3000"]).await;
        let mut raw = Raw::connect(process.public).await;
        raw.send("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 25\r\n\r\n").await;
        // Far longer than the limit, and never silent for long.
        for _ in 0..25 {
            let _ = raw.try_send("x").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        raw.response().await.status()
    })
    .await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_drops_the_client_of_a_silent_request() {
    let silent = silent_target().await;
    let base = format!("http://{}", silent.address);
    let closed = same(async |which| {
        let process = Process::start(&which, &["--default-target", &base, "--timeout", "300"]).await;
        let mut raw = Raw::connect(process.public).await;
        raw.send(get("/")).await;
        raw.is_closed().await
    })
    .await;
    assert!(closed);
}

/// Whether a connection that lies idle after one request is closed within this span of seconds.
async fn idle_for(flags: &[&str], seconds: std::ops::Range<f64>) -> bool {
    same(async |which| {
        let process = Process::start(&which, flags).await;
        let mut raw = Raw::connect(process.public).await;
        let begin = Instant::now();
        raw.send("GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.response().await.status(), 200);
        assert!(raw.is_closed().await);
        seconds.contains(&begin.elapsed().as_secs_f64())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_alive_timeout_closes_idle_connections() {
    assert!(idle_for(&["--keep-alive-timeout", "1000"], 0.9..3.0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keep_alive_timeout_or_with_none_idle_connections_are_closed_after_five_seconds() {
    let none = ["--keep-alive-timeout", "0"];
    let (default, zero) = tokio::join!(idle_for(&[], 4.9..8.0), idle_for(&none, 4.9..8.0));
    assert_eq!((default, zero), (true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_of_zero_are_none() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let base = format!("http://{}", target.address);
    let status = same(async |which| {
        let flags = ["--default-target", &base, "--timeout", "0", "--proxy-timeout", "0"];
        let process = Process::start(&which, &flags).await;
        ask(&process, &get("/")).await.status()
    })
    .await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_backend_that_does_not_exist_is_refused() {
    refused(&["--storage-backend", "no-such-module-anywhere"]).await;
}

/// Lines about its start and about the target that a proxy writes at a log level until one request is answered.
async fn logged(which: &crate::program::Which, level: &str) -> usize {
    logged_with(which, &["--log-level", level]).await
}

async fn logged_with(which: &crate::program::Which, levels: &[&str]) -> usize {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let flags = [levels, &["--default-target", &base]].concat();
    let mut process = Process::start_logging(which, &flags, &file).await;
    assert_eq!(ask(&process, &get("/")).await.status(), 200);
    process.signal("-KILL").await;
    process.ended().await;
    let log = std::fs::read_to_string(&file).unwrap();
    // What else a proxy warns of depends on the machine.
    let address = target.address.to_string();
    log.lines().filter(|line| line.contains("Proxy API at") || line.contains(&address)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_level_error_says_nothing_of_a_normal_run() {
    assert_eq!(same(async |which| logged(&which, "error").await).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_level_warn_says_nothing_of_a_normal_run() {
    assert_eq!(same(async |which| logged(&which, "warn").await).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_level_info_tells_the_start() {
    assert!(same(async |which| logged(&which, "info").await > 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_level_debug_tells_more_than_info() {
    assert!(same(async |which| logged(&which, "debug").await > logged(&which, "info").await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_flag_given_twice_the_last_counts() {
    for (levels, silent) in [(["error", "info"], false), (["info", "error"], true)] {
        let flags = ["--log-level", levels[0], "--log-level", levels[1]];
        assert_eq!(same(async |which| logged_with(&which, &flags).await == 0).await, silent, "{levels:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_level_is_taken_in_capitals_as_the_hub_writes_it() {
    assert!(same(async |which| logged(&which, "DEBUG").await > 0).await);
}

async fn pid_file(signal: &str) -> (String, Option<i32>, bool) {
    same(async |which| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let written = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
        let mut process = Process::start(&which, &["--pid-file", file.to_str().unwrap()]).await;
        until(|| !written(&file).is_empty()).await;
        let own = written(&file) == process.id().to_string();
        process.signal(signal).await;
        (own.to_string(), process.ended().await.code(), file.exists())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pid_file_is_written_and_removed_after_sigterm_with_exit_code_2() {
    assert_eq!(pid_file("-TERM").await, ("true".to_owned(), Some(2), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn pid_file_is_written_and_removed_after_sigint_with_exit_code_2() {
    assert_eq!(pid_file("-INT").await, ("true".to_owned(), Some(2), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_token_variable_guards_the_api() {
    let seen = same(async |which| {
        let process = Process::start(&which, &[]).await;
        let mut raw = Raw::connect(process.api).await;
        raw.send(get("/api/routes")).await;
        let without = raw.response().await.status();
        (without, process.ask_api("GET", "/api/routes", "").await.0)
    })
    .await;
    assert_eq!(seen, (403, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_auth_token_variable_the_api_is_open() {
    let seen = same(async |which| {
        let (public, api) = (dead_address().await, dead_address().await);
        let variables = [("CONFIGPROXY_AUTH_TOKEN", "")];
        let _process = Process::start_at(&which, public, api, &[], &variables).await;
        let mut raw = Raw::connect(api).await;
        raw.send(get("/api/routes")).await;
        raw.response().await.status()
    })
    .await;
    assert_eq!(seen, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_that_do_not_exist_are_refused() {
    refused(&["--no-such-flag"]).await;
}
