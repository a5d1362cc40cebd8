//! configurable-http-proxy's command line.
//!
//! A flag that is accepted works, or says that it has no effect because nothing is left for it to do.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use tracing::{info, level_filters::LevelFilter, warn};

use super::{AccessLog, ClientTls, Listen, Network, Passphrase, ProxyOptions, Timeouts, TlsFiles};
use crate::{
    api::ApiOptions,
    error::ProxyError,
    program::{Ended, Program},
};

/// The API's token comes from here, so that no process list shows it.
const TOKEN_VARIABLE: &str = "CONFIGPROXY_AUTH_TOKEN";
/// Passphrases of encrypted TLS keys, of the public side and of the API.
const PASSPHRASE_VARIABLE: &str = "CONFIGPROXY_SSL_KEY_PASSPHRASE";
const API_PASSPHRASE_VARIABLE: &str = "CONFIGPROXY_API_SSL_KEY_PASSPHRASE";

/// Log levels of configurable-http-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// The command line of `configurable-http-proxy`. Of a flag that is given twice the last one counts.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true)]
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
    #[arg(long, value_name = "PORT")]
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
    #[arg(long, value_name = "MS")]
    pub timeout: Option<u64>,
    /// Milliseconds to wait for a silent target
    #[arg(long, value_name = "MS")]
    pub proxy_timeout: Option<u64>,
    /// Milliseconds to keep an idle client connection [default: 5000]
    #[arg(long, value_name = "MS")]
    pub keep_alive_timeout: Option<u64>,
    /// Where routes are kept over a restart, as file:PATH [default: in memory only]
    #[arg(long, value_name = "file:PATH")]
    pub storage_backend: Option<String>,
    #[command(flatten)]
    pub(super) tls: TlsFlags,
    #[command(flatten)]
    pub(super) own: OwnFlags,
}

/// The flags about TLS beyond key and certificate.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of configurable-http-proxy")]
pub(super) struct TlsFlags {
    /// Authorities (PEM) that may vouch for clients
    #[arg(long, value_name = "FILE")]
    ssl_ca: Option<PathBuf>,
    /// Demand certificates of clients
    #[arg(long)]
    ssl_request_cert: bool,
    /// Refuse clients without a valid certificate, which --ssl-request-cert does anyway
    #[arg(long)]
    ssl_reject_unauthorized: bool,
    /// TLS version, as OpenSSL names its methods: TLS or TLSv1_2
    #[arg(long, value_name = "NAME")]
    ssl_protocol: Option<String>,
    /// Cipher suites of TLS 1.2 by their OpenSSL names, separated by colons
    #[arg(long, value_name = "NAMES")]
    ssl_ciphers: Option<String>,
    /// Has no effect: there is no RC4 to allow
    #[arg(long)]
    ssl_allow_rc4: bool,
    /// Has no effect: keys are agreed on elliptic curves, which need no parameters
    #[arg(long, value_name = "FILE")]
    ssl_dhparam: Option<PathBuf>,
    /// TLS private key (PEM) of the REST API
    #[arg(long, value_name = "FILE", requires = "api_ssl_cert")]
    api_ssl_key: Option<PathBuf>,
    /// TLS certificate chain (PEM) of the REST API
    #[arg(long, value_name = "FILE", requires = "api_ssl_key")]
    api_ssl_cert: Option<PathBuf>,
    /// Authorities (PEM) that may vouch for users of the REST API
    #[arg(long, value_name = "FILE")]
    api_ssl_ca: Option<PathBuf>,
    /// Demand certificates of users of the REST API
    #[arg(long)]
    api_ssl_request_cert: bool,
    /// Refuse users of the REST API without a valid certificate, which --api-ssl-request-cert does anyway
    #[arg(long)]
    api_ssl_reject_unauthorized: bool,
    /// Private key (PEM) to show to https targets
    #[arg(long, value_name = "FILE", requires = "client_ssl_cert")]
    client_ssl_key: Option<PathBuf>,
    /// Certificate chain (PEM) to show to https targets
    #[arg(long, value_name = "FILE", requires = "client_ssl_key")]
    client_ssl_cert: Option<PathBuf>,
    /// Authorities (PEM) that may vouch for https targets
    #[arg(long, value_name = "FILE")]
    client_ssl_ca: Option<PathBuf>,
    /// Has no effect: the side that connects has nobody to ask
    #[arg(long)]
    client_ssl_request_cert: bool,
    /// Has no effect: certificates of targets are checked unless --insecure is given
    #[arg(long)]
    client_ssl_reject_unauthorized: bool,
}

