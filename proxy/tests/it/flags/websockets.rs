//! Websockets: what the target is asked, what the client is answered, and what passes.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Process, Which, ask, fixture, get, original, same};
use crate::{
    support::{Message, Raw, Target, dead_address, patiently},
    tls_client::TlsClient,
};

/// All our answers have one; of the original's, those to requests for websockets have none.
const DATE: &str = "date";

/// Switches protocols, tells what it was asked, then echoes; but for some paths, which it answers as HTTP.
async fn target() -> Target {
    Target::start(|mut raw: Raw, _| async move {
        let Some(request) = raw.request().await else { return };
        let refusal = match request.target().rsplit('/').next() {
            Some("forbidden") => {
                "HTTP/1.1 403 Not Today\r\nContent-Type: text/plain\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nno"
            }
            Some("chunked") => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            }
            Some("empty") => "HTTP/1.1 204 No Content\r\nX-Own: 1\r\n\r\n",
            Some("elsewhere") => {
                "HTTP/1.1 302 Found\r\nLocation: http://other.test/x\r\nContent-Length: 0\r\n\r\n"
            }
            Some("gone") => "",
            _ => {
                let asked = asked(&request);
                raw.send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: accepted\r\nSec-WebSocket-Protocol: v1\r\nX-Own: 1\r\n\
                     Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Length: {}\r\n\r\n{asked}",
                    asked.len()
                ))
                .await;
                while let Some(byte) = raw.try_take(1).await {
                    if raw.try_send(byte).await.is_err() {
                        return;
                    }
                }
                return;
            }
        };
        raw.send(refusal).await;
    })
    .await
}

fn asked(request: &Message) -> String {
    let mut lines = vec![request.first.clone()];
    lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.sort();
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// A browser's request for a websocket.
fn opening(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: proxy.test:8000\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v1, v2\r\n\
         Cookie: c=1\r\n{headers}\r\n"
    )
}

/// Status line and headers of the answer, and what the target was asked; the target's port is `PORT` in it.
#[derive(Debug, PartialEq)]
struct Opened {
    first: String,
    headers: Vec<(String, String)>,
    asked: Vec<String>,
}

impl Opened {
    fn new(head: Message, asked: &str, target: &Target) -> Self {
        let port = target.address.port().to_string();
        let mut headers = head.headers;
        headers.retain(|(name, _)| name != "x-length" && name != DATE);
        headers.sort();
        // What the connections between the three are told differs in its words only.
        let asked = asked.lines().filter(|line| !line.starts_with("connection:"));
        Self { first: head.first, headers, asked: asked.map(|line| line.replace(&port, "PORT")).collect() }
    }

    fn was_asked(&self, line: &str) -> bool {
        self.asked.iter().any(|asked| asked == line)
    }
}

/// Opens a websocket through each proxy with these flags, and sends bytes over it.
async fn opened(flags: &[&str], path: &str, headers: &str) -> Opened {
    let target = target().await;
    let base = format!("http://{}/under?own=1", target.address);
    same(async |which| {
        let process = Process::start(&which, &[flags, &["--default-target", &base]].concat()).await;
        process.route("/pre/fix", &format!("http://{}", target.address)).await;
        let mut raw = Raw::connect(process.public).await;
        raw.send(opening(path, headers)).await;
        let head = raw.head().await.expect("an answer");
        assert_eq!(head.status(), 101, "{head:?}");
        let length = head.header("x-length").unwrap().parse().unwrap();
        let asked = String::from_utf8(raw.take(length).await).unwrap();
        raw.send("hello").await;
        assert_eq!(raw.take(5).await, b"hello");
        Opened::new(head, &asked, &target)
    })
    .await
}

/// A test that a websocket is asked for as in the original, and as it says.
macro_rules! opened {
    ($($name:ident: $flags:expr, $path:expr, $headers:expr, $check:expr;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let seen = opened(&$flags, $path, $headers).await;
                let check: fn(&Opened) -> bool = $check;
                assert!(check(&seen), "{seen:#?}");
            }
        )+
    };
}

