//! Routes as requests meet them.

use std::sync::Arc;

use hub_proxy::{ProxyOptions, RouteTable};
use serde_json::Map;

use super::support::{Raw, Target, TestProxy, options, patiently};

#[tokio::test]
async fn requests_go_to_the_longest_matching_route() {
    let (hub, user) = (Target::echo("hub").await, Target::echo("user").await);
    let proxy = TestProxy::to(hub.address);
    proxy.route("/user/alice", user.address);
    for (path, name) in [
        ("/user/alice", "user"),
        ("/user/alice/lab?x", "user"),
        ("/user/ali%63e/", "user"),
        ("/user/alice2", "hub"),
        ("/user/bob/../alice/x", "user"),
        ("/user/alice/../bob", "hub"),
        ("//user/alice/x", "hub"),
        ("/hub", "hub"),
    ] {
        let text = proxy.get(path).await.text();
        assert!(text.starts_with(&format!("{name}\n")), "{path}: {text}");
    }
}

#[tokio::test]
async fn proxy_and_target_agree_about_a_path_with_dot_segments() {
    let user = Target::echo("user").await;
    let proxy = TestProxy::to(user.address);
    proxy.route("/user/alice", user.address);
    for (path, forwarded) in [
        ("/user/bob/../alice/x?q=../y", "/user/alice/x?q=../y"),
        ("/user/alice/%2e%2e/bob", "/user/bob"),
        ("/user/alice/a%2fb", "/user/alice/a%2fb"),
        ("/user/alice//d", "/user/alice//d"),
    ] {
        let text = proxy.get(path).await.text();
        assert!(text.contains(&format!("GET {forwarded} HTTP/1.1\n")), "{path}: {text}");
    }
}

#[tokio::test]
async fn base_urls_with_blanks_at_signs_and_other_scripts_match() {
    let (hub, user) = (Target::echo("hub").await, Target::echo("user").await);
    let proxy = TestProxy::start(options());
    proxy.route("/@/space word/", hub.address);
    proxy.route("/@/space word/user/jörg@b.c", user.address);
    for (path, name) in [
        ("/@/space%20word/hub/login", "hub"),
        ("/%40/space%20word/", "hub"),
        ("/@/space%20word/user/j%C3%B6rg@b.c/lab", "user"),
        ("/@/space%20word/user/j%c3%b6rg%40b.c", "user"),
    ] {
        let answer = proxy.get(path).await;
        let expected = format!("{name}\nGET {path} HTTP/1.1\n");
        assert!(answer.text().starts_with(&expected), "{path}: {}", answer.text());
    }
    assert_eq!(proxy.get("/@/space+word/").await.status(), 404);
}

#[tokio::test]
async fn the_routes_own_part_of_the_path_can_be_left_out() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::start(ProxyOptions { include_prefix: false, ..options() });
    let base = format!("http://{}/base/", target.address);
    proxy.routes.add("/a b/c", &base, Map::new()).unwrap();
    proxy.route("/", target.address);
    for (path, forwarded) in
        [("/a%20b/c/d%20e?x", "/base/d%20e?x"), ("/a%20b/c", "/base/"), ("/other", "/other")]
    {
        let text = proxy.get(path).await.text();
        assert!(text.contains(&format!("GET {forwarded} HTTP/1.1\n")), "{path}: {text}");
    }
}

#[tokio::test]
async fn the_targets_path_can_be_left_out() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::start(ProxyOptions { prepend_path: false, ..options() });
    let base = format!("http://{}/base/?k=v", target.address);
    proxy.routes.add("/", &base, Map::new()).unwrap();
    assert!(proxy.get("/x?y").await.text().contains("GET /x?y HTTP/1.1\n"));
}

#[tokio::test]
async fn host_routing_picks_the_route_by_host() {
    let (hub, user) = (Target::echo("hub").await, Target::echo("user").await);
    let proxy = TestProxy::start_with(options(), RouteTable::new(true));
    proxy.route("/", hub.address);
    proxy.route("/alice.hub.test/user/alice", user.address);
    for (host, path, name) in [
        ("alice.hub.test", "/user/alice/lab", "user"),
        ("alice.hub.test:8000", "/user/alice/lab", "user"),
        ("alice.hub.test", "/user/bob", "hub"),
        ("hub.test", "/user/alice/lab", "hub"),
        ("[::1]:80", "/user/alice", "hub"),
    ] {
        let text = proxy.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.text();
        assert!(text.starts_with(&format!("{name}\nGET {path} ")), "{host}{path}: {text}");
    }
}

