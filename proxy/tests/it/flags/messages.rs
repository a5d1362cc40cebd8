//! Messages of all shapes through the proxy, and the small answers of its own ports.

use std::path::Path;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use super::{Process, ask, fixture, get, lines, same};
use crate::support::{Message, Raw, Target, dead_address, patiently};

/// Status and its words, headers, and body.
type Answer = (String, Vec<(String, String)>, String);

/// What an answer says beside what each program says of the connection, and of the moment.
fn shown(answer: &Message) -> Answer {
    let own = ["connection", "keep-alive", "date", "transfer-encoding"];
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !own.contains(&name.as_str()));
    headers.sort();
    // The original names its own version of HTTP to everybody.
    let first = answer.first.split_once(' ').map(|(_, status)| status.to_owned()).unwrap_or_default();
    (first, headers, answer.text())
}

/// The answers to requests, given in full, through each proxy with these flags to a target that answers so.
async fn answers(flags: &[&str], target: &Target, requests: &[&str]) -> Vec<Answer> {
    let base = format!("http://{}", target.address);
    same(async |which| {
        let process = Process::start(&which, &[flags, &["--default-target", &base]].concat()).await;
        let mut seen = Vec::new();
        for request in requests {
            let mut raw = Raw::connect(process.public).await;
            raw.send(request).await;
            let method = request.split(' ').next().unwrap_or_default();
            let answer = raw.response_to(method).await;
            assert!(raw.is_closed().await, "{request} leaves the connection open");
            seen.push(shown(&answer));
        }
        seen
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_forwarded_and_has_no_body() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            assert_eq!(request.first, "HEAD /x HTTP/1.1");
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Own: 1\r\n\r\n";
            if raw.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let seen = answers(&[], &target, &["HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]).await;
    assert!(seen[0].1.contains(&("content-length".to_owned(), "5".to_owned())), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_answered_in_full_and_closed() {
    let target =
        Target::fixed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    let seen = answers(&[], &target, &["GET /x HTTP/1.0\r\nHost: h\r\n\r\n"]).await;
    assert_eq!(seen[0].2, "abc");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_forwarded_as_1_1() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let seen = same(async |which| {
        let process = Process::start(&which, &["--default-target", &base]).await;
        lines(&ask(&process, "GET /x HTTP/1.0\r\nHost: h:81\r\n\r\n").await)
    })
    .await;
    assert!(seen.iter().any(|line| line == "GET /x HTTP/1.1"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_answers_are_passed_on() {
    let target = Target::fixed(
        "HTTP/1.1 201 Made\r\nContent-Type: text/plain; charset=utf-8\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n\
         Location: /elsewhere?x=%20\r\nServer: own\r\nX-Own: a, b\r\nCache-Control: no-store\r\nETag: \"x\"\r\n\
         Vary: Cookie\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let seen = answers(&[], &target, &[&get("/x")]).await;
    assert_eq!(seen[0].0, "201 Made");
    let cookies = seen[0].1.iter().filter(|(name, _)| name == "set-cookie").count();
    assert_eq!((cookies, seen[0].1.len()), (2, 10), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_stay_so() {
    for answer in [
        "HTTP/1.1 204 No Content\r\nX-Own: 1\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let target = Target::fixed(answer).await;
        assert_eq!(answers(&[], &target, &[&get("/x")]).await[0].2, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_asked_for_and_answered() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            let answer = match request.header("range") {
                Some("bytes=2-4") if request.header("if-range") == Some("\"x\"") => {
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nAccept-Ranges: bytes\r\n\
                     ETag: \"x\"\r\nContent-Length: 3\r\n\r\n234"
                }
                Some("bytes=20-") => {
                    "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n"
                }
                _ => "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: 10\r\n\r\n0123456789",
            };
            if raw.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let requests = ["Range: bytes=2-4\r\nIf-Range: \"x\"\r\n", "Range: bytes=20-\r\n", ""]
        .map(|range| get("/x").replace("\r\n\r\n", &format!("\r\n{range}\r\n")));
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    let seen = answers(&[], &target, &requests).await;
    let told: Vec<_> = seen.iter().map(|(first, _, text)| (&first[..3], text.as_str())).collect();
    assert_eq!(told, [("206", "234"), ("416", ""), ("200", "0123456789")]);
    let range = |text: &str| ("content-range".to_owned(), text.to_owned());
    assert!(
        seen[0].1.contains(&range("bytes 2-4/10")) && seen[1].1.contains(&range("bytes */10")),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trailer_of_a_request_without_a_body_is_dropped() {
    let target = Target::echo("one").await;
    let request = get("/x").replace("\r\n\r\n", "\r\nTrailer: X-Sum\r\nX-Own: 1\r\n\r\n");
    let base = format!("http://{}", target.address);
    let seen = same(async |which| {
        let process = Process::start(&which, &["--default-target", &base]).await;
        lines(&ask(&process, &request).await)
    })
    .await;
    let has = |begin: &str| seen.iter().any(|line| line.starts_with(begin));
    assert!(has("x-own:") && !has("trailer:"), "{seen:?}");
}

/// Words for one connection, which the original passes on; see the documentation of what differs.
#[tokio::test(flavor = "multi_thread")]
async fn headers_about_the_connection_are_not_passed_on() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let process = Process::start(&super::Which::Ours, &["--default-target", &base]).await;
    let words = "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
                 X-Hop: 1\r\nX-Own: 1\r\n";
    let request = format!("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close, x-hop\r\n{words}\r\n");
    let seen = lines(&ask(&process, &request).await);
    let has = |begin: &str| seen.iter().any(|line| line.starts_with(begin));
    assert!(has("x-own:"), "{seen:?}");
    for name in ["keep-alive:", "proxy-", "x-hop:"] {
        assert!(!has(name), "{name} in {seen:?}");
    }
}

/// Serves a description of each request on a UNIX socket.
fn unix_target(path: &Path) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let mut lines: Vec<String> =
                String::from_utf8_lossy(&head).lines().map(str::to_lowercase).collect();
            lines.sort();
            let text = lines.join("\n");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/x-own\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_may_be_unix_sockets_under_either_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target.sock");
    let _target = unix_target(&path);
    let encoded = path.to_str().unwrap().replace('/', "%2F");
    for scheme in ["http+unix", "unix+http"] {
        let seen = same(async |which| {
            let process = Process::start(&which, &[]).await;
            process.route("/x", &format!("{scheme}://{encoded}/base")).await;
            let answer = ask(&process, &get("/x/y?z")).await;
            (answer.status(), lines(&answer))
        })
        .await;
        assert_eq!(seen.0, 200);
        assert!(seen.1.iter().any(|line| line == "get /base/x/y?z http/1.1"), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn error_target_may_be_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("errors.sock");
    let _target = unix_target(&path);
    let errors = format!("http+unix://{}/err", path.to_str().unwrap().replace('/', "%2F"));
    let seen = same(async |which| {
        let process = Process::start(&which, &["--error-target", &errors]).await;
        let answer = ask(&process, &get("/x?y")).await;
        let asked = answer.text().lines().find(|line| line.starts_with("get ")).map(str::to_owned);
        (answer.status(), answer.header("content-type").map(str::to_owned), asked)
    })
    .await;
    let asked = Some("get /err/404?url=%2fx%3fy http/1.1".to_owned());
    assert_eq!(seen, (404, Some("text/x-own".to_owned()), asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_error_pages_type_and_encoding_are_taken_over() {
    let errors = Target::fixed(
        "HTTP/1.1 200 OK\r\nContent-Type: text/x-own\r\nContent-Encoding: x-own\r\nSet-Cookie: a=1\r\nX-Own: 1\r\n\
         Content-Length: 2\r\n\r\nok",
    )
    .await;
    let page = format!("http://{}/err", errors.address);
    let seen = same(async |which| {
        let process = Process::start(&which, &["--error-target", &page]).await;
        let answer = ask(&process, &get("/x")).await;
        let has = |name: &str| answer.header(name).map(str::to_owned);
        (
            answer.status(),
            has("content-type"),
            has("content-encoding"),
            has("set-cookie"),
            has("x-own"),
            answer.text(),
        )
    })
    .await;
    let own = |text: &str| Some(text.to_owned());
    assert_eq!(seen, (404, own("text/x-own"), own("x-own"), None, None, "ok".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_takes_the_token_in_the_same_forms() {
    let forms = [
        "token a-test-token",
        "token   a-test-token",
        "token\ta-test-token",
        "token a-test-token and more",
        "before token a-test-token",
        "xtoken a-test-token",
        "token tokena token a-test-token",
        "Token a-test-token",
        "TOKEN a-test-token",
        "Bearer a-test-token",
        "Basic a-test-token",
        "a-test-token",
        "token",
        "tokena-test-token",
        "token wrong",
        "token a-test-toke",
        "token a-test-tokens",
        "",
    ];
    let seen = same(async |which| {
        let process = Process::start(&which, &[]).await;
        let mut statuses = Vec::new();
        for form in forms {
            let mut raw = Raw::connect(process.api).await;
            raw.send(format!(
                "GET /api/routes HTTP/1.1\r\nHost: h\r\nAuthorization: {form}\r\nConnection: close\r\n\r\n"
            ))
            .await;
            statuses.push((form, raw.response().await.status()));
        }
        statuses
    })
    .await;
    let allowed = seen.iter().filter(|(_, status)| *status == 200).count();
    assert_eq!((allowed, seen[0].1, seen[7].1, seen[9].1), (6, 200, 403, 403), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_of_the_metrics_port_are_404() {
    let seen = same(async |which| {
        let metrics = dead_address().await;
        let port = metrics.port().to_string();
        let flags = ["--metrics-ip", "127.0.0.1", "--metrics-port", &port];
        let _process = Process::start(&which, &flags).await;
        let mut statuses = Vec::new();
        for path in ["/metrics", "/", "/metrics/", "/metricsx", "/api/routes"] {
            let mut raw = Raw::connect(metrics).await;
            raw.send(get(path)).await;
            let answer = raw.response().await;
            let text = if answer.status() == 200 { String::new() } else { answer.text() };
            statuses.push((answer.status(), text));
        }
        statuses
    })
    .await;
    assert_eq!(seen[0].0, 200);
    assert!(seen[1..].iter().all(|(status, text)| *status == 404 && text == "Not Found"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_needs_a_host() {
    let (key, certificate) = (fixture("leaf-key.pem"), fixture("leaf.pem"));
    let status = same(async |which| {
        let redirect = dead_address().await;
        let port = redirect.port().to_string();
        let flags = ["--ssl-key", key.as_str(), "--ssl-cert", &certificate, "--redirect-port", &port];
        let _process = Process::start(&which, &flags).await;
        patiently(async {
            while tokio::net::TcpStream::connect(redirect).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        let mut raw = Raw::connect(redirect).await;
        raw.send("GET /x HTTP/1.0\r\n\r\n").await;
        raw.response().await.status()
    })
    .await;
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn version_and_help_are_told_and_no_proxy_started() {
    for flag in ["--version", "-V", "--help", "-h"] {
        let ended = same(async |which| Process::spawn_bare(&which, &[flag], &[]).ended().await.code()).await;
        assert_eq!(ended, Some(0), "{flag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_is_all_addresses() {
    same(async |which| {
        let process = Process::start(&which, &["--ip", "*"]).await;
        let mut raw = Raw::connect(([127, 0, 0, 2], process.public.port()).into()).await;
        raw.send(get("/_chp_healthz")).await;
        assert_eq!(raw.response().await.status(), 200);
    })
    .await;
}
