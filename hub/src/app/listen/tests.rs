use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use hub_config::{AcmeChallenge as Challenge, ProxySection};
use hub_proxy::Listen as Public;
use hub_proxy::options::{Limits, Timeouts, TlsFiles};
use serde_json::json;

use super::*;

const HUB: &str = "http://127.0.0.1:8081";

/// Each key has a value of its own that is not its default. Written out, so that a new key has to be named here.
fn section() -> ProxySection {
    ProxySection {
        bind_url: "https://127.0.0.2:8443".parse().unwrap(),
        // These two are a part of `bind_url` by now.
        ip: Some("127.0.0.2".to_owned()),
        port: Some(8443),
        should_start: false,
        api_url: Some("http://127.0.0.3:9001".to_owned()),
        auth_token: Some("token-of-the-test".into()),
        ssl_key: Some("k.pem".into()),
        ssl_cert: Some("c.pem".into()),
        acme: AcmeSection::default(),
        extra_routes: [("/docs/".to_owned(), "http://127.0.0.1:9000".to_owned())].into(),
        workers: 3,
        keep_alive_timeout: Duration::from_secs(11),
        timeout: Duration::from_secs(12),
        proxy_timeout: Duration::from_secs(13),
        connect_timeout: Duration::from_secs(14),
        drain_timeout: Duration::from_secs(15),
        max_connections: 16,
        http2: false,
        redirect_port: Some(8080),
        hsts: Duration::from_secs(17),
        trusted_proxies: vec!["10.0.0.0/8".to_owned(), "192.0.2.1".to_owned()],
        proxy_protocol: true,
        access_log: AccessLogFormat::Json,
        state_file: Some("routes".into()),
        handover_socket: Some("next.sock".into()),
        metrics_address: Some("127.0.0.4:9002".parse().unwrap()),
        check_interval: Duration::from_secs(18),
    }
}

fn options(proxy: ProxySection) -> anyhow::Result<ProxyOptions> {
    let config = Config { proxy, ..Config::default() };
    proxy_options(&config, &Url::parse(HUB).unwrap(), &Mark::from_secret(b"x"), ClientTls::default())
}

fn tcp(text: &str) -> Public {
    Public::Tcp(text.parse().unwrap())
}

#[test]
fn every_key_of_the_section_reaches_the_option_that_it_is_about() {
    let mark = Mark::from_secret(b"x");
    let ProxyOptions {
        listen,
        workers,
        default_target,
        error_target,
        error_path,
        timeouts,
        limits,
        tls,
        acme,
        redirect,
        client_tls,
        http2,
        http2_cleartext,
        proxy_protocol,
        trusted_proxies,
        hsts,
        access_log,
        session_cookie: _,
        insecure,
        x_forward,
        include_prefix,
        prepend_path,
        change_origin,
        auto_rewrite,
        protocol_rewrite,
        custom_headers,
        hub_mark,
    } = options(section()).unwrap();
    assert_eq!(listen, [tcp("127.0.0.2:8443")]);
    assert_eq!(workers, NonZeroUsize::new(3));
    assert_eq!(redirect, Some((tcp("127.0.0.2:8080"), 8443)));
    assert_eq!(hsts, Some(Duration::from_secs(17)));
    assert_eq!((http2, proxy_protocol, access_log), (false, true, AccessLog::Json));
    let ranges = ["10.0.0.0/8", "192.0.2.1"].map(|range| range.parse().unwrap());
    assert_eq!(trusted_proxies, Some(ranges.to_vec()));
    let seconds = |seconds| Duration::from_secs(seconds);
    let given = (timeouts.keep_alive, timeouts.client, timeouts.response, timeouts.connect, timeouts.drain);
    assert_eq!(given, (seconds(11), Some(seconds(12)), Some(seconds(13)), seconds(14), seconds(15)));
    let Timeouts { keep_alive, client, response, connect, drain, .. } = timeouts.clone();
    let rest = Timeouts { keep_alive, client, response, connect, drain, ..Timeouts::default() };
    assert_eq!(format!("{timeouts:?}"), format!("{rest:?}"));
    let expected = Limits { client_connections: 16, ..Limits::default() };
    assert_eq!(format!("{limits:?}"), format!("{expected:?}"));
    let files = TlsFiles::new("k.pem", "c.pem");
    assert_eq!(format!("{tls:?}"), format!("{:?}", Some(files)));
    assert!(acme.is_none());
    // What belongs to a hub, and what only configurable-http-proxy's command line knows.
    assert_eq!(error_target.as_deref(), Some("http://127.0.0.1:8081/hub/error"));
    assert_eq!(hub_mark, Some(mark.header()));
    assert_eq!((default_target, error_path, protocol_rewrite), (None, None, None));
    assert!(x_forward && include_prefix && prepend_path);
    assert!(!(http2_cleartext || insecure || change_origin || auto_rewrite));
    assert!(custom_headers.is_empty());
    assert_eq!(format!("{client_tls:?}"), format!("{:?}", ClientTls::default()));
}

