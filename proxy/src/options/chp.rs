//! configurable-http-proxy's command line.
//!
//! A flag that is accepted works. Flags of the original that are not supported yet are known by name and refused,
//! because a proxy that ignores, say, a client certificate would be worse than one that does not start.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};

pub use super::chp_run::run_chp;
use super::{Listen, ProxyOptions, Timeouts, TlsFiles};
use crate::error::ProxyError;

/// Log levels of configurable-http-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// The command line of `configurable-http-proxy`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of configurable-http-proxy")]
pub struct ChpArgs {
    /// Public address of the proxy; empty or * for all interfaces
    #[arg(long, value_name = "IP")]
    pub ip: Option<String>,
    /// Public port of the proxy [default: 8000]
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// UNIX socket to listen on instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["ip", "port"])]
    pub socket: Option<PathBuf>,
    /// TLS private key (PEM)
    #[arg(long, value_name = "FILE", requires = "ssl_cert")]
    pub ssl_key: Option<PathBuf>,
    /// TLS certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "ssl_key")]
    pub ssl_cert: Option<PathBuf>,
    /// Address of the REST API [default: localhost]
    #[arg(long, value_name = "IP")]
    pub api_ip: Option<String>,
    /// Port of the REST API [default: the port plus one]
    #[arg(long, value_name = "N")]
    pub api_port: Option<u16>,
    /// UNIX socket of the REST API instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["api_ip", "api_port"])]
    pub api_socket: Option<PathBuf>,
    /// Target for requests that no other route takes
    #[arg(long, value_name = "URL")]
    pub default_target: Option<String>,
    /// Server that renders error pages
    #[arg(long, value_name = "URL", conflicts_with = "error_path")]
    pub error_target: Option<String>,
    /// Folder with error pages (404.html, 503.html, error.html)
    #[arg(long, value_name = "PATH")]
    pub error_path: Option<PathBuf>,
    /// Port that redirects HTTP to HTTPS
    #[arg(long, value_name = "PORT", requires = "ssl_key")]
    pub redirect_port: Option<u16>,
    /// Port that --redirect-port leads to [default: the port]
    #[arg(long, value_name = "PORT", requires = "redirect_port")]
    pub redirect_to: Option<u16>,
    /// File to write the process id to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Do not add X-Forwarded-* headers
    #[arg(long)]
    pub no_x_forward: bool,
    /// Do not put the target's path in front
    #[arg(long)]
    pub no_prepend_path: bool,
    /// Do not forward the route's own part of the path
    #[arg(long)]
    pub no_include_prefix: bool,
    /// Rewrite the host of redirects that point to the target
    #[arg(long)]
    pub auto_rewrite: bool,
    /// Replace the Host header by the target's
    #[arg(long)]
    pub change_origin: bool,
    /// Rewrite the scheme of redirects that point to the target
    #[arg(long, value_name = "PROTO")]
    pub protocol_rewrite: Option<String>,
    /// Header to set on forwarded requests, as name:value; may be repeated
    #[arg(long, value_name = "HEADER")]
    pub custom_header: Vec<String>,
    /// Accept any certificate from https targets
    #[arg(long)]
    pub insecure: bool,
    /// The first segment of a route is a host name
    #[arg(long)]
    pub host_routing: bool,
    /// Address of the metrics server [default: all interfaces]
    #[arg(long, value_name = "IP")]
    pub metrics_ip: Option<String>,
    /// Port of the metrics server [default: none]
    #[arg(long, value_name = "N")]
    pub metrics_port: Option<u16>,
    /// UNIX socket of the metrics server
    #[arg(long, value_name = "PATH", conflicts_with_all = ["metrics_ip", "metrics_port"])]
    pub metrics_socket: Option<PathBuf>,
    /// Log level
    #[arg(long, value_name = "LEVEL", value_enum, ignore_case = true, default_value = "info")]
    pub log_level: LogLevel,
    /// Milliseconds after which a silent client is dropped
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Milliseconds to wait for a silent target
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub proxy_timeout: Option<u64>,
    /// Milliseconds to keep an idle client connection [default: 5000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_alive_timeout: Option<u64>,
    #[command(flatten)]
    pub(super) unsupported: Unsupported,
}

