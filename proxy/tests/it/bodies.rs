//! Bodies: large, slow, chunked, refused, cut short.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hub_proxy::options::Timeouts;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    time::timeout,
};

use super::support::{Raw, Target, TestProxy, options, patiently, until};

const LARGE: usize = 20 * 1024 * 1024;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[tokio::test]
async fn twenty_megabytes_go_up_and_come_down_unchanged() {
    for chunked in [false, true] {
        let target = Target::start(move |mut raw: Raw, _| async move {
            while let Some(request) = raw.request().await {
                assert_eq!(request.header("transfer-encoding").is_some(), chunked);
                let head = if chunked {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()
                } else {
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len())
                };
                raw.send(head).await;
                if chunked {
                    for piece in request.body.chunks(100_001) {
                        raw.send(format!("{:x}\r\n", piece.len())).await;
                        raw.send(piece).await;
                        raw.send("\r\n").await;
                    }
                    raw.send("0\r\n\r\n").await;
                } else {
                    raw.send(&request.body).await;
                }
            }
        })
        .await;
        let proxy = TestProxy::to(target.address);
        let body = pattern(LARGE);
        let mut raw = proxy.connect().await;
        if chunked {
            raw.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for piece in body.chunks(70_003) {
                raw.send(format!("{:X};ext=1\r\n", piece.len())).await;
                raw.send(piece).await;
                raw.send("\r\n").await;
            }
            raw.send("0\r\n\r\n").await;
        } else {
            raw.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n")).await;
            raw.send(&body).await;
        }
        let answer = raw.response().await;
        assert_eq!(answer.status(), 200);
        assert!(answer.body == body, "the body came back changed");
        // The connection is still in step.
        raw.send("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
        if chunked {
            assert_eq!(raw.response().await.status(), 200);
        }
    }
}

/// Bytes that loopback sockets and the proxy's buffers may hold between two ends.
const IN_TRANSIT: usize = 32 * 1024 * 1024;
const ENDLESS: usize = 256 * 1024 * 1024;

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_target() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let target = Target::start(move |mut raw: Raw, _| {
        let counter = Arc::clone(&counter);
        async move {
            raw.request().await;
            raw.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {ENDLESS}\r\n\r\n")).await;
            let block = pattern(64 * 1024);
            while counter.load(Ordering::Relaxed) < ENDLESS {
                match raw.stream.write(&block).await {
                    Ok(count) => counter.fetch_add(count, Ordering::Relaxed),
                    Err(_) => return,
                };
            }
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.head().await.unwrap().status(), 200);
    let held = settled(&sent).await;
    assert!(held < IN_TRANSIT, "the target could send {held} bytes that nobody read");
    // Reading lets the target go on.
    raw.take(IN_TRANSIT).await;
    until(|| sent.load(Ordering::Relaxed) > held).await;
}

#[tokio::test]
async fn a_target_that_does_not_read_stops_its_client() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {ENDLESS}\r\n\r\n")).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        let block = pattern(64 * 1024);
        while let Ok(count) = raw.stream.write(&block).await {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    });
    let held = settled(&sent).await;
    assert!(held < IN_TRANSIT, "the client could send {held} bytes that nobody read");
    sending.abort();
}

