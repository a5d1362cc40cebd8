//! The stand-in as a process of its own, against a hub that is a few lines of script.

#![expect(clippy::unwrap_used, reason = "what a test cannot do without may end it")]

mod fake_hub;
mod server;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use fake_hub::FakeHub;
use server::{Browser, Server, eventually};

#[tokio::test]
async fn a_person_gets_in_by_way_of_the_hub_and_back_to_the_page_that_was_asked_for() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    let mut browser = Browser::new();

    let away = browser.get(&server.url("lab?x=1")).await;
    assert_eq!(away.status(), StatusCode::FOUND);
    let to = server::location(&away);
    assert_eq!(to.path(), "/base/hub/api/oauth2/authorize");
    let asked = server::query(&to);
    assert_eq!(asked["client_id"], "jupyterhub-user-ann");
    assert_eq!(asked["redirect_uri"], "/base/user/ann/oauth_callback");
    assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
    let cookie = away.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("jupyterhub-user-ann-oauth-state="), "{cookie}");
    assert!(cookie.contains("Path=/base/user/ann/; HttpOnly; Max-Age=600"), "{cookie}");

    hub.expect_code("the-code", "ann-token");
    let back =
        browser.get(&server.url(&format!("oauth_callback?code=the-code&state={}", asked["state"]))).await;
    assert_eq!(back.status(), StatusCode::FOUND);
    assert_eq!(back.headers()["location"], "/base/user/ann/lab?x=1");
    let exchange = hub.last_exchange();
    assert_eq!(exchange["client_id"], "jupyterhub-user-ann");
    assert_eq!(exchange["client_secret"], "server-token");
    assert_eq!(exchange["redirect_uri"], "/base/user/ann/oauth_callback");
    let verifier = Sha256::digest(&exchange["code_verifier"]);
    assert_eq!(URL_SAFE_NO_PAD.encode(verifier), asked["code_challenge"]);

    let page = browser.get(&server.url("lab?x=1")).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.headers()["x-jupyterhub-version"], "6.1.1");
    assert_eq!(page.text().await.unwrap(), "This is the server of ann.\n");
}

#[tokio::test]
async fn a_state_counts_once_and_only_in_the_browser_that_got_it() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    let mut browser = Browser::new();
    let state = browser.begin(&server).await;
    hub.expect_code("the-code", "ann-token");
    let callback = server.url(&format!("oauth_callback?code=the-code&state={state}"));
    assert_eq!(Browser::new().get(&callback).await.status(), StatusCode::FORBIDDEN);
    // the other one has spent it
    assert_eq!(browser.get(&callback).await.status(), StatusCode::FORBIDDEN);
    for query in ["", "?code=x", "?state=x", "?error=access_denied"] {
        let answer = browser.get(&server.url(&format!("oauth_callback{query}"))).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn two_tabs_may_log_in_at_the_same_time() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    let mut browser = Browser::new();
    let (first, second) = (browser.begin(&server).await, browser.begin(&server).await);
    for state in [second, first] {
        hub.expect_code("the-code", "ann-token");
        let answer = browser.get(&server.url(&format!("oauth_callback?code=the-code&state={state}"))).await;
        assert_eq!(answer.status(), StatusCode::FOUND);
    }
    assert_eq!(browser.get(&server.url("")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn somebody_without_the_scope_is_kept_out() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    hub.add_token("bob-token", "bob", &["access:servers!user=bob", "self"]);
    let mut browser = Browser::new();
    browser.log_in(&server, &hub, "bob-token").await;
    let answer = browser.get(&server.url("echo")).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(answer.text().await.unwrap().contains("bob may not use this server"));
}

#[tokio::test]
async fn a_session_ends_with_its_token_as_soon_as_the_session_at_the_hub_changes() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    let mut browser = Browser::new();
    browser.set("jupyterhub-session-id", "one");
    browser.log_in(&server, &hub, "ann-token").await;
    assert_eq!(browser.get(&server.url("")).await.status(), StatusCode::OK);
    hub.revoke("ann-token");
    assert_eq!(
        browser.get(&server.url("")).await.status(),
        StatusCode::OK,
        "the hub's word is trusted for a while"
    );
    browser.set("jupyterhub-session-id", "two");
    assert_eq!(
        server::location(&browser.get(&server.url("")).await).path(),
        "/base/hub/api/oauth2/authorize"
    );
}

#[tokio::test]
async fn logging_out_forgets_the_browser_and_goes_to_the_hub() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    let mut browser = Browser::new();
    browser.log_in(&server, &hub, "ann-token").await;
    let session = browser.cookie("jupyterhub-user-ann").unwrap();
    let out = browser.get(&server.url("logout")).await;
    assert_eq!(server::location(&out).path(), "/base/hub/logout");
    assert_eq!(browser.cookie("jupyterhub-user-ann"), None);
    browser.set("jupyterhub-user-ann", &session);
    assert_eq!(browser.get(&server.url("")).await.status(), StatusCode::FOUND, "an old cookie opens nothing");
}

