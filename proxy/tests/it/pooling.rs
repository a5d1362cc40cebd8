//! Connections to targets: kept, lost, bounded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hub_proxy::{
    ProxyOptions,
    options::{Limits, Timeouts},
};
use tokio::{sync::Semaphore, time::timeout};

use super::support::{Message, PATIENCE, Raw, Target, TestProxy, dead_address, options, patiently, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn one_worker() -> ProxyOptions {
    ProxyOptions { workers: std::num::NonZeroUsize::new(1), ..options() }
}

/// Serves one request for each connection, and closes when it sees the second.
async fn closing_after_one() -> (Target, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let target = Target::start(move |mut raw: Raw, _| {
        let count = Arc::clone(&count);
        async move {
            raw.request().await;
            count.fetch_add(1, Ordering::Relaxed);
            raw.send(OK).await;
            // The end comes only when the next request is under way: the worst moment.
            if raw.request().await.is_some() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await;
    (target, requests)
}

#[tokio::test]
async fn a_connection_that_its_target_closed_is_replaced_for_safe_requests() {
    let (target, _) = closing_after_one().await;
    let proxy = TestProxy::with(one_worker(), target.address);
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let mut raw = proxy.connect().await;
        for _ in 0..2 {
            raw.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            assert_eq!(raw.response_to(method).await.status(), 200, "{method}");
        }
    }
    assert!(proxy.metric("proxy_upstream_retries").unwrap().parse::<u32>().unwrap() >= 5);
}

#[tokio::test]
async fn a_request_that_may_have_been_acted_upon_is_not_sent_twice() {
    let (target, requests) = closing_after_one().await;
    let proxy = TestProxy::with(one_worker(), target.address);
    for body in ["Content-Length: 0\r\n\r\n", "Content-Length: 3\r\n\r\nabc"] {
        requests.store(0, Ordering::Relaxed);
        let mut raw = proxy.connect().await;
        raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.response().await.status(), 200);
        raw.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{body}")).await;
        assert_eq!(raw.response().await.status(), 503);
        assert_eq!(requests.load(Ordering::Relaxed), 2, "{body:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_nothing_even_for_posts() {
    let target = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        raw.send(OK).await;
    })
    .await;
    let proxy = TestProxy::with(one_worker(), target.address);
    let mut raw = proxy.connect().await;
    for _ in 0..20 {
        raw.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").await;
        let status = raw.response().await.status();
        assert_eq!(status, 200);
        // Long enough for the end of the connection to arrive.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_gives_its_place_back() {
    // Whatever the exchange was: with a body it has a task of its own for a while.
    for request in
        ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"]
    {
        let close = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&close);
        let target = Target::start(move |mut raw: Raw, _| {
            let gate = Arc::clone(&gate);
            async move {
                raw.request().await;
                raw.send(OK).await;
                gate.acquire().await.unwrap().forget();
            }
        })
        .await;
        let proxy = TestProxy::with(one_worker(), target.address);
        let mut raw = proxy.connect().await;
        raw.send(request).await;
        assert_eq!(raw.response().await.status(), 200);
        assert_eq!(proxy.metric("proxy_open_upstream_connections").as_deref(), Some("1"));
        close.add_permits(1);
        // Nobody asks for anything meanwhile.
        until(|| proxy.metric("proxy_open_upstream_connections").as_deref() == Some("0")).await;
    }
}

#[tokio::test]
async fn one_connection_serves_requests_with_and_without_bodies_in_turn() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let target = Target::start(move |mut raw: Raw, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { while raw.request().await.is_some() && raw.try_send(OK).await.is_ok() {} }
    })
    .await;
    let proxy = TestProxy::with(one_worker(), target.address);
    let mut raw = proxy.connect().await;
    for _ in 0..10 {
        for request in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        ] {
            raw.send(request).await;
            assert_eq!(raw.response().await.status(), 200);
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_target_that_always_closes_is_tried_twice_at_most() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let target = Target::start(move |mut raw: Raw, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            raw.request().await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    assert_eq!(proxy.get("/").await.status(), 503);
    assert_eq!(connections.load(Ordering::Relaxed), 1, "a fresh connection is no excuse to try again");
    assert_eq!(proxy.metric(r#"proxy_upstream_errors{class="broken"}"#).as_deref(), Some("1"));
}

#[tokio::test]
async fn idle_connections_are_closed_after_a_while() {
    let ended = Arc::new(Semaphore::new(0));
    let seen = Arc::clone(&ended);
    let target = Target::start(move |mut raw: Raw, _| {
        let seen = Arc::clone(&seen);
        async move {
            raw.request().await;
            raw.send(OK).await;
            assert!(raw.is_closed().await);
            seen.add_permits(1);
        }
    })
    .await;
    let timeouts = Timeouts { upstream_idle: Duration::from_millis(50), ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, target.address);
    assert_eq!(proxy.get("/").await.status(), 200);
    patiently(ended.acquire()).await.unwrap().forget();
}

/// Answers when told to.
async fn waiting() -> (Target, Arc<Semaphore>) {
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let target = Target::start(move |mut raw: Raw, _| {
        let gate = Arc::clone(&gate);
        async move {
            while raw.request().await.is_some() {
                gate.acquire().await.unwrap().forget();
                if raw.try_send(OK).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (target, release)
}

/// With clients that have no bound of their own: all of a test come from one address.
fn unshared(limits: Limits) -> ProxyOptions {
    let everybody = "127.0.0.0/8".parse().unwrap();
    ProxyOptions { limits, trusted_proxies: Some(vec![everybody]), ..options() }
}

#[tokio::test]
async fn a_request_beyond_the_bound_of_connections_is_answered_503_and_others_go_on() {
    for limits in [
        Limits { connections_per_target: 2, ..Limits::default() },
        Limits { upstream_connections: 2, ..Limits::default() },
    ] {
        let (target, release) = waiting().await;
        let proxy = TestProxy::with(unshared(limits), target.address);
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut raw = proxy.connect().await;
            raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            held.push(raw);
        }
        until(|| proxy.metric("requests_web").as_deref() == Some("2")).await;
        // Both have their connections by now or will be refused themselves, never both and a third one.
        let mut answers = vec![proxy.get("/").await];
        let websocket = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let refused = proxy.ask(websocket).await;
        assert_eq!(
            (refused.status(), refused.header("retry-after"), refused.text()),
            (503, Some("1"), String::new())
        );
        release.add_permits(10);
        for raw in &mut held {
            answers.push(raw.response().await);
        }
        answers.sort_unstable_by_key(Message::status);
        let [one, two, refused] = answers.as_slice() else { panic!("three were asked") };
        assert_eq!([one, two, refused].map(Message::status), [200, 200, 503]);
        // The target is well, and is not said to be anything else.
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(refused.text().contains("no more connections to this server"), "{}", refused.text());
        assert_eq!(proxy.metric(r#"proxy_upstream_errors{class="busy"}"#).as_deref(), Some("2"));
        assert_eq!(proxy.get("/").await.status(), 200);
    }
}

#[tokio::test]
async fn a_request_that_waits_for_a_place_gets_that_of_one_which_ended() {
    let limits = Limits { connections_per_target: 2, ..Limits::default() };
    let timeouts = Timeouts { place: PATIENCE, ..Timeouts::default() };
    let (target, release) = waiting().await;
    let proxy = TestProxy::with(ProxyOptions { limits, timeouts, ..options() }, target.address);
    let mut held = Vec::new();
    for number in 1..=3 {
        let mut raw = proxy.connect().await;
        raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        held.push(raw);
        until(|| proxy.metric("requests_web") == Some(number.to_string())).await;
    }
    // All three answer soon, though the target keeps its connections.
    release.add_permits(10);
    for raw in &mut held {
        assert_eq!(timeout(PATIENCE / 4, raw.response()).await.expect("soon").status(), 200);
    }
}

#[tokio::test]
async fn a_client_connection_beyond_the_bound_is_told_so() {
    let target = Target::fixed(OK).await;
    let limits = Limits { client_connections: 1, ..Limits::default() };
    let proxy = TestProxy::with(ProxyOptions { limits, ..options() }, target.address);
    let mut first = proxy.connect().await;
    first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(first.response().await.status(), 200);
    let mut second = proxy.connect().await;
    assert_eq!(second.response().await.status(), 503);
    assert_eq!(proxy.metric("proxy_refused_connections").as_deref(), Some("1"));
    drop(first);
    patiently(async {
        while proxy.get("/").await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_client_that_is_still_sending_is_not_reset() {
    let limits = Limits { client_connections: 1, ..Limits::default() };
    let proxy = TestProxy::start(ProxyOptions { limits, ..options() });
    let _first = proxy.connect().await;
    until(|| proxy.metric("proxy_open_connections").as_deref() == Some("1")).await;
    let mut second = proxy.connect().await;
    assert_eq!(second.response().await.status(), 503);
    // Far less than is listened to, at once: on a busy machine the time for that may be over between two pieces.
    // A reset would have arrived by the second piece, and would have taken an answer along that was not read yet.
    for _ in 0..2 {
        second.send(vec![b'x'; 15_000]).await;
    }
    second.half_close().await;
    // Were there bytes left that nobody had read, the end would be a reset.
    let end = patiently(tokio::io::AsyncReadExt::read(&mut second.stream, &mut [0; 16])).await;
    assert_eq!(end.unwrap(), 0);
}

#[tokio::test]
async fn one_client_cannot_take_all_connections_to_targets() {
    let (target, release) = waiting().await;
    let limits = Limits { upstream_connections: 8, ..Limits::default() };
    let proxy = TestProxy::with(ProxyOptions { limits, proxy_protocol: true, ..options() }, target.address);
    let ask = async |client: &str| {
        let mut raw = proxy.connect().await;
        raw.send(format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        raw
    };
    let mut held = Vec::new();
    for number in 1..=6 {
        held.push(ask("192.0.2.1").await);
        until(|| proxy.metric("proxy_open_upstream_connections") == Some(number.to_string())).await;
    }
    assert_eq!(ask("192.0.2.1").await.response().await.status(), 503);
    let mut other = ask("192.0.2.2").await;
    release.add_permits(100);
    assert_eq!(other.response().await.status(), 200);
    for raw in &mut held {
        assert_eq!(raw.response().await.status(), 200);
    }
    // Connections that are kept without a request count for a moment only.
    patiently(async { while ask("192.0.2.1").await.response().await.status() != 200 {} }).await;
}

#[tokio::test]
async fn the_hub_has_a_place_when_the_servers_have_taken_all_others() {
    let (target, release) = waiting().await;
    let hub = Target::fixed(OK).await;
    let limits = Limits { upstream_connections: 8, ..Limits::default() };
    let proxy = TestProxy::with(unshared(limits), hub.address);
    proxy.route("/user/a", target.address);
    let mut held = Vec::new();
    for number in 1..=7 {
        let mut raw = proxy.connect().await;
        raw.send("GET /user/a HTTP/1.1\r\nHost: h\r\n\r\n").await;
        held.push(raw);
        until(|| proxy.metric("proxy_open_upstream_connections") == Some(number.to_string())).await;
    }
    assert_eq!(proxy.get("/user/a").await.status(), 503);
    assert_eq!(proxy.get("/hub/home").await.status(), 200);
    release.add_permits(100);
    for raw in &mut held {
        assert_eq!(raw.response().await.status(), 200);
    }
}

#[tokio::test]
async fn greedy_routes_leave_places_for_the_next_one() {
    const GREEDY: usize = 5;
    let (target, release) = waiting().await;
    let mut targets = Vec::new();
    // As by default, each may take a quarter of all.
    let limits = Limits { upstream_connections: 200, connections_per_target: 50, ..Limits::default() };
    let timeouts = Timeouts { place: Duration::ZERO, ..Timeouts::default() };
    let proxy = TestProxy::start(ProxyOptions { timeouts, ..unshared(limits) });
    let mut held = Vec::new();
    let mut taken = Vec::new();
    for number in 0..GREEDY {
        let (target, release) = waiting().await;
        let path = format!("/user/{number}");
        proxy.route(&path, target.address);
        targets.push((target, release));
        // As many as it gets: the first that is refused is answered at once.
        let before = held.len();
        loop {
            let mut raw = proxy.connect().await;
            raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            let open = (held.len() + 1).to_string();
            let answered = tokio::select! {
                answer = raw.response() => Some(answer.status()),
                () = until(|| proxy.metric("proxy_open_upstream_connections").as_ref() == Some(&open)) => None,
            };
            match answered {
                None => held.push(raw),
                Some(status) => break assert_eq!(status, 503),
            }
        }
        taken.push(held.len() - before);
    }
    assert!(taken.iter().all(|taken| *taken > 0) && taken[..3] == [50; 3], "{taken:?}");
    // One that asks for little gets it, whatever the others hold.
    proxy.route("/user/quiet", target.address);
    release.add_permits(1);
    assert_eq!(proxy.get("/user/quiet").await.status(), 200);
}

/// An address where connecting ends in silence: nobody accepts, and the queue is full.
fn silent_address() -> (std::net::SocketAddr, Vec<socket2::Socket>) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..4 {
        let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address.into());
        fillers.push(filler);
    }
    fillers.push(listener);
    (address, fillers)
}

#[tokio::test]
async fn requests_to_a_target_that_cannot_be_reached_do_not_all_wait_for_it() {
    let (address, mut held) = silent_address();
    let connect = Duration::from_secs(4);
    let timeouts = Timeouts { connect, ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, address);
    assert_eq!(proxy.get("/").await.status(), 503);
    // One a second may try again.
    let asked = (0..16).map(|_| async {
        let begin = std::time::Instant::now();
        assert_eq!(proxy.get("/").await.status(), 503);
        begin.elapsed()
    });
    let times = futures_util::future::join_all(asked).await;
    let slow = times.iter().filter(|time| **time >= connect).count();
    assert!(slow <= 4, "{times:?}");
    let class = |name: &str| {
        proxy
            .metric(&format!(r#"proxy_upstream_errors{{class="{name}"}}"#))
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    assert_eq!((class("connect_timeout"), class("unreachable")), (1 + slow, 16 - slow));

    // The server comes to life: one request finds it, and then all do.
    let listener: std::net::TcpListener = held.pop().unwrap().into();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut raw = Raw::new(stream);
                while raw.request().await.is_some() && raw.try_send(OK).await.is_ok() {}
            });
        }
    });
    patiently(async { while proxy.get("/").await.status() != 200 {} }).await;
    for _ in 0..16 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    serving.abort();
}

#[tokio::test]
async fn a_target_that_refused_is_asked_again_at_once() {
    let address = dead_address().await;
    let proxy = TestProxy::with(options(), address);
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status(), 503);
    }
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let answering = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut raw = Raw::new(stream);
        raw.request().await;
        raw.send(OK).await;
    });
    assert_eq!(proxy.get("/").await.status(), 200);
    answering.await.unwrap();
    assert_eq!(proxy.metric(r#"proxy_upstream_errors{class="unreachable"}"#).as_deref(), Some("0"));
}

#[tokio::test]
async fn connecting_is_given_up_after_a_while() {
    let (address, _held) = silent_address();
    let timeouts = Timeouts { connect: Duration::from_millis(100), ..Timeouts::default() };
    let proxy = TestProxy::with(ProxyOptions { timeouts, ..options() }, address);
    assert_eq!(proxy.get("/").await.status(), 503);
    assert_eq!(proxy.metric(r#"proxy_upstream_errors{class="connect_timeout"}"#).as_deref(), Some("1"));
}