/// Flags that configurable-http-proxy does not have.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Beyond configurable-http-proxy")]
pub(super) struct OwnFlags {
    /// UNIX socket by which the next process takes over from this one, and this one from the one before
    #[arg(long, value_name = "PATH")]
    handover_socket: Option<PathBuf>,
    /// Log finished requests to standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "off")]
    access_log: AccessLogFlag,
    /// Addresses whose X-Forwarded-* headers are believed; may be repeated [default: all]
    #[arg(long, value_name = "RANGE")]
    trusted_proxy: Vec<Network>,
    /// Connections begin with a PROXY protocol header
    #[arg(long)]
    proxy_protocol: bool,
    /// Do not offer HTTP/2
    #[arg(long)]
    no_http2: bool,
    /// Understand HTTP/2 without TLS
    #[arg(long)]
    http2_cleartext: bool,
    /// Seconds for which browsers are to use HTTPS only
    #[arg(long, value_name = "SECONDS", requires = "ssl_key")]
    hsts: Option<u64>,
    /// Seconds that requests and websockets may take to end at shutdown [default: 30]
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u64>,
}

/// Formats of the access log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum AccessLogFlag {
    #[default]
    Off,
    Common,
    Json,
}

impl TlsFlags {
    /// What the listeners have in common.
    fn listener(&self, key: &Path, certificate: &Path, passphrase: &str) -> Result<TlsFiles, ProxyError> {
        let only_tls12 = match self.ssl_protocol.as_deref() {
            None | Some("TLS" | "SSLv23") => None,
            Some("TLSv1_2") => Some(true),
            Some("TLSv1_3") => Some(false),
            Some(other) => {
                let problem = format!("{other:?} is not supported: use TLS, TLSv1_2 or TLSv1_3");
                return Err(ProxyError::option("--ssl-protocol", problem));
            }
        };
        let ciphers = self.ssl_ciphers.as_ref().map(|list| list.split(':').map(str::to_owned).collect());
        let passphrase = std::env::var(passphrase).ok().filter(|text| !text.is_empty()).map(Passphrase::new);
        Ok(TlsFiles { passphrase, only_tls12, ciphers, ..TlsFiles::new(key, certificate) })
    }
}

