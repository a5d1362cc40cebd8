//! The command line of configurable-http-proxy, as a program of its own would have it.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Command, FromArgMatches};
use hub_proxy::{
    ChpArgs, Listen, ProxyError,
    options::{AccessLog, Network},
    run_chp,
};

use super::support::{Raw, Target, dead_address, patiently, until};

fn parse(flags: &[&str]) -> Result<ChpArgs, clap::Error> {
    let command = ChpArgs::augment_args(Command::new("configurable-http-proxy").no_binary_name(true));
    ChpArgs::from_arg_matches(&command.try_get_matches_from(flags)?)
}

async fn refused(flags: &[&str]) -> String {
    match run_chp(parse(flags).unwrap()).await {
        Ok(_) => panic!("{flags:?} were accepted"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_flag() {
    let tls = |more: &[&'static str]| -> Vec<&'static str> {
        [&["--ssl-key", "k.pem", "--ssl-cert", "c.pem"], more].concat()
    };
    for (flags, name) in [
        (vec!["--storage-backend", "configurable-http-proxy-redis-backend"], "--storage-backend"),
        (vec!["--storage-backend", "file:"], "--storage-backend"),
        (tls(&["--ssl-protocol", "SSLv3"]), "--ssl-protocol"),
        (tls(&["--ssl-protocol", "TLSv1_method"]), "--ssl-protocol"),
    ] {
        assert!(refused(&flags).await.starts_with(name), "{name}");
    }
}

#[tokio::test]
async fn values_that_cannot_be_used_are_refused_by_flag() {
    assert!(refused(&["--custom-header", "nocolon"]).await.starts_with("--custom-header"));
    assert!(refused(&["--ip", "no such address"]).await.starts_with("--ip"));
    assert!(refused(&["--port", "65535"]).await.starts_with("--api-port"));
    let missing = refused(&["--ssl-key", "/nowhere/key.pem", "--ssl-cert", "/nowhere/cert.pem"]).await;
    assert!(missing.contains("/nowhere/cert.pem"), "{missing}");
    for flags in [
        vec!["--port", "x"],
        vec!["--port", "99999"],
        vec!["--socket", "/x", "--port", "1"],
        vec!["--timeout", "x"],
        vec!["--trusted-proxy", "10.0.0.0/33"],
        vec!["--access-log", "apache"],
        vec!["--hsts", "1"],
        vec!["--log-level", "loud"],
        vec!["--error-target", "http://h", "--error-path", "/x"],
        vec!["--redirect-port", "80"],
        vec!["--ssl-key", "x"],
        vec!["--no-such-flag"],
    ] {
        assert!(parse(&flags).is_err(), "{flags:?}");
    }
}

#[tokio::test]
async fn the_flags_of_the_hubs_own_proxy_command_are_understood() {
    let flags = [
        "--ip",
        "",
        "--port",
        "8000",
        "--api-ip",
        "127.0.0.1",
        "--api-port",
        "8001",
        "--error-target",
        "http://127.0.0.1:8081/hub/error",
        "--log-level",
        "DEBUG",
        "--host-routing",
    ];
    let args = parse(&flags).unwrap();
    assert_eq!((args.port, args.api_port, args.host_routing), (Some(8000), Some(8001), true));
}

#[test]
fn the_flags_of_its_own_reach_the_options() {
    let tls = ["--ssl-key", "k.pem", "--ssl-cert", "c.pem"];
    let plain = parse(&tls).unwrap().program().unwrap().proxy;
    assert!(plain.http2 && !plain.http2_cleartext && !plain.proxy_protocol);
    assert_eq!((plain.hsts, plain.trusted_proxies), (None, None));
    assert_eq!((plain.timeouts.drain, plain.access_log), (Duration::from_secs(30), AccessLog::Off));
    let given = [
        "--proxy-protocol",
        "--no-http2",
        "--http2-cleartext",
        "--drain",
        "7",
        "--hsts",
        "86400",
        "--trusted-proxy",
        "10.0.0.0/8",
        "--trusted-proxy",
        "2001:db8::1",
        "--access-log",
        "json",
        "--handover-socket",
        "/run/x.sock",
    ];
    let program = parse(&[&tls[..], &given].concat()).unwrap().program().unwrap();
    let own = program.proxy;
    assert!(!own.http2 && own.http2_cleartext && own.proxy_protocol);
    assert_eq!((own.timeouts.drain, own.hsts), (Duration::from_secs(7), Some(Duration::from_hours(24))));
    let ranges = ["10.0.0.0/8", "2001:db8::1"].map(|range| range.parse::<Network>().unwrap());
    assert_eq!(own.trusted_proxies, Some(ranges.to_vec()));
    assert_eq!((own.access_log, program.handover), (AccessLog::Json, Some("/run/x.sock".into())));
}

#[test]
fn ports_of_zero_are_the_defaults() {
    let program = parse(&["--port", "0"]).unwrap().program().unwrap();
    let [Listen::Tcp(public)] = program.proxy.listen.as_slice() else { panic!("one address") };
    let Listen::Tcp(api) = program.api.listen else { panic!("an address") };
    assert_eq!((public.port(), api.port()), (8000, 8001));
}

#[test]
fn nothing_is_redirected_where_the_public_port_is_that_of_plain_http() {
    let redirect = |port: &str| {
        let tls = ["--ssl-key", "k.pem", "--ssl-cert", "c.pem"];
        let flags = [&tls[..], &["--redirect-port", "8080", "--port", port]].concat();
        parse(&flags).unwrap().program().unwrap().proxy.redirect.map(|(_, to)| to)
    };
    assert_eq!((redirect("80"), redirect("8443")), (None, Some(8443)));
}

#[tokio::test]
async fn an_occupied_port_ends_the_program_with_its_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = listener.local_addr().unwrap();
    let free = dead_address().await.port().to_string();
    let port = taken.port().to_string();
    let args = parse(&["--ip", "127.0.0.1", "--port", &port, "--api-port", &free]).unwrap();
    let error = run_chp(args).await.map(|_: ExitCode| ()).unwrap_err();
    assert!(
        matches!(&error, ProxyError::AddressInUse { address } if *address == taken.to_string()),
        "{error}"
    );
}

async fn get(port: &str, path: &str) -> (u16, String) {
    let mut raw = Raw::connect(format!("127.0.0.1:{port}").parse().unwrap()).await;
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
    let answer = raw.response().await;
    (answer.status(), answer.text())
}

/// The one test that signals its own process: the program handles the signal, so that nothing else notices.
#[tokio::test]
async fn the_program_serves_proxy_api_and_metrics_until_it_is_told_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("proxy.pid");
    let target = Target::echo("one").await;
    let mut ports = Vec::new();
    for _ in 0..3 {
        ports.push(dead_address().await.port().to_string());
    }
    let [port, api, metrics] = ports.as_slice() else { unreachable!("three ports were pushed") };
    let default = format!("http://{}", target.address);
    let args = parse(&[
        "--ip",
        "127.0.0.1",
        "--port",
        port,
        "--api-ip",
        "127.0.0.1",
        "--api-port",
        api,
        "--metrics-ip",
        "127.0.0.1",
        "--metrics-port",
        metrics,
        "--default-target",
        &default,
        "--pid-file",
        pid_file.to_str().unwrap(),
        "--custom-header",
        "X-Mine: 1",
        "--no-x-forward",
        "--log-level",
        "error",
    ]);
    let running = tokio::spawn(run_chp(args.unwrap()));
    until(|| pid_file.exists() && std::fs::read(&pid_file).is_ok_and(|pid| !pid.is_empty())).await;
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), std::process::id().to_string());
    let (status, text) = get(port, "/x").await;
    assert_eq!(status, 200);
    assert!(text.contains("\nx-mine: 1\n") && !text.contains("x-forwarded"), "{text}");
    let (status, text) = get(api, "/api/routes").await;
    assert_eq!(status, 200);
    assert!(text.contains(&default), "{text}");
    let (status, text) = get(metrics, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "requests_web 1",
        r#"requests_proxy{status="200"} 1"#,
        "api_route_get 1",
        "find_target_for_req_count 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    assert_eq!(get(metrics, "/").await.0, 404);

    let pid = std::process::id().to_string();
    assert!(tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let code = patiently(running).await.unwrap().unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)));
    assert!(!pid_file.exists());
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err());
}