/// Flags of the original that are refused.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of configurable-http-proxy")]
pub(super) struct Unsupported {
    #[arg(long, hide = true)]
    storage_backend: Option<String>,
    #[arg(long, hide = true)]
    ssl_ca: Option<String>,
    #[arg(long, hide = true)]
    ssl_request_cert: bool,
    #[arg(long, hide = true)]
    ssl_reject_unauthorized: bool,
    #[arg(long, hide = true)]
    ssl_protocol: Option<String>,
    #[arg(long, hide = true)]
    ssl_ciphers: Option<String>,
    #[arg(long, hide = true)]
    ssl_allow_rc4: bool,
    #[arg(long, hide = true)]
    ssl_dhparam: Option<String>,
    #[arg(long, hide = true)]
    api_ssl_key: Option<String>,
    #[arg(long, hide = true)]
    api_ssl_cert: Option<String>,
    #[arg(long, hide = true)]
    api_ssl_ca: Option<String>,
    #[arg(long, hide = true)]
    api_ssl_request_cert: bool,
    #[arg(long, hide = true)]
    api_ssl_reject_unauthorized: bool,
    #[arg(long, hide = true)]
    client_ssl_key: Option<String>,
    #[arg(long, hide = true)]
    client_ssl_cert: Option<String>,
    #[arg(long, hide = true)]
    client_ssl_ca: Option<String>,
    #[arg(long, hide = true)]
    client_ssl_request_cert: bool,
    #[arg(long, hide = true)]
    client_ssl_reject_unauthorized: bool,
}

impl Unsupported {
    /// The first flag that was given, with the reason why it is refused.
    fn refuse(&self) -> Result<(), ProxyError> {
        const STORAGE: &str =
            "routes are kept in memory, a storage back end cannot be loaded: leave the flag out";
        const CIPHERS: &str = "protocol versions and ciphers are chosen by the TLS library and cannot be set: leave the flag out";
        const CERTIFICATES: &str = "client certificates and private authorities are not supported yet";
        let given = [
            ("--storage-backend", self.storage_backend.is_some(), STORAGE),
            ("--ssl-protocol", self.ssl_protocol.is_some(), CIPHERS),
            ("--ssl-ciphers", self.ssl_ciphers.is_some(), CIPHERS),
            ("--ssl-allow-rc4", self.ssl_allow_rc4, CIPHERS),
            ("--ssl-dhparam", self.ssl_dhparam.is_some(), CIPHERS),
            ("--ssl-ca", self.ssl_ca.is_some(), CERTIFICATES),
            ("--ssl-request-cert", self.ssl_request_cert, CERTIFICATES),
            ("--ssl-reject-unauthorized", self.ssl_reject_unauthorized, CERTIFICATES),
            ("--api-ssl-key", self.api_ssl_key.is_some(), "TLS for the API is not supported yet"),
            ("--api-ssl-cert", self.api_ssl_cert.is_some(), "TLS for the API is not supported yet"),
            ("--api-ssl-ca", self.api_ssl_ca.is_some(), CERTIFICATES),
            ("--api-ssl-request-cert", self.api_ssl_request_cert, CERTIFICATES),
            ("--api-ssl-reject-unauthorized", self.api_ssl_reject_unauthorized, CERTIFICATES),
            ("--client-ssl-key", self.client_ssl_key.is_some(), CERTIFICATES),
            ("--client-ssl-cert", self.client_ssl_cert.is_some(), CERTIFICATES),
            ("--client-ssl-ca", self.client_ssl_ca.is_some(), CERTIFICATES),
            ("--client-ssl-request-cert", self.client_ssl_request_cert, CERTIFICATES),
            ("--client-ssl-reject-unauthorized", self.client_ssl_reject_unauthorized, CERTIFICATES),
        ];
        match given.into_iter().find(|(_, given, _)| *given) {
            Some((flag, _, why)) => Err(ProxyError::option(flag, why)),
            None => Ok(()),
        }
    }
}

/// Everything that the command line asks for.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) proxy: ProxyOptions,
    pub(super) api: Listen,
    pub(super) metrics: Option<Listen>,
    /// Where to listen for plain HTTP, and the port that it is sent to.
    pub(super) redirect: Option<(Listen, u16)>,
}

