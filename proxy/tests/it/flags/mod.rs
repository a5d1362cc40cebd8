//! Each flag and variable of configurable-http-proxy, given to the original and to us, with the same outcome.
//!
//! Runs when `HIMALIA_TEST_CHP_BIN` names the original's executable; in CI (`CI` is set) it must.

mod activity;
mod addresses;
mod answers;
mod differences;
mod messages;
mod requests;
mod tls;
mod websockets;

use super::{
    program::{Process, Which, original},
    support::{Message, Raw},
    tls_client,
};

fn fixture(name: &str) -> String {
    tls_client::fixture(name).to_str().unwrap().to_owned()
}

/// Runs a scenario with both programs, ours alone where the original is not at hand, and compares what it returns.
async fn same<T: PartialEq + std::fmt::Debug>(scenario: impl AsyncFn(Which) -> T) -> T {
    let ours = scenario(Which::Ours).await;
    if let Some(original) = original() {
        let theirs = scenario(original).await;
        assert_eq!(ours, theirs, "ours left, the original's right");
    }
    ours
}

async fn ask(process: &Process, request: &str) -> Message {
    let mut raw = Raw::connect(process.public).await;
    raw.send(request).await;
    raw.response().await
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: proxy.test:8000\r\nConnection: close\r\n\r\n")
}

fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// What the echoing target saw, less what names the proxies apart.
fn lines(answer: &Message) -> Vec<String> {
    let mut lines: Vec<_> =
        answer.text().lines().filter(|line| !line.starts_with("connection:")).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Whether a command line is refused by both.
async fn refused(flags: &[&str]) {
    let refused = same(async |which| {
        let mut process = Process::spawn_bare(&which, flags, &[]);
        !process.ended().await.success()
    })
    .await;
    assert!(refused, "{flags:?}");
}