impl ChpArgs {
    /// Checks the flags and turns them into a program, looking up host names.
    ///
    /// # Errors
    /// [`ProxyError::Option`] names the flag that cannot be used.
    pub fn program(&self) -> Result<Program, ProxyError> {
        self.warn_of_idle_flags();
        // As in the original, 0 is no port, and no time is no limit.
        let port = self.port.filter(|port| *port != 0).unwrap_or(8000);
        let listen = match &self.socket {
            Some(path) => vec![Listen::Unix(path.clone())],
            None => vec![resolve("--ip", self.ip.as_deref().unwrap_or_default(), port)?],
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
        let redirect = match self.redirect_port.filter(|_| self.redirects()) {
            // As in the original, on all interfaces, whatever --ip says.
            Some(from) => Some((resolve("--redirect-port", "", from)?, self.redirect_to.unwrap_or(port))),
            None => None,
        };
        let tls = match (&self.ssl_key, &self.ssl_cert) {
            (Some(key), Some(certificate)) => Some(TlsFiles {
                authorities: self.tls.ssl_ca.clone(),
                require_client_certificate: self.tls.ssl_request_cert,
                ..self.tls.listener(key, certificate, PASSPHRASE_VARIABLE)?
            }),
            _ => None,
        };
        let api_tls = match (&self.tls.api_ssl_key, &self.tls.api_ssl_cert) {
            (Some(key), Some(certificate)) => Some(TlsFiles {
                authorities: self.tls.api_ssl_ca.clone(),
                require_client_certificate: self.tls.api_ssl_request_cert,
                ..self.tls.listener(key, certificate, API_PASSPHRASE_VARIABLE)?
            }),
            _ => None,
        };
        let client_tls = ClientTls {
            identity: self.tls.client_ssl_cert.clone().zip(self.tls.client_ssl_key.clone()),
            authorities: self.tls.client_ssl_ca.clone(),
        };
        let state_file = match self.storage_backend.as_deref().map(|backend| backend.strip_prefix("file:")) {
            None => None,
            Some(Some(path)) if !path.is_empty() => Some(PathBuf::from(path)),
            Some(_) => {
                let problem = "Node.js modules cannot be loaded: write file:PATH to keep routes in a file";
                return Err(ProxyError::option("--storage-backend", problem));
            }
        };
        let millis = |given: Option<u64>| given.filter(|ms| *ms != 0).map(Duration::from_millis);
        let defaults = Timeouts::default();
        let timeouts = Timeouts {
            client: millis(self.timeout),
            response: millis(self.proxy_timeout),
            keep_alive: millis(self.keep_alive_timeout).unwrap_or(Duration::from_secs(5)),
            drain: self.own.drain.map_or(defaults.drain, Duration::from_secs),
            ..defaults
        };
        let proxy = ProxyOptions {
            listen,
            default_target: self.default_target.clone(),
            error_target: self.error_target.clone(),
            error_path: self.error_path.clone(),
            timeouts,
            tls,
            redirect,
            client_tls,
            http2: !self.own.no_http2,
            http2_cleartext: self.own.http2_cleartext,
            proxy_protocol: self.own.proxy_protocol,
            trusted_proxies: (!self.own.trusted_proxy.is_empty()).then(|| self.own.trusted_proxy.clone()),
            hsts: self.own.hsts.map(Duration::from_secs),
            access_log: match self.own.access_log {
                AccessLogFlag::Off => AccessLog::Off,
                AccessLogFlag::Common => AccessLog::Common,
                AccessLogFlag::Json => AccessLog::Json,
            },
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
        let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        if token.is_none() {
            warn!("REST API is not authenticated: set {TOKEN_VARIABLE}");
        }
        Ok(Program {
            proxy,
            api: ApiOptions { listen: api, token, tls: api_tls },
            host_routing: self.host_routing,
            metrics,
            pid_file: self.pid_file.clone(),
            state_file,
            handover: self.own.handover_socket.clone(),
        })
    }

    /// The flags that are taken for the original's sake, or that only others give a meaning.
    fn warn_of_idle_flags(&self) {
        let tls = &self.tls;
        let idle = [
            ("--ssl-allow-rc4 has", tls.ssl_allow_rc4),
            ("--ssl-dhparam has", tls.ssl_dhparam.is_some()),
            ("--client-ssl-request-cert has", tls.client_ssl_request_cert),
            ("--client-ssl-reject-unauthorized has", tls.client_ssl_reject_unauthorized),
            ("without --ssl-key, --ssl-ca has", tls.ssl_ca.is_some() && self.ssl_key.is_none()),
            ("without --ssl-key, --ssl-request-cert has", tls.ssl_request_cert && self.ssl_key.is_none()),
            (
                "without --api-ssl-key, --api-ssl-ca has",
                tls.api_ssl_ca.is_some() && tls.api_ssl_key.is_none(),
            ),
            (
                "without --api-ssl-key, --api-ssl-request-cert has",
                tls.api_ssl_request_cert && tls.api_ssl_key.is_none(),
            ),
            (
                "without --redirect-port, --redirect-to has",
                self.redirect_to.is_some() && self.redirect_port.is_none(),
            ),
            (
                "with --socket or --port 80, --redirect-port has",
                self.redirect_port.is_some() && !self.redirects(),
            ),
        ];
        for (which, _) in idle.into_iter().filter(|(_, given)| *given) {
            warn!("{which} no effect");
        }
    }

    /// Whether plain HTTP may be redirected at all: not from beside port 80, nor to a socket that has no port.
    fn redirects(&self) -> bool {
        self.socket.is_none() && self.port != Some(80)
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

/// Runs proxy, API and metrics until SIGINT or SIGTERM, then drains. The exit code is then 2, as
/// configurable-http-proxy's; it is 0 after another process took over. Sets up logging to standard error unless the
/// process has already done so.
///
/// # Errors
/// Bad flags, an occupied address, an unreadable certificate: see [`ProxyError`].
pub async fn run_chp(args: ChpArgs) -> Result<ExitCode, ProxyError> {
    let level = match args.log_level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let logging = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).try_init();
    if logging.is_err() {
        info!("logging was set up before: the log level of the command line does not apply");
    }
    Ok(match Box::pin(args.program()?.run()).await? {
        Ended::Signalled => ExitCode::from(2),
        Ended::Relieved => ExitCode::SUCCESS,
    })
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