impl ChpArgs {
    /// Checks the flags and turns them into options, looking up host names.
    pub(super) fn plan(&self) -> Result<Plan, ProxyError> {
        self.unsupported.refuse()?;
        let port = self.port.unwrap_or(8000);
        let public = |port| resolve("--ip", self.ip.as_deref().unwrap_or_default(), port);
        let listen = match &self.socket {
            Some(path) => vec![Listen::Unix(path.clone())],
            None => vec![public(port)?],
        };
        let api = if let Some(path) = &self.api_socket {
            Listen::Unix(path.clone())
        } else {
            let next = if self.socket.is_some() { Some(8001) } else { port.checked_add(1) };
            let missing = || ProxyError::option("--api-port", "there is no port after 65535: give one");
            let api_port = self.api_port.or(next).ok_or_else(missing)?;
            resolve("--api-ip", self.api_ip.as_deref().unwrap_or("localhost"), api_port)?
        };
        let metrics = match (&self.metrics_socket, self.metrics_port) {
            (Some(path), _) => Some(Listen::Unix(path.clone())),
            (None, Some(port)) => {
                Some(resolve("--metrics-ip", self.metrics_ip.as_deref().unwrap_or_default(), port)?)
            }
            (None, None) => None,
        };
        let redirect = match self.redirect_port {
            Some(from) => Some((public(from)?, self.redirect_to.unwrap_or(port))),
            None => None,
        };
        let tls = match (&self.ssl_key, &self.ssl_cert) {
            (Some(key), Some(certificate)) => {
                Some(TlsFiles { key: key.clone(), certificate: certificate.clone() })
            }
            _ => None,
        };
        let millis = |given: Option<u64>| given.map(Duration::from_millis);
        let timeouts = Timeouts {
            client: millis(self.timeout),
            response: millis(self.proxy_timeout),
            keep_alive: millis(self.keep_alive_timeout).unwrap_or(Duration::from_secs(5)),
            ..Timeouts::default()
        };
        let proxy = ProxyOptions {
            listen,
            default_target: self.default_target.clone(),
            error_target: self.error_target.clone(),
            error_path: self.error_path.clone(),
            timeouts,
            tls,
            insecure: self.insecure,
            x_forward: !self.no_x_forward,
            include_prefix: !self.no_include_prefix,
            prepend_path: !self.no_prepend_path,
            change_origin: self.change_origin,
            auto_rewrite: self.auto_rewrite,
            protocol_rewrite: self.protocol_rewrite.clone(),
            custom_headers: self.custom_headers()?,
            ..ProxyOptions::default()
        };
        Ok(Plan { proxy, api, metrics, redirect })
    }

    /// `k:v` pairs; the last one of a name wins.
    fn custom_headers(&self) -> Result<Vec<(String, String)>, ProxyError> {
        let mut headers = BTreeMap::new();
        for header in &self.custom_header {
            match header.trim().split_once(':') {
                Some((name, value)) if !name.trim().is_empty() => {
                    headers.insert(name.trim().to_owned(), value.trim().to_owned());
                }
                _ => {
                    return Err(ProxyError::option(
                        "--custom-header",
                        format!("{header:?} has no colon: write name:value"),
                    ));
                }
            }
        }
        Ok(headers.into_iter().collect())
    }
}

/// An address and port; empty and `*` mean all interfaces, both IPv4 and IPv6 where the machine has both.
fn resolve(flag: &str, ip: &str, port: u16) -> Result<Listen, ProxyError> {
    if ip.is_empty() || ip == "*" {
        return Ok(Listen::Tcp(all_interfaces(port)));
    }
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(Listen::Tcp((address, port).into()));
    }
    let found = (ip, port)
        .to_socket_addrs()
        .map_err(|error| ProxyError::option(flag, format!("{ip:?} is no address: {error}")))?;
    let mut found: Vec<SocketAddr> = found.collect();
    // `localhost` should be where everybody looks first.
    found.sort_by_key(SocketAddr::is_ipv6);
    let first = found.into_iter().next();
    first.map(Listen::Tcp).ok_or_else(|| ProxyError::option(flag, format!("{ip:?} has no address")))
}

/// `[::]` where IPv6 exists, which takes IPv4, too; else `0.0.0.0`.
fn all_interfaces(port: u16) -> SocketAddr {
    let ipv6 = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)
        .and_then(|socket| socket.bind(&SocketAddr::from(([0u16; 8], 0)).into()));
    match ipv6 {
        Ok(()) => SocketAddr::from(([0u16; 8], port)),
        Err(_) => SocketAddr::from(([0u8; 4], port)),
    }
}