#[tokio::test]
async fn host_and_redirects_can_be_rewritten() {
    let target = Target::start(|mut raw: Raw, _| async move {
        let own = raw.stream.local_addr().unwrap();
        while let Some(request) = raw.request().await {
            let location = match request.target() {
                "/own" => format!("http://{own}/next?x=1"),
                "/other" => "http://elsewhere.test/next".to_owned(),
                _ => "/relative".to_owned(),
            };
            let host = request.header("host").unwrap().to_owned();
            raw.send(format!(
                "HTTP/1.1 302 Found\r\nLocation: {location}\r\nX-Host: {host}\r\nContent-Length: 0\r\n\r\n"
            ))
            .await;
        }
    })
    .await;
    let proxy = TestProxy::with(
        ProxyOptions {
            change_origin: true,
            auto_rewrite: true,
            protocol_rewrite: Some("https".to_owned()),
            custom_headers: vec![("X-Mine".to_owned(), "1".to_owned())],
            ..options()
        },
        target.address,
    );
    let location = async |path: &str| {
        let answer = proxy.ask(&format!("GET {path} HTTP/1.1\r\nHost: public.test:8443\r\n\r\n")).await;
        assert_eq!(answer.header("x-host"), Some(target.address.to_string().as_str()));
        answer.header("location").unwrap().to_owned()
    };
    assert_eq!(location("/own").await, "https://public.test:8443/next?x=1");
    assert_eq!(location("/other").await, "http://elsewhere.test/next");
    assert_eq!(location("/").await, "/relative");
}

#[tokio::test]
async fn custom_headers_are_set_and_forwarded_headers_can_be_left_out() {
    let target = Target::echo("one").await;
    let proxy = TestProxy::with(
        ProxyOptions {
            x_forward: false,
            custom_headers: vec![("X-Mine".to_owned(), "1".to_owned()), ("X-Two".to_owned(), String::new())],
            ..options()
        },
        target.address,
    );
    let text = proxy.ask("GET / HTTP/1.1\r\nHost: h\r\nX-Mine: theirs\r\n\r\n").await.text();
    assert!(text.contains("\nx-mine: 1\n") && text.contains("\nx-two: \n"), "{text}");
    assert!(!text.contains("theirs") && !text.contains("x-forwarded"), "{text}");
}

#[tokio::test]
async fn the_mark_goes_to_the_hub_and_to_nobody_else() {
    let target = Target::echo("one").await;
    let mark = ("X-Mark".to_owned(), "secret".to_owned());
    let proxy = TestProxy::with(ProxyOptions { hub_mark: Some(mark), ..options() }, target.address);
    let address = format!("http://{}", target.address);
    let hub = serde_json::Map::from_iter([("hub".to_owned(), true.into())]);
    proxy.routes.add("/hub", &address, hub).unwrap();
    let user =
        serde_json::Map::from_iter([("user".to_owned(), "ada".into()), ("hub".to_owned(), false.into())]);
    proxy.routes.add("/user/ada", &address, user).unwrap();
    let ask = async |path: &str| {
        proxy
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nX-Mark: theirs\r\nX-Mark: too\r\n\r\n"))
            .await
            .text()
    };
    let text = ask("/hub/login").await;
    assert!(
        text.contains("\nx-mark: secret\n") && !text.contains("theirs") && !text.contains("too"),
        "{text}"
    );
    assert!(!ask("/user/ada/").await.contains("secret"));
    assert!(!ask("/").await.contains("secret"));
}

#[tokio::test]
async fn activity_counts_successes_and_not_redirects_or_errors() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            let status = request.target().trim_start_matches('/').to_owned();
            raw.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\nx")).await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut last = proxy.routes.get("/").unwrap().last_activity;
    for (path, counts) in [("/302", false), ("/404", false), ("/500", false), ("/200", true), ("/201", true)]
    {
        let later = std::time::SystemTime::from(last) + std::time::Duration::from_millis(2);
        super::support::until(|| std::time::SystemTime::now() > later).await;
        assert_eq!(proxy.get(path).await.status().to_string(), path[1..]);
        let now = proxy.routes.get("/").unwrap().last_activity;
        assert_eq!(now > last, counts, "{path}");
        last = now;
    }
}

#[tokio::test]
async fn routes_change_under_load_without_a_failed_request() {
    let (one, two) = (Target::echo("one").await, Target::echo("two").await);
    let proxy = Arc::new(TestProxy::to(one.address));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let proxy = Arc::clone(&proxy);
        clients.spawn(async move {
            let mut raw = proxy.connect().await;
            for _ in 0..200 {
                raw.send("GET /user/a HTTP/1.1\r\nHost: h\r\n\r\n").await;
                let answer = raw.response().await;
                assert_eq!(answer.status(), 200);
                assert!(answer.text().starts_with("one\n") || answer.text().starts_with("two\n"));
            }
        });
    }
    let changing = {
        let proxy = Arc::clone(&proxy);
        let (one, two) = (one.address, two.address);
        tokio::spawn(async move {
            for round in 0u32.. {
                proxy.route("/user/a", if round % 2 == 0 { two } else { one });
                proxy.route(&format!("/user/{}", round % 100), one);
                proxy.routes.remove("/user/a");
                tokio::task::yield_now().await;
            }
        })
    };
    patiently(async {
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
    })
    .await;
    changing.abort();
}
