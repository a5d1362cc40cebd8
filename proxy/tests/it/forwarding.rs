//! Requests and responses as they pass through.

use std::sync::Arc;

use serde_json::Map;
use tokio::sync::Semaphore;

use super::support::{Raw, Target, TestProxy, options};

#[tokio::test]
async fn a_request_is_forwarded_and_its_answer_relayed() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::to(target.address);
    let answer = proxy
        .ask("POST /a/b?c=d%20e HTTP/1.1\r\nHost: h.test:81\r\nX-Mine: 1\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(answer.status(), 200);
    let text = answer.text();
    for line in [
        "one\nPOST /a/b?c=d%20e HTTP/1.1\n",
        "\nhost: h.test:81\n",
        "\nx-mine: 1\n",
        "\ncontent-length: 3\n",
        "\nx-forwarded-for: 127.0.0.1\n",
        "\nx-forwarded-port: 81\n",
        "\nx-forwarded-proto: http\n",
        "\nx-forwarded-host: h.test:81\n",
        "\nbody abc\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in {text}");
    }
}

#[tokio::test]
async fn forwarded_headers_are_appended_to_those_that_came() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::to(target.address);
    let text = proxy
        .ask(
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Host: public\r\n\r\n",
        )
        .await
        .text();
    for line in [
        "\nx-forwarded-for: 1.1.1.1, 2.2.2.2,127.0.0.1\n",
        "\nx-forwarded-proto: https,http\n",
        "\nx-forwarded-port: 443,80\n",
        "\nx-forwarded-host: public\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in {text}");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_and_those_named_by_connection_are_dropped_both_ways() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
            let body = names.join(" ");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Back\r\nX-Back: 1\r\nKeep-Alive: timeout=9\r\n\
                 Proxy-Authenticate: x\r\nX-Stays: 1\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            raw.send(answer).await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let answer = proxy
        .ask(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-One\r\nConnection: x-two, content-length\r\n\
             X-One: 1\r\nX-Two: 2\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n\
             Upgrade: h2c\r\nTE: gzip\r\nX-Three: 3\r\n\r\n",
        )
        .await;
    assert_eq!(
        answer.text(),
        "host x-three x-forwarded-for x-forwarded-port x-forwarded-proto x-forwarded-host"
    );
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x-stays"]);
}

#[tokio::test]
async fn many_requests_share_one_client_connection_and_one_target_connection() {
    let target = Target::start(|mut raw: Raw, number| async move {
        while raw.request().await.is_some() {
            raw.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{number:02}")).await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    for _ in 0..20 {
        raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.response().await.text(), "01");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    let request = |number| format!("POST /{number} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd");
    let all: String = (0..10).map(request).collect();
    raw.send(all).await;
    for number in 0..10 {
        assert!(raw.response().await.text().contains(&format!("POST /{number} HTTP/1.1")));
    }
}

#[tokio::test]
async fn http_1_0_clients_get_answers_without_chunks_and_a_host_is_made_up() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            let host = request.header("host").unwrap_or("none").to_owned();
            raw.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{host}\r\n0\r\n\r\n",
                host.len()
            ))
            .await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let answer = proxy.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.text(), target.address.to_string());
}

#[tokio::test]
async fn head_and_not_modified_keep_their_length_and_have_no_body() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            raw.send(match request.target() {
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            })
            .await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    for _ in 0..3 {
        raw.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = raw.response_to("HEAD").await;
        assert_eq!((answer.status(), answer.header("content-length")), (200, Some("1234")));
        raw.send("HEAD /chunked HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.response_to("HEAD").await.status(), 200);
        raw.send("GET /304 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = raw.response().await;
        assert_eq!((answer.status(), answer.header("etag")), (304, Some("x")));
        raw.send("GET /204 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = raw.response().await;
        assert_eq!((answer.status(), answer.header("content-length")), (204, None));
    }
}

#[tokio::test]
async fn the_reason_phrase_and_repeated_headers_survive() {
    let target = Target::fixed(
        "HTTP/1.1 299 Quite Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let proxy = TestProxy::to(target.address);
    let answer = proxy.get("/").await;
    assert_eq!(answer.first, "HTTP/1.1 299 Quite Fine");
    let cookies: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    assert_eq!(cookies.len(), 2);
}

#[tokio::test]
async fn delete_and_options_without_a_body_say_so() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::to(target.address);
    for method in ["DELETE", "OPTIONS"] {
        let text = proxy.ask(&format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")).await.text();
        assert!(text.contains("\ncontent-length: 0\n"), "{text}");
    }
    let text = proxy
        .ask("DELETE / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        .await
        .text();
    assert!(text.contains("\nbody ab\n"), "a chunked body of DELETE is forwarded: {text}");
}

#[tokio::test]
async fn the_targets_path_and_query_are_put_in_front() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::start(options());
    let base = format!("http://{}/base/?key=1", target.address);
    proxy.routes.add("/user/a", &base, Map::new()).unwrap();
    assert!(proxy.get("/user/a/x?y=2").await.text().contains("GET /base/user/a/x?key=1&y=2 HTTP/1.1"));
    assert!(proxy.get("/user/a").await.text().contains("GET /base/user/a?key=1 HTTP/1.1"));
}

#[tokio::test]
async fn events_arrive_as_soon_as_they_are_sent() {
    // The next event is sent only when the client has seen the one before.
    let seen = Arc::new(Semaphore::new(1));
    let gate = Arc::clone(&seen);
    let target = Target::start(move |mut raw: Raw, _| {
        let gate = Arc::clone(&gate);
        async move {
            raw.request().await;
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            raw.send(head).await;
            for number in 0..3 {
                gate.acquire().await.unwrap().forget();
                raw.send(format!("9\r\ndata: {number}\n\n\r\n")).await;
            }
            raw.send("0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.head().await.unwrap().header("content-type"), Some("text/event-stream"));
    for number in 0..3 {
        assert_eq!(raw.chunk().await, format!("data: {number}\n\n").as_bytes());
        seen.add_permits(1);
    }
    assert_eq!(raw.chunk().await, b"");
}

#[tokio::test]
async fn absolute_targets_are_forwarded_in_origin_form_under_their_own_host() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::to(target.address);
    let text = proxy.ask("GET http://real.test/a?b HTTP/1.1\r\nHost: other.test\r\n\r\n").await.text();
    assert!(text.contains("GET /a?b HTTP/1.1\n"), "{text}");
    assert!(text.contains("\nhost: real.test\n"), "{text}");
    let text = proxy.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").await.text();
    assert!(text.contains("OPTIONS * HTTP/1.1\n"), "{text}");
}

#[tokio::test]
async fn the_health_check_is_answered_without_any_route() {
    let proxy = TestProxy::start(options());
    let answer = proxy.get("/_chp_healthz").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, r#"{"status":"OK"}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}