#[tokio::test]
async fn the_api_answers_without_redirects() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    let mut browser = Browser::new();
    assert_eq!(browser.get(&server.url("api")).await.status(), StatusCode::OK);
    assert_eq!(browser.get(&server.url("api/status")).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.get(&server.url("../../elsewhere")).await.status(), StatusCode::NOT_FOUND);
    let status = browser.with_token(&server.url("api/status"), "ann-token").await;
    assert_eq!(status.status(), StatusCode::OK);
    assert!(server::body(status).await["last_activity"].is_string());
    assert_eq!(browser.with_token(&server.url("api/status"), "wrong").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.get(&server.url("lab?token=ann-token")).await.status(), StatusCode::FOUND);
    hub.fail_with(503);
    let unknown = browser.with_token(&server.url("api/status"), "another").await;
    assert_eq!(unknown.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn the_environment_is_shown_without_the_token() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[("COLOUR", "blue")]).await;
    let mut browser = Browser::new();
    browser.log_in(&server, &hub, "ann-token").await;
    let text = browser.get(&server.url("echo")).await.text().await.unwrap();
    assert!(!text.contains("server-token") && !text.contains("ann-token"), "{text}");
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (shown["user"]["name"].clone(), shown["env"]["COLOUR"].clone()),
        (json!("ann"), json!("blue"))
    );
}

#[tokio::test]
async fn activity_is_reported_when_there_was_some() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[("JUPYTERHUB_ACTIVITY_INTERVAL", "1")]).await;
    let mut browser = Browser::new();
    assert!(hub.activity().is_empty());
    browser.with_token(&server.url("echo"), "ann-token").await;
    eventually("a report", || !hub.activity().is_empty()).await;
    let report = hub.activity().remove(0);
    assert_eq!(report["servers"][""]["last_activity"], report["last_activity"]);
    let at = report["last_activity"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.len() == 27, "{at}");
}

#[tokio::test]
async fn it_ends_on_either_signal_without_complaint() {
    let hub = FakeHub::start().await;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start(&hub, &[]).await;
        assert_eq!(server.end(signal).await, Some(0), "{signal}");
    }
}

#[tokio::test]
async fn without_hub_or_port_it_gives_up_with_a_reason() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    let taken = format!("http://127.0.0.1:{}/base/user/ann/", server.port());
    for (name, value, reason) in [
        ("JUPYTERHUB_SERVICE_URL", taken.as_str(), "cannot listen on"),
        ("JUPYTERHUB_API_URL", "http://127.0.0.1:1/hub/api", "no hub at"),
        ("JUPYTERHUB_CLIENT_ID", "", "JUPYTERHUB_CLIENT_ID is not set"),
    ] {
        let output = server::fails(&hub, name, value).await;
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{output:?}");
    }
}

#[tokio::test]
async fn it_needs_little_memory() {
    let hub = FakeHub::start().await;
    let server = Server::start(&hub, &[]).await;
    let mut browser = Browser::new();
    browser.log_in(&server, &hub, "ann-token").await;
    for _ in 0..200 {
        assert_eq!(browser.get(&server.url("echo")).await.status(), StatusCode::OK);
    }
    let kib = server.resident_kib();
    assert!(kib < 10 * 1024, "{kib} KiB");
}

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);
