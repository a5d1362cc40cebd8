//! Every flag of configurable-http-proxy, given to the original and to us, with the same outcome.
//!
//! Runs when `HIMALIA_TEST_CHP_BIN` names the original's executable; in CI (`CI` is set) it must.

use std::path::PathBuf;

use super::{
    program::{Process, TOKEN, Which, original},
    support::{Message, Raw, Target, dead_address, patiently, until},
};

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

/// The programs to compare: ours alone where the original is not at hand.
fn both() -> Vec<Which> {
    std::iter::once(Which::Ours).chain(original()).collect()
}

/// Runs a scenario with both programs and compares what it returns.
async fn same<T: PartialEq + std::fmt::Debug>(name: &str, scenario: impl AsyncFn(Which) -> T) -> T {
    let mut results = Vec::new();
    for which in both() {
        results.push(scenario(which).await);
    }
    if let [ours, theirs] = results.as_slice() {
        assert_eq!(ours, theirs, "{name}: ours left, the original's right");
    }
    results.swap_remove(0)
}

async fn ask(process: &Process, request: &str) -> Message {
    let mut raw = Raw::connect(process.public).await;
    raw.send(request).await;
    raw.response().await
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: proxy.test:8000\r\nConnection: close\r\n\r\n")
}

/// What the echoing target saw, less what names the proxies apart.
fn lines(answer: &Message) -> Vec<String> {
    let mut lines: Vec<_> =
        answer.text().lines().filter(|line| !line.starts_with("connection:")).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_change_requests_as_in_the_original() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let under = format!("{base}/under?own=1");
    let header = ["--custom-header", "X-One: 1", "--custom-header", " x-two : 2:3 "];
    for flags in [
        vec!["--default-target", &base],
        vec!["--default-target", &under],
        vec!["--default-target", &under, "--no-prepend-path"],
        vec!["--default-target", &base, "--no-x-forward"],
        vec!["--default-target", &base, "--change-origin"],
        [&["--default-target", base.as_str()][..], &header].concat(),
        vec!["--default-target", &base, "--auto-rewrite", "--protocol-rewrite", "https"],
        vec!["--default-target", &base, "--insecure", "--keep-alive-timeout", "1000"],
        vec!["--default-target", &base, "--timeout", "10000", "--proxy-timeout", "10000"],
    ] {
        same(&format!("{flags:?}"), async |which| {
            let process = Process::start(&which, &flags).await;
            process.route("/pre/fix", &base).await;
            let mut seen = Vec::new();
            for path in ["/", "/a/b?c=d", "/pre/fix", "/pre/fix/x%20y?z"] {
                let answer = ask(&process, &get(path)).await;
                seen.push((answer.status(), lines(&answer)));
            }
            seen
        })
        .await;
    }
    same("--no-include-prefix", async |which| {
        let process = Process::start(&which, &["--no-include-prefix"]).await;
        process.route("/pre/fix", &base).await;
        let mut seen = Vec::new();
        for path in ["/pre/fix/x/y?z", "/pre/fix/"] {
            let answer = ask(&process, &get(path)).await;
            seen.push((answer.status(), lines(&answer)));
        }
        seen
    })
    .await;
    same("--host-routing", async |which| {
        let process = Process::start(&which, &["--host-routing", "--default-target", &base]).await;
        process.route("/proxy.test/a", &format!("{base}/by-host")).await;
        let routed = ask(&process, &get("/a/b")).await;
        let other = ask(&process, &get("/c")).await;
        (lines(&routed), lines(&other), {
            let (_, text) = process.ask_api("GET", "/api/routes/proxy.test/a", "").await;
            serde_json::from_str::<serde_json::Value>(&text).unwrap()["host"].clone()
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_rewritten_as_in_the_original() {
    // The target redirects to itself, elsewhere, and relatively.
    let target = Target::start(|mut raw: Raw, _| async move {
        let own = raw.stream.local_addr().unwrap();
        while let Some(request) = raw.request().await {
            let location = match request.target() {
                "/self" => format!("http://{own}/next?x"),
                "/other" => "http://other.test/next".to_owned(),
                _ => "/next".to_owned(),
            };
            raw.send(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
                .await;
        }
    })
    .await;
    let base = format!("http://{}", target.address);
    for flags in [
        vec![],
        vec!["--auto-rewrite"],
        vec!["--protocol-rewrite", "https"],
        vec!["--auto-rewrite", "--protocol-rewrite", "https"],
    ] {
        same(&format!("{flags:?}"), async |which| {
            let flags = [&flags[..], &["--default-target", base.as_str()]].concat();
            let process = Process::start(&which, &flags).await;
            let mut seen = Vec::new();
            for path in ["/self", "/other", "/relative"] {
                let answer = ask(&process, &get(path)).await;
                seen.push((answer.status(), answer.header("location").map(str::to_owned)));
            }
            seen
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_look_as_in_the_original() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("404.html"), "own 404").unwrap();
    std::fs::write(folder.path().join("error.html"), "own error").unwrap();
    let folder = folder.path().to_str().unwrap();
    let errors = Target::echo("errors").await;
    let errors = format!("http://{}/hub/error", errors.address);
    let dead = format!("http://{}", dead_address().await);
    for flags in
        [vec![], vec!["--error-path", folder], vec!["--error-target", &errors], vec!["--error-target", &dead]]
    {
        same(&format!("{flags:?}"), async |which| {
            let process = Process::start(&which, &flags).await;
            process.route("/dead", &dead).await;
            let mut seen = Vec::new();
            for path in ["/nothing?a=b", "/dead/x", "/%zz"] {
                let answer = ask(&process, &get(path)).await;
                let own_words = flags.is_empty();
                let text = if own_words { String::new() } else { answer.text().lines().take(2).collect() };
                seen.push((answer.status(), answer.header("content-type").map(str::to_owned), text));
            }
            for path in ["/nothing", "/dead"] {
                let request = format!(
                    "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                );
                let answer = ask(&process, &request).await;
                seen.push((
                    answer.status(),
                    answer.header("content-length").map(str::to_owned),
                    answer.text(),
                ));
            }
            seen
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_files_and_signals_are_those_of_the_original() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    same("pid file and signals", async |which| {
        let mut codes = Vec::new();
        for signal in ["-TERM", "-INT"] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("pid");
            let mut process = Process::start(&which, &["--pid-file", file.to_str().unwrap()]).await;
            until(|| std::fs::read(&file).is_ok_and(|text| !text.is_empty())).await;
            assert_eq!(std::fs::read_to_string(&file).unwrap(), process.id().to_string());
            process.signal(signal).await;
            codes.push((process.ended().await.code(), file.exists()));
        }
        codes
    })
    .await;
    same("UNIX sockets", async |which| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (public, api, metrics) = (path("public"), path("api"), path("metrics"));
        let flags = [
            "--socket", public.to_str().unwrap(), "--api-socket", api.to_str().unwrap(), "--metrics-socket",
            metrics.to_str().unwrap(), "--default-target", &base,
        ];
        let _process = Process::spawn_bare(&which, &flags, &[]);
        until(|| [&public, &api, &metrics].iter().all(|path| std::os::unix::net::UnixStream::connect(path).is_ok())).await;
        let mut seen = Vec::new();
        for (path, request) in [(&public, "/x"), (&api, "/api/routes"), (&metrics, "/metrics"), (&metrics, "/")] {
            let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
            let request = format!(
                "GET {request} HTTP/1.1\r\nHost: h\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n\r\n"
            );
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            patiently(tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)).await.unwrap();
            seen.push(answer.get(..12).unwrap_or_default().to_owned());
        }
        seen
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_of_the_original() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let seen = same("metrics", async |which| {
        let metrics = dead_address().await;
        let port = metrics.port().to_string();
        let flags = ["--metrics-ip", "127.0.0.1", "--metrics-port", &port, "--default-target", &base];
        let process = Process::start(&which, &flags).await;
        for path in ["/", "/x"] {
            assert_eq!(ask(&process, &get(path)).await.status(), 200);
        }
        process.route("/y", "http://127.0.0.1:9").await;
        assert_eq!(ask(&process, &get("/y")).await.status(), 503);
        assert_eq!(process.ask_api("GET", "/api/routes", "").await.0, 200);
        assert_eq!(process.ask_api("DELETE", "/api/routes/y", "").await.0, 204);
        let mut raw = Raw::connect(metrics).await;
        raw.send(get("/metrics")).await;
        let answer = raw.response().await;
        let text = answer.text();
        let wanted = [
            "api_route_get",
            "api_route_add",
            "api_route_delete",
            "find_target_for_req_count",
            "last_activity_updating_count",
            "requests_ws",
            "requests_web",
            "requests_proxy",
            "requests_api",
        ];
        let mut found: Vec<String> = text
            .lines()
            .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
            // How often activity is noted differs; that the name is there does not.
            .map(|line| {
                if line.starts_with("last_activity") {
                    "last_activity_updating_count".to_owned()
                } else {
                    line.to_owned()
                }
            })
            .collect();
        found.sort();
        let kinds: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .filter(|line| {
                wanted.iter().any(|name| line.contains(&format!(" {} ", name.trim_end_matches("_count"))))
            })
            .map(str::to_owned)
            .collect();
        let mut kinds = kinds;
        kinds.sort();
        (answer.header("content-type").map(str::to_lowercase), found, kinds)
    })
    .await;
    assert!(seen.1.len() >= 9, "{seen:?}");
}

type Variables<'a> = &'a [(&'a str, &'a str)];

#[tokio::test(flavor = "multi_thread")]
async fn tls_flags_work_as_in_the_original() {
    let target = Target::echo("one").await;
    let base = format!("http://{}", target.address);
    let (key, certificate, ca) = (fixture("leaf-key.pem"), fixture("leaf.pem"), fixture("ca.pem"));
    let (own_key, own) = (fixture("second-key.pem"), fixture("second.pem"));
    let encrypted = fixture("leaf-key-encrypted.pem");
    let tls = ["--ssl-key", &key, "--ssl-cert", &certificate];
    let passphrase = [("CONFIGPROXY_SSL_KEY_PASSPHRASE", "opensesame")];
    let cases: Vec<(Vec<&str>, Variables<'_>)> = vec![
        (tls.to_vec(), &[]),
        ([&tls[..], &["--ssl-ca", &ca, "--ssl-request-cert", "--ssl-reject-unauthorized"]].concat(), &[]),
        ([&tls[..], &["--ssl-protocol", "TLSv1_2"]].concat(), &[]),
        ([&tls[..], &["--ssl-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"]].concat(), &[]),
        ([&tls[..], &["--ssl-allow-rc4"]].concat(), &[]),
        (vec!["--ssl-key", &encrypted, "--ssl-cert", &certificate], &passphrase),
        ([&tls[..], &["--api-ssl-key", &key, "--api-ssl-cert", &certificate]].concat(), &[]),
    ];
    for (flags, variables) in cases {
        same(&format!("{flags:?}"), async |which| {
            let (public, api) = (dead_address().await, dead_address().await);
            let flags = [&flags[..], &["--default-target", base.as_str()]].concat();
            let process = Process::start_at(&which, public, api, &flags, variables).await;
            let api_is_secure = flags.contains(&"--api-ssl-key");
            // A second proxy as client, with a certificate and without.
            let mut seen = Vec::new();
            for identity in [vec![], vec!["--client-ssl-key", own_key.as_str(), "--client-ssl-cert", &own]] {
                let trust = [&["--client-ssl-ca", ca.as_str()][..], &identity].concat();
                let client = Process::start(&which, &trust).await;
                client.route("/", &format!("https://localhost:{}", process.public.port())).await;
                client.route("/api", &format!("https://localhost:{}", process.api.port())).await;
                // The original checks the certificate against the client's Host instead of the target's name.
                let local = get("/x").replace("proxy.test", "localhost");
                let answer = ask(&client, &local).await;
                let own_lines = lines(&answer).into_iter().filter(|line| line.contains("proto"));
                seen.push((answer.status(), own_lines.collect::<Vec<_>>()));
                if api_is_secure {
                    let request = format!(
                        "GET /api/routes HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n\r\n"
                    );
                    seen.push((ask(&client, &request).await.status(), Vec::new()));
                }
            }
            seen
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_redirected_as_in_the_original() {
    let (key, certificate) = (fixture("leaf-key.pem"), fixture("leaf.pem"));
    for to in [None, Some("8443"), Some("443")] {
        let seen = same(&format!("--redirect-to {to:?}"), async |which| {
            let redirect = dead_address().await;
            let port = redirect.port().to_string();
            let mut flags =
                vec!["--ssl-key", key.as_str(), "--ssl-cert", &certificate, "--redirect-port", &port];
            flags.extend(to.map(|to| ["--redirect-to", to]).into_iter().flatten());
            let process = Process::start(&which, &flags).await;
            let mut seen = Vec::new();
            for host in ["h", "h:80"] {
                let mut raw = patiently(async {
                    loop {
                        match tokio::net::TcpStream::connect(redirect).await {
                            Ok(stream) => break Raw::new(stream),
                            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                        }
                    }
                })
                .await;
                raw.send(format!("GET /a%20b?c HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
                let answer = raw.response().await;
                let public = process.public.port().to_string();
                let location = answer.header("location").unwrap_or_default().replace(&public, "PUBLIC");
                // A browser takes the port that it knows by itself for the same address.
                seen.push((answer.status(), location.replace(":443/", "/")));
            }
            seen
        })
        .await;
        assert!(
            seen.iter().all(|(status, location)| *status == 301 && location.ends_with("/a%20b?c")),
            "{seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_end_what_they_end_in_the_original() {
    let silent = Target::start(|mut raw: Raw, _| async move {
        raw.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let base = format!("http://{}", silent.address);
    same("--proxy-timeout", async |which| {
        let process = Process::start(&which, &["--default-target", &base, "--proxy-timeout", "200"]).await;
        ask(&process, &get("/")).await.status()
    })
    .await;
    same("--timeout", async |which| {
        let process = Process::start(&which, &["--default-target", &base, "--timeout", "300"]).await;
        let mut raw = Raw::connect(process.public).await;
        raw.send(get("/")).await;
        raw.is_closed().await
    })
    .await;
    same("--keep-alive-timeout", async |which| {
        let process = Process::start(&which, &["--keep-alive-timeout", "200"]).await;
        let mut raw = Raw::connect(process.public).await;
        raw.send("GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let status = raw.response().await.status();
        (status, raw.is_closed().await)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn command_lines_are_refused_that_the_original_refuses() {
    for flags in [
        vec!["--no-such-flag"],
        vec!["--error-path", "/x", "--error-target", "http://h"],
        vec!["--redirect-port", "8080"],
        vec!["--custom-header", "nocolon"],
        vec!["--socket", "/x", "--port", "1"],
        vec!["--ssl-key", "/nowhere.pem", "--ssl-cert", "/nowhere.pem"],
    ] {
        let refused = same(&format!("{flags:?}"), async |which| {
            let mut process = Process::spawn_bare(&which, &flags, &[]);
            !process.ended().await.success()
        })
        .await;
        assert!(refused, "{flags:?}");
    }
}