/// The count once it has stopped growing.
async fn settled(count: &AtomicUsize) -> usize {
    patiently(async {
        let mut last = 0;
        let mut still = 0;
        while still < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = count.load(Ordering::Relaxed);
            still = if now > 0 && now == last { still + 1 } else { 0 };
            last = now;
        }
        last
    })
    .await
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            let got = format!("{:?} {:?}", request.header("te"), request.trailers);
            raw.send(format!(
                "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{got}\r\n0\r\nX-Sum: 42\r\n\r\n",
                got.len()
            ))
            .await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let answer = proxy
        .ask(
            "POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Digest\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Digest: 7\r\n\r\n",
        )
        .await;
    assert_eq!(answer.text(), r#"Some("trailers") [("x-digest", "7")]"#);
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[tokio::test]
async fn the_body_waits_for_the_targets_100_continue() {
    let allowed = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&allowed);
    let target = Target::start(move |mut raw: Raw, _| {
        let gate = Arc::clone(&gate);
        async move {
            let head = raw.head().await.unwrap();
            assert_eq!(head.header("expect"), Some("100-continue"));
            gate.acquire().await.unwrap().forget();
            raw.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            assert_eq!(raw.take(4).await, b"body");
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let slow = Timeouts { expect_continue: Duration::from_hours(1), ..Timeouts::default() };
    let proxy = TestProxy::with(hub_proxy::ProxyOptions { timeouts: slow, ..options() }, target.address);
    let mut raw = proxy.connect().await;
    raw.send(EXPECTING).await;
    assert!(
        timeout(Duration::from_millis(100), raw.head()).await.is_err(),
        "the client was told to go on before the target was"
    );
    allowed.add_permits(1);
    assert_eq!(raw.head().await.unwrap().status(), 100);
    raw.send("body").await;
    assert_eq!(raw.response().await.text(), "ok");
}

#[tokio::test]
async fn a_target_that_never_says_continue_gets_the_body_after_a_while() {
    let target = Target::echo("one").await;
    let brief = Timeouts { expect_continue: Duration::from_millis(20), ..Timeouts::default() };
    let proxy = TestProxy::with(hub_proxy::ProxyOptions { timeouts: brief, ..options() }, target.address);
    let mut raw = proxy.connect().await;
    raw.send(EXPECTING).await;
    assert_eq!(raw.head().await.unwrap().status(), 100);
    raw.send("body").await;
    assert!(raw.response().await.text().contains("\nbody body\n"));
}

#[tokio::test]
async fn a_final_answer_instead_of_100_continue_is_relayed_and_the_body_never_sent() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.head().await.unwrap();
        raw.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
        assert!(raw.is_closed().await, "a connection in the middle of a request cannot be used again");
    })
    .await;
    let slow = Timeouts { expect_continue: Duration::from_hours(1), ..Timeouts::default() };
    let proxy = TestProxy::with(hub_proxy::ProxyOptions { timeouts: slow, ..options() }, target.address);
    for _ in 0..2 {
        let mut raw = proxy.connect().await;
        raw.send(EXPECTING).await;
        let answer = raw.response().await;
        assert_eq!((answer.status(), answer.text().as_str()), (401, "no"));
    }
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.head().await.unwrap();
        raw.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig").await;
        raw.half_close().await;
        // Reads on a while, as a careful server does, so that the answer is not lost with a reset.
        let mut sink = vec![0; 64 * 1024];
        while raw.stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n").await;
    raw.send(vec![b'x'; 100_000]).await;
    let answer = raw.response().await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, "big"));
    // The rest is taken in, too: the connection is not reset under the client.
    raw.try_send(vec![b'x'; 1_000_000]).await.unwrap();
}

#[tokio::test]
async fn a_client_may_close_its_sending_side_and_still_gets_all_answers() {
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let target = Target::start(move |mut raw: Raw, _| {
        let gate = Arc::clone(&gate);
        async move {
            while let Some(request) = raw.request().await {
                gate.acquire().await.unwrap().forget();
                let body = request.target().repeat(1000);
                raw.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
            }
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    raw.half_close().await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    release.add_permits(2);
    assert_eq!(raw.response().await.text(), "/1".repeat(1000));
    assert_eq!(raw.response().await.text(), "/2".repeat(1000));
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn a_client_that_is_gone_ends_the_request_to_its_target() {
    let ended = Arc::new(Semaphore::new(0));
    let seen = Arc::clone(&ended);
    let target = Target::start(move |mut raw: Raw, _| {
        let seen = Arc::clone(&seen);
        async move {
            raw.request().await;
            seen.add_permits(1);
            assert!(raw.is_closed().await);
            seen.add_permits(1);
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    patiently(ended.acquire()).await.unwrap().forget();
    // A reset, as from a client that crashed.
    raw.stream.set_zero_linger().unwrap();
    drop(raw);
    patiently(ended.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn a_request_body_cut_short_never_looks_whole_to_the_target() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let target = Target::start(move |mut raw: Raw, _| {
        let tell = tell.clone();
        async move {
            raw.head().await.unwrap();
            let mut all = Vec::new();
            let _ = raw.stream.read_to_end(&mut all).await;
            let _ = tell.send(all);
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    for body in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut raw = proxy.connect().await;
        raw.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{body}")).await;
        raw.half_close().await;
        let got = String::from_utf8(patiently(told.recv()).await.unwrap()).unwrap();
        assert!(!got.contains("0\r\n\r\n") && got.len() < 10, "{got:?}");
    }
}

#[tokio::test]
async fn a_response_cut_short_never_looks_whole_to_the_client() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let target = Target::start(move |mut raw: Raw, _| async move {
            raw.request().await;
            raw.send(answer).await;
        })
        .await;
        let proxy = TestProxy::to(target.address);
        let mut raw = proxy.connect().await;
        raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.head().await.unwrap().status(), 200);
        let mut rest = Vec::new();
        let _ = patiently(raw.stream.read_to_end(&mut rest)).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
        assert_eq!(proxy.metric("proxy_broken_responses").as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn a_response_that_ends_with_its_connection_is_whole() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let answer = proxy.get("/").await;
    assert_eq!(answer.text(), "until the end");
}