opened! {
    websocket_answers_have_all_headers_of_the_target: [], "/a", "",
        |seen| seen.first == "HTTP/1.1 101 Switching Protocols"
            && seen.headers.iter().filter(|(name, _)| name == "set-cookie").count() == 2;
    websocket_requests_tell_where_they_come_from: [], "/a?b=c%20d", "",
        |seen| seen.was_asked("GET /under/a?own=1&b=c%20d HTTP/1.1") && seen.was_asked("host: proxy.test:8000")
            && seen.was_asked("x-forwarded-proto: ws") && seen.was_asked("x-forwarded-for: 127.0.0.1")
            && seen.was_asked("x-forwarded-port: 8000")
            && !seen.asked.iter().any(|line| line.starts_with("x-forwarded-host"));
    websocket_requests_continue_forwarded_headers_of_others: [], "/a",
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Host: y\r\n",
        |seen| seen.was_asked("x-forwarded-for: 1.2.3.4,127.0.0.1") && seen.was_asked("x-forwarded-proto: https,ws")
            && seen.was_asked("x-forwarded-port: 1,8000") && seen.was_asked("x-forwarded-host: y");
    no_x_forward_adds_no_headers_to_websockets: ["--no-x-forward"], "/a", "",
        |seen| !seen.asked.iter().any(|line| line.starts_with("x-forwarded"));
    no_prepend_path_holds_for_websockets: ["--no-prepend-path"], "/a", "",
        |seen| seen.was_asked("GET /a HTTP/1.1");
    include_prefix_holds_for_websockets: [], "/pre/fix/a", "",
        |seen| seen.was_asked("GET /pre/fix/a HTTP/1.1");
    no_include_prefix_holds_for_websockets: ["--no-include-prefix"], "/pre/fix/a?b", "",
        |seen| seen.was_asked("GET /a?b HTTP/1.1");
    change_origin_holds_for_websockets: ["--change-origin"], "/a", "",
        |seen| seen.was_asked("host: 127.0.0.1:PORT");
    custom_header_holds_for_websockets: ["--custom-header", "X-One: 1", "--custom-header", "Cookie: d=2"], "/a", "",
        |seen| seen.was_asked("x-one: 1") && seen.was_asked("cookie: d=2");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_routing_holds_for_websockets() {
    let target = target().await;
    let seen = same(async |which| {
        let process = Process::start(&which, &["--host-routing"]).await;
        process.route("/proxy.test/a", &format!("http://{}", target.address)).await;
        let mut statuses = Vec::new();
        for path in ["/a/b", "/c"] {
            let mut raw = Raw::connect(process.public).await;
            raw.send(opening(path, "")).await;
            statuses.push(raw.head().await.map(|head| head.status()));
        }
        statuses
    })
    .await;
    assert_eq!(seen, [Some(101), Some(404)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_over_tls_say_wss_and_the_port_of_https() {
    let target = target().await;
    let base = format!("http://{}", target.address);
    let (key, certificate) = (fixture("leaf-key.pem"), fixture("leaf.pem"));
    let seen = same(async |which| {
        let flags = ["--ssl-key", &key, "--ssl-cert", &certificate, "--default-target", &base];
        let process = Process::start(&which, &flags).await;
        let mut stream = TlsClient::showing(None).connect(process.public).await.unwrap();
        let request = opening("/a", "").replace("proxy.test:8000", "proxy.test");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // What the target tells of the request ends with this line.
        while !answer.ends_with(b"x-forwarded-proto: wss\n") {
            assert!(patiently(stream.read_buf(&mut answer)).await.unwrap() > 0, "the connection ended");
        }
        let answer = String::from_utf8(answer).unwrap();
        let mut lines: Vec<String> =
            answer.lines().filter(|line| line.starts_with("x-forwarded")).map(str::to_owned).collect();
        lines.sort();
        lines
    })
    .await;
    assert_eq!(seen, ["x-forwarded-for: 127.0.0.1", "x-forwarded-port: 443", "x-forwarded-proto: wss"]);
}

/// The answers of a target that opens no websocket.
async fn refused(flags: &[&str], paths: &[&str]) -> Vec<(String, Vec<(String, String)>, String)> {
    let target = target().await;
    let base = format!("http://{}", target.address);
    same(async |which| {
        let process = Process::start(&which, &[flags, &["--default-target", &base]].concat()).await;
        let mut seen = Vec::new();
        for path in paths {
            let mut raw = Raw::connect(process.public).await;
            raw.send(opening(path, "")).await;
            let answer = raw.response().await;
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| name != "connection" && name != DATE);
            headers.sort();
            assert!(raw.is_closed().await, "nothing follows on this connection");
            // The original gives its own errors no name.
            let first = answer.first.trim_end_matches(" Service Unavailable").to_owned();
            seen.push((first, headers, answer.text()));
        }
        seen
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_open_no_websocket_are_passed_on_with_their_body() {
    let seen = refused(&[], &["/forbidden", "/chunked", "/elsewhere"]).await;
    assert_eq!((seen[0].0.as_str(), seen[0].2.as_str()), ("HTTP/1.1 403 Not Today", "no"));
    assert_eq!((seen[1].0.as_str(), seen[1].2.as_str()), ("HTTP/1.1 200 OK", "abcde"));
    assert!(seen[2].1.contains(&("location".to_owned(), "http://other.test/x".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_ends_instead_of_an_answer_is_503_for_websockets() {
    let seen = refused(&[], &["/gone"]).await;
    assert_eq!(seen[0].0, "HTTP/1.1 503");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_sent_before_the_answer_are_passed_on_and_lost_in_the_original() {
    let target = target().await;
    let base = format!("http://{}", target.address);
    let echo = async |which: &Which| {
        let process = Process::start(which, &["--default-target", &base]).await;
        let mut raw = Raw::connect(process.public).await;
        raw.send(format!("{}early", opening("/a", ""))).await;
        let head = raw.head().await.unwrap();
        raw.take(head.header("x-length").unwrap().parse().unwrap()).await;
        raw.send("later").await;
        raw.take(5).await
    };
    assert_eq!(echo(&Which::Ours).await, b"early");
    if let Some(original) = original() {
        assert_eq!(
            echo(&original).await,
            b"later",
            "docs/compatibility.md tells of a difference that is gone"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_are_counted_apart_from_requests() {
    let target = target().await;
    let base = format!("http://{}", target.address);
    let seen = same(async |which| {
        let metrics = dead_address().await;
        let port = metrics.port().to_string();
        let flags = ["--metrics-ip", "127.0.0.1", "--metrics-port", &port, "--default-target", &base];
        let process = Process::start(&which, &flags).await;
        for path in ["/a", "/b", "/forbidden"] {
            let mut raw = Raw::connect(process.public).await;
            raw.send(opening(path, "")).await;
            raw.head().await.unwrap();
        }
        assert_eq!(ask(&process, &get("/empty")).await.status(), 204);
        let mut raw = Raw::connect(metrics).await;
        raw.send(get("/metrics")).await;
        let answer = raw.response().await.text();
        let counts = answer.lines().filter(|line| {
            ["requests_ws ", "requests_web ", "requests_proxy{"].iter().any(|name| line.starts_with(name))
        });
        // The original leaves out what targets answer to requests for websockets.
        let mut counts: Vec<String> = counts
            .filter(|line| !line.contains("\"101\"") && !line.contains("\"403\""))
            .map(str::to_owned)
            .collect();
        counts.sort();
        counts
    })
    .await;
    assert_eq!(seen, [r#"requests_proxy{status="204"} 1"#, "requests_web 1", "requests_ws 3"]);
}
