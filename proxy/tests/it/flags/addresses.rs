//! Flags about where to listen, and what listens there.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::{Process, Which, ask, fixture, get, refused, same};
use crate::{
    program::TOKEN,
    support::{Raw, Target, dead_address, patiently, until},
    tls_client::TlsClient,
};

/// Waits until somebody listens.
async fn listening(address: SocketAddr) {
    patiently(async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn local(host: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::from((host, port))
}

/// Two ports of which the second follows the first.
async fn two_ports() -> u16 {
    let mut last = dead_address().await.port();
    for _ in 0..100 {
        let next = dead_address().await.port();
        if next == last + 1 {
            return last;
        }
        last = next;
    }
    panic!("there are no two free ports in a row");
}

#[tokio::test(flavor = "multi_thread")]
async fn ip_and_port_are_where_clients_connect_and_nowhere_else() {
    let seen = same(async |which| {
        let (port, api) = (dead_address().await.port(), dead_address().await.port());
        let (text, api_text) = (port.to_string(), api.to_string());
        let flags = ["--ip", "127.0.0.2", "--port", &text, "--api-ip", "127.0.0.1", "--api-port", &api_text];
        let _process = Process::spawn_bare(&which, &flags, &[]);
        listening(local([127, 0, 0, 2], port)).await;
        TcpStream::connect(local([127, 0, 0, 1], port)).await.is_ok()
    })
    .await;
    assert!(!seen, "it listens elsewhere, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ip_all_addresses_are_listened_on() {
    same(async |which| {
        let (port, api) = (dead_address().await.port(), dead_address().await.port());
        let (text, api_text) = (port.to_string(), api.to_string());
        let flags = ["--port", &text, "--api-ip", "127.0.0.1", "--api-port", &api_text];
        let _process = Process::spawn_bare(&which, &flags, &[]);
        listening(local([127, 0, 0, 1], port)).await;
        listening(local([127, 0, 0, 2], port)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_api_port_the_api_is_on_the_next_port_of_localhost() {
    let seen = same(async |which| {
        let port = two_ports().await;
        let text = port.to_string();
        let _process = Process::spawn_bare(&which, &["--ip", "127.0.0.1", "--port", &text], &[]);
        let mut answered = false;
        // `localhost` may be either address family.
        patiently(async {
            while !answered {
                if let Ok(stream) = TcpStream::connect(("localhost", port + 1)).await {
                    let mut raw = Raw::new(stream);
                    raw.send(format!(
                        "GET /api/routes HTTP/1.1\r\nHost: h\r\nAuthorization: token {TOKEN}\r\n\
                         Connection: close\r\n\r\n"
                    ))
                    .await;
                    answered = raw.response().await.status() == 200;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        TcpStream::connect(local([127, 0, 0, 2], port + 1)).await.is_ok()
    })
    .await;
    assert!(!seen, "the API is open to others");
}

#[tokio::test(flavor = "multi_thread")]
async fn api_ip_and_api_port_are_where_the_api_is() {
    let seen = same(async |which| {
        let (port, api) = (dead_address().await.port(), dead_address().await.port());
        let (text, api_text) = (port.to_string(), api.to_string());
        let flags = ["--ip", "127.0.0.1", "--port", &text, "--api-ip", "127.0.0.2", "--api-port", &api_text];
        let _process = Process::spawn_bare(&which, &flags, &[]);
        listening(local([127, 0, 0, 2], api)).await;
        TcpStream::connect(local([127, 0, 0, 1], api)).await.is_ok()
    })
    .await;
    assert!(!seen, "it listens elsewhere, too");
}

/// The begin of an answer from a UNIX socket that is named by `flag`, the rest being on ports.
async fn over_socket(flag: &str, path: &str) -> String {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    same(async |which| {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let (port, api) = (dead_address().await.port().to_string(), dead_address().await.port().to_string());
        let mut flags = vec![flag, socket.to_str().unwrap(), "--default-target", &base];
        if flag != "--socket" {
            flags.extend(["--ip", "127.0.0.1", "--port", &port]);
        }
        if flag != "--api-socket" {
            flags.extend(["--api-ip", "127.0.0.1", "--api-port", &api]);
        }
        let _process = Process::spawn_bare(&which, &flags, &[]);
        until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        patiently(tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)).await.unwrap();
        answer.get(..12).unwrap_or_default().to_owned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_is_where_clients_connect() {
    assert_eq!(over_socket("--socket", "/x").await, "HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn api_socket_is_where_the_api_is() {
    assert_eq!(over_socket("--api-socket", "/api/routes").await, "HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_socket_is_where_metrics_are() {
    assert_eq!(over_socket("--metrics-socket", "/metrics").await, "HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_and_port_exclude_each_other() {
    refused(&["--socket", "/x", "--port", "1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_and_ip_exclude_each_other() {
    refused(&["--socket", "/x", "--ip", "127.0.0.1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_ip_and_metrics_port_are_where_metrics_are() {
    let seen = same(async |which| {
        let port = dead_address().await.port();
        let text = port.to_string();
        let _process = Process::start(&which, &["--metrics-ip", "127.0.0.2", "--metrics-port", &text]).await;
        listening(local([127, 0, 0, 2], port)).await;
        TcpStream::connect(local([127, 0, 0, 1], port)).await.is_ok()
    })
    .await;
    assert!(!seen, "it listens elsewhere, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_metrics_ip_metrics_are_on_all_addresses() {
    same(async |which| {
        let port = dead_address().await.port();
        let _process = Process::start(&which, &["--metrics-port", &port.to_string()]).await;
        listening(local([127, 0, 0, 1], port)).await;
        listening(local([127, 0, 0, 2], port)).await;
    })
    .await;
}

/// The metrics after requests of all kinds: the counts, and the kinds of metrics.
async fn metrics(which: &Which, base: &str) -> (Option<String>, Vec<String>, Vec<String>) {
    let names = [
        "api_route_get",
        "api_route_add",
        "api_route_delete",
        "find_target_for_req",
        "last_activity_updating",
        "requests_ws",
        "requests_web",
        "requests_proxy",
        "requests_api",
    ];
    let address = dead_address().await;
    let port = address.port().to_string();
    let flags = ["--metrics-ip", "127.0.0.1", "--metrics-port", &port, "--default-target", base];
    let process = Process::start(which, &flags).await;
    for path in ["/", "/x"] {
        assert_eq!(ask(&process, &get(path)).await.status(), 200);
    }
    process.route("/y", "http://127.0.0.1:9").await;
    assert_eq!(ask(&process, &get("/y")).await.status(), 503);
    assert_eq!(process.ask_api("GET", "/api/routes", "").await.0, 200);
    assert_eq!(process.ask_api("DELETE", "/api/routes/y", "").await.0, 204);
    let mut raw = Raw::connect(address).await;
    raw.send(get("/metrics")).await;
    let answer = raw.response().await;
    let text = answer.text();
    let is_count = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        // How often activity is noted differs; durations do, too.
        names.contains(&name) || name == "find_target_for_req_count"
    };
    let mut counts: Vec<String> =
        text.lines().filter(is_count).filter(|line| !line.contains("quantile")).map(str::to_owned).collect();
    counts.sort();
    let mut kinds: Vec<String> = text
        .lines()
        .filter(|line| {
            line.starts_with("# TYPE") && names.iter().any(|name| line.contains(&format!(" {name} ")))
        })
        .map(str::to_owned)
        .collect();
    kinds.sort();
    (answer.header("content-type").map(str::to_lowercase), counts, kinds)
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_kinds_and_counts_of_the_original() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let (_, counts, kinds) = same(async |which| metrics(&which, &base).await).await;
    assert!(counts.len() >= 7 && kinds.len() == 9, "{counts:?} {kinds:?}");
}

/// Where plain HTTP is sent, for hosts with a port and without. The public port is `PUBLIC` in it.
async fn redirected(to: Option<&str>) -> Vec<(u16, String)> {
    let (key, certificate) = (fixture("leaf-key.pem"), fixture("leaf.pem"));
    same(async |which| {
        let redirect = dead_address().await;
        let port = redirect.port().to_string();
        let mut flags = vec!["--ssl-key", key.as_str(), "--ssl-cert", &certificate, "--redirect-port", &port];
        flags.extend(to.map(|to| ["--redirect-to", to]).into_iter().flatten());
        let process = Process::start(&which, &flags).await;
        listening(redirect).await;
        let mut seen = Vec::new();
        for host in ["h", "h:80"] {
            let mut raw = Raw::connect(redirect).await;
            raw.send(format!("GET /a%20b?c HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
            let answer = raw.response().await;
            let public = process.public.port().to_string();
            let location = answer.header("location").unwrap_or_default().replace(&public, "PUBLIC");
            // A browser takes the port that it knows by itself for the same address.
            seen.push((answer.status(), location.replace(":443/", "/")));
        }
        seen
    })
    .await
}

fn twice(location: &str) -> Vec<(u16, String)> {
    vec![(301, location.to_owned()); 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_port_leads_plain_http_to_the_public_port() {
    assert_eq!(redirected(None).await, twice("https://h:PUBLIC/a%20b?c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_to_names_another_port() {
    assert_eq!(redirected(Some("8443")).await, twice("https://h:8443/a%20b?c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_to_443_needs_no_port_in_the_address() {
    assert_eq!(redirected(Some("443")).await, twice("https://h/a%20b?c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_port_is_on_all_addresses_whatever_ip_says() {
    let (key, certificate) = (fixture("leaf-key.pem"), fixture("leaf.pem"));
    same(async |which| {
        let port = dead_address().await.port();
        let text = port.to_string();
        let flags = ["--ssl-key", key.as_str(), "--ssl-cert", &certificate, "--redirect-port", &text];
        let _process = Process::start(&which, &flags).await;
        listening(local([127, 0, 0, 1], port)).await;
        listening(local([127, 0, 0, 2], port)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_port_is_not_opened_beside_a_socket() {
    let (key, certificate) = (fixture("leaf-key.pem"), fixture("leaf.pem"));
    let opened = same(async |which| {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let (redirect, api) = (dead_address().await, dead_address().await);
        let (redirect_port, api_port) = (redirect.port().to_string(), api.port().to_string());
        let flags = [
            ["--socket", socket.to_str().unwrap()],
            ["--api-ip", "127.0.0.1"],
            ["--api-port", &api_port],
            ["--ssl-key", &key],
            ["--ssl-cert", &certificate],
            ["--redirect-port", &redirect_port],
        ]
        .concat();
        let mut process = Process::spawn_bare(&which, &flags, &[]);
        process.api = api;
        listening(api).await;
        // Everything is opened before the first request is answered.
        assert_eq!(process.ask_api("GET", "/api/routes", "").await.0, 200);
        TcpStream::connect(redirect).await.is_ok()
    })
    .await;
    assert!(!opened, "it redirects to no port");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_port_without_tls_is_refused() {
    refused(&["--redirect-port", "8080"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flags_of_the_kubernetes_chart_work_together() {
    for tls in [false, true] {
        let target = Target::echo("hub").await;
        let hub = format!("--default-target=http://{}", target.address);
        let errors = format!("--error-target=http://{}/hub/error", target.address);
        let seen = same(async |which| {
            let (port, api, plain) =
                (dead_address().await.port(), dead_address().await.port(), dead_address().await.port());
            let mut flags: Vec<String> =
                ["--ip=", "--api-ip=", &hub, &errors, "--log-level=debug"].map(str::to_owned).to_vec();
            flags.extend([format!("--api-port={api}"), format!("--port={port}")]);
            if tls {
                flags.extend([format!("--redirect-port={plain}"), "--redirect-to=443".to_owned()]);
                flags.push(format!("--ssl-key={}", fixture("leaf-key.pem")));
                flags.push(format!("--ssl-cert={}", fixture("leaf.pem")));
            }
            let all: Vec<&str> = flags.iter().map(String::as_str).collect();
            let mut process = Process::spawn_bare(&which, &all, &[]);
            (process.public, process.api) = (local([127, 0, 0, 1], port), local([127, 0, 0, 1], api));
            listening(process.public).await;
            listening(local([127, 0, 0, 2], api)).await;
            let dead = format!("http://{}", dead_address().await);
            process.route("/user/x", &dead).await;
            let mut seen = Vec::new();
            for path in ["/hub/home", "/user/x/lab"] {
                seen.push(if tls {
                    let answer = TlsClient::showing(None).get(process.public, path, "").await.unwrap();
                    (answer.status, answer.text.contains("GET /hub/error/503?url=%2Fuser%2Fx%2Flab "))
                } else {
                    let answer = ask(&process, &get(path)).await;
                    (answer.status(), answer.text().contains("GET /hub/error/503?url=%2Fuser%2Fx%2Flab "))
                });
            }
            let mut location = None;
            if tls {
                listening(local([127, 0, 0, 1], plain)).await;
                let mut raw = Raw::connect(local([127, 0, 0, 1], plain)).await;
                raw.send("GET /hub/home HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n").await;
                // The original writes the port that https has anyhow, if it comes from a flag.
                location = raw.response().await.header("location").map(|text| text.replace(":443/", "/"));
            }
            (seen, location)
        })
        .await;
        assert_eq!(seen.0, [(200, false), (503, true)], "{tls}");
        assert_eq!(seen.1.is_some(), tls);
        assert!(seen.1.is_none_or(|location| location.starts_with("https://lab.test")));
    }
}