#[tokio::test]
async fn a_proxy_alone_gets_what_is_about_it_as_well() {
    let Program { proxy, api, host_routing, metrics, pid_file, state_file, handover } =
        program(&Config { proxy: section(), ..Config::default() }).await.unwrap();
    assert_eq!(proxy.listen, [tcp("127.0.0.2:8443")]);
    assert_eq!(proxy.default_target.as_deref(), Some("http://127.0.0.1:8081/"));
    assert_eq!(api.listen, tcp("127.0.0.3:9001"));
    assert_eq!(api.token.as_deref(), Some("token-of-the-test"));
    assert!(api.tls.is_none() && !host_routing && pid_file.is_none());
    assert_eq!(metrics, Some(tcp("127.0.0.4:9002")));
    assert_eq!((state_file, handover), (Some(PathBuf::from("routes")), Some(PathBuf::from("next.sock"))));
}

#[test]
fn a_certificate_is_ordered_as_it_is_said() {
    let section: ProxySection = serde_json::from_value(json!({
        "bind_url": "https://:8443",
        "redirect_port": 8080,
        "acme": {
            "domains": ["a.test", "b.test"], "accept_terms": true, "contact": "somebody@a.test",
            "directory": "https://acme.test/dir", "ca_file": "ca.pem", "folder": "kept", "challenge": "http-01",
        },
    }))
    .unwrap();
    assert_eq!(section.acme.challenge, Challenge::Http);
    let AcmeOptions { domains, accept_terms, contact, directory, ca_file, folder, challenge, .. } =
        options(section).unwrap().acme.unwrap();
    assert_eq!(domains, ["a.test", "b.test"]);
    assert!(accept_terms);
    assert_eq!(contact.as_deref(), Some("somebody@a.test"));
    assert_eq!(directory, "https://acme.test/dir");
    assert_eq!((ca_file, folder), (Some(PathBuf::from("ca.pem")), PathBuf::from("kept")));
    assert_eq!(challenge, AcmeChallenge::Http);
}

#[test]
fn a_time_of_zero_is_none() {
    let zero = Duration::ZERO;
    let options =
        options(ProxySection { timeout: zero, proxy_timeout: zero, hsts: zero, ..section() }).unwrap();
    assert_eq!((options.timeouts.client, options.timeouts.response, options.hsts), (None, None, None));
}

#[test]
fn the_public_side_may_be_a_unix_socket_and_nothing_else_may() {
    let socket: BindUrl = "http+unix://%2Frun%2Fhub.sock".parse().unwrap();
    let with = |redirect_port| options(ProxySection { bind_url: socket.clone(), redirect_port, ..section() });
    assert_eq!(with(None).unwrap().listen, [Public::Unix("/run/hub.sock".into())]);
    let text = with(Some(8080)).unwrap_err().to_string();
    assert!(text.contains("proxy.redirect_port") && text.contains("UNIX socket"), "{text}");
    let text = bind(&socket, "hub.hub_bind_url", &mut Sockets::default()).unwrap_err().to_string();
    assert!(text.starts_with("hub.hub_bind_url: /run/hub.sock") && text.contains("TCP"), "{text}");
}

#[test]
fn with_tls_a_hub_is_called_as_its_certificate_says() {
    let mut hub = HubSection { internal_ssl: true, ..HubSection::default() };
    let bound: SocketAddr = "10.0.0.7:8081".parse().unwrap();
    for (host, called) in [("hub.internal", "hub.internal"), ("10.0.0.7", "10.0.0.7"), ("", "10.0.0.7")] {
        hub.hub_bind_url = BindUrl::http(host, 8081);
        assert_eq!(reached_at(&hub, bound).unwrap().as_str(), format!("https://{called}:8081/"));
    }
    hub.hub_bind_url = BindUrl::http("hub.internal", 8081);
    hub.internal_ssl = false;
    assert_eq!(reached_at(&hub, bound).unwrap().as_str(), "http://10.0.0.7:8081/");
}
