//! The command line of configurable-http-proxy, as a program of its own would have it.

use std::process::ExitCode;

use clap::{Args, Command, FromArgMatches};
use hub_proxy::{ChpArgs, ProxyError, run_chp};

use super::support::dead_address;

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
async fn flags_that_are_not_supported_are_refused_by_name() {
    for (flags, name) in [
        (vec!["--storage-backend", "x"], "--storage-backend"),
        (vec!["--ssl-ca", "x"], "--ssl-ca"),
        (vec!["--ssl-ciphers", "x"], "--ssl-ciphers"),
        (vec!["--ssl-request-cert"], "--ssl-request-cert"),
        (vec!["--api-ssl-key", "x"], "--api-ssl-key"),
        (vec!["--client-ssl-ca", "x"], "--client-ssl-ca"),
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
        vec!["--timeout", "0"],
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
        "--ip", "", "--port", "8000", "--api-ip", "127.0.0.1", "--api-port", "8001", "--error-target",
        "http://127.0.0.1:8081/hub/error", "--log-level", "DEBUG", "--host-routing",
    ];
    let args = parse(&flags).unwrap();
    assert_eq!((args.port, args.api_port, args.host_routing), (Some(8000), Some(8001), true));
}

#[tokio::test]
async fn an_occupied_port_ends_the_program_with_its_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = listener.local_addr().unwrap();
    let free = dead_address().await.port().to_string();
    let port = taken.port().to_string();
    let args = parse(&["--ip", "127.0.0.1", "--port", &port, "--api-port", &free]).unwrap();
    let error = run_chp(args).await.map(|_: ExitCode| ()).unwrap_err();
    assert!(matches!(&error, ProxyError::AddressInUse { address } if *address == taken.to_string()), "{error}");
}
