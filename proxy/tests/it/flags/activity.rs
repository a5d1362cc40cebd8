//! What counts as use of a route.

use std::time::Duration;

use super::{Process, same};
use crate::support::{Raw, Target};

/// Answers with the status that the path ends with; waits with the body where the path says so.
async fn target() -> Target {
    Target::start(|mut raw: Raw, _| async move {
        while let Some(head) = raw.head().await {
            let status = head.target().rsplit('/').next().unwrap_or_default().to_owned();
            let length = head.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if raw.try_take(length).await.is_none() {
                return;
            }
            let answer = match status.as_str() {
                "101" => {
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                }
                "204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "302" => "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 2\r\n\r\nok",
                "404" => "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
                "500" => "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            if raw.try_send(answer).await.is_err() {
                return;
            }
            if status == "101" {
                // Speaks when it is spoken to.
                while raw.try_take(1).await.is_some() {
                    let _ = raw.try_send("x").await;
                }
            }
        }
    })
    .await
}

/// A route and when it was last used.
struct Watched<'a>(&'a Process);

impl Watched<'_> {
    async fn last(&self) -> String {
        let (status, text) = self.0.ask_api("GET", "/api/routes/x", "").await;
        assert_eq!(status, 200);
        let route: serde_json::Value = serde_json::from_str(&text).unwrap();
        route["last_activity"].as_str().unwrap().to_owned()
    }

    /// Whether something counts as use. The clock has moved on before it begins, and it is noted soon, if at all.
    async fn is_used_by(&self, what: impl Future<Output = ()>) -> bool {
        let before = self.last().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        what.await;
        for _ in 0..20 {
            if self.last().await != before {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

/// Whether requests count as use of their route.
async fn used_by(requests: &[&str]) -> Vec<bool> {
    let target = target().await;
    same(async |which| {
        let process = Process::start(&which, &[]).await;
        process.route("/x", &format!("http://{}", target.address)).await;
        let mut seen = Vec::new();
        for request in requests {
            seen.push(
                Watched(&process)
                    .is_used_by(async {
                        let mut raw = Raw::connect(process.public).await;
                        raw.send(request).await;
                        raw.response().await;
                    })
                    .await,
            );
        }
        seen
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_below_300_are_use_and_others_are_none() {
    let requests = ["200", "204", "302", "404", "500"]
        .map(|status| format!("GET /x/{status} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    assert_eq!(used_by(&requests).await, [true, true, false, false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_sent_up_is_use_whatever_the_answer() {
    let requests = ["200", "302", "404"].map(|status| {
        format!("POST /x/{status} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
    });
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    assert_eq!(used_by(&requests).await, [true, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_no_target_answers_are_no_use() {
    let seen = same(async |which| {
        let process = Process::start(&which, &[]).await;
        let dead = crate::support::dead_address().await;
        process.route("/x", &format!("http://{dead}")).await;
        Watched(&process)
            .is_used_by(async {
                let mut raw = Raw::connect(process.public).await;
                raw.send("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
                assert_eq!(raw.response().await.status(), 503);
            })
            .await
    })
    .await;
    assert!(!seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_use_while_it_goes_on() {
    let target = target().await;
    let seen = same(async |which| {
        let process = Process::start(&which, &[]).await;
        process.route("/x", &format!("http://{}", target.address)).await;
        let mut raw = Raw::connect(process.public).await;
        raw.send("POST /x/200 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 6\r\n\r\nabc")
            .await;
        let watched = Watched(&process);
        // Until the first bytes are noted.
        while watched.is_used_by(async {}).await {}
        watched.is_used_by(raw.send("def")).await
    })
    .await;
    assert!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_on_a_websocket_is_use_and_its_silence_is_none() {
    let target = target().await;
    let seen = same(async |which| {
        let process = Process::start(&which, &[]).await;
        process.route("/x", &format!("http://{}", target.address)).await;
        let watched = Watched(&process);
        let mut raw = Raw::connect(process.public).await;
        raw.send(super::upgrade("/x/101")).await;
        assert_eq!(raw.head().await.unwrap().status(), 101);
        // Until the opening is over for everybody.
        while watched.is_used_by(async {}).await {}
        let silent = watched.is_used_by(async {}).await;
        let data = watched
            .is_used_by(async {
                raw.send("x").await;
                assert_eq!(raw.take(1).await, b"x");
            })
            .await;
        (silent, data)
    })
    .await;
    assert_eq!(seen, (false, true));
}

/// In the original, data of the target is none; see the documentation of what differs.
#[tokio::test(flavor = "multi_thread")]
async fn data_of_the_target_alone_is_use_here_and_none_in_the_original() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        while raw.try_send("x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let seen = async |which: &crate::program::Which| {
        let process = Process::start(which, &[]).await;
        process.route("/x", &format!("http://{}", target.address)).await;
        let mut raw = Raw::connect(process.public).await;
        raw.send(super::upgrade("/x")).await;
        assert_eq!(raw.head().await.unwrap().status(), 101);
        tokio::time::sleep(Duration::from_millis(100)).await;
        Watched(&process).is_used_by(async {}).await
    };
    assert!(seen(&crate::program::Which::Ours).await);
    if let Some(original) = crate::program::original() {
        assert!(!seen(&original).await, "docs/compatibility.md tells of a difference that is none any more");
    }
}
