//! `[proxy]`: the public side. Answers to `bind_url`, `c.Proxy` and `c.ConfigurableHTTPProxy`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hub_core::plugin::{DurationText, SecretText};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::addresses::BindUrl;

/// How finished requests are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFormat {
    /// Not at all.
    #[default]
    Off,
    /// The common log format, with the milliseconds at the end.
    Common,
    /// One JSON object per line.
    Json,
}

/// How an ACME authority sees that a name leads here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AcmeChallenge {
    /// By a TLS handshake on port 443.
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
    /// By a request to port 80, which `redirect_port` must be.
    #[serde(rename = "http-01")]
    Http,
}

/// A certificate from an ACME authority, for a single machine that the authority can reach.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeSection {
    /// Names that the certificate is for; none orders nothing. They must lead to this machine; wildcards cannot be
    /// ordered.
    pub domains: Vec<String>,
    /// `true` says that you agree to the authority's terms of service. Nothing is ordered otherwise.
    pub accept_terms: bool,
    /// Mail address that the authority may write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Directory of the authority. Let's Encrypt unless said otherwise.
    pub directory: String,
    /// File with the authorities (PEM) that vouch for that address itself, for a private server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Folder for the account and the certificate, readable for nobody else.
    pub folder: PathBuf,
    /// How the authority sees that the names lead here.
    pub challenge: AcmeChallenge,
}

impl AcmeSection {
    /// Whether a certificate is to be ordered.
    pub fn is_wanted(&self) -> bool {
        !self.domains.is_empty()
    }
}

impl Default for AcmeSection {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            accept_terms: false,
            contact: None,
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            ca_file: None,
            folder: PathBuf::from("acme"),
            challenge: AcmeChallenge::default(),
        }
    }
}

/// The proxy that people connect to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxySection {
    /// Where people connect. `http://:8000` listens on all interfaces. Stock listens on all by default, this only
    /// on the machine itself. A path in it sets `base_url` of `[hub]`. It may be a socket, for a web server in front.
    pub bind_url: BindUrl,
    /// Replaces the host of `bind_url`; empty is all interfaces.
    pub ip: Option<String>,
    /// Replaces the port of `bind_url`.
    pub port: Option<u16>,
    /// Whether the hub's process also runs the proxy. `false` uses one that runs elsewhere (`himalia proxy` or
    /// configurable-http-proxy) through its REST API.
    pub should_start: bool,
    /// Address of the proxy's REST API: `http://127.0.0.1:8001`, or with `internal_ssl` of `[hub]`
    /// `https://127.0.0.1:8001`, where none is given.
    pub api_url: Option<String>,
    /// Token of that REST API. Needed when `should_start` is false.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<SecretText>")]
    pub auth_token: Option<SecretString>,
    /// File with the private key (PEM) for HTTPS.
    pub ssl_key: Option<PathBuf>,
    /// File with the certificate chain (PEM) for HTTPS.
    pub ssl_cert: Option<PathBuf>,
    /// A certificate that is ordered from an ACME authority such as Let's Encrypt, and renewed, in place of `ssl_key`
    /// and `ssl_cert`.
    pub acme: AcmeSection,
    /// Routes of your own: path (`/docs/`) to address (`http://127.0.0.1:9000`).
    pub extra_routes: BTreeMap<String, String>,
    /// Threads that carry traffic; 0 is one per processor.
    pub workers: u32,
    /// How long an idle connection of a client is kept open. (Stock's proxy closes after 5 seconds, which costs
    /// browsers a new connection for most clicks.)
    #[serde(with = "DurationText")]
    pub keep_alive_timeout: Duration,
    /// How long a client may take to send a request; 0 is no limit.
    #[serde(with = "DurationText")]
    pub timeout: Duration,
    /// How long a server may be silent before its response is given up; 0 is no limit.
    #[serde(with = "DurationText")]
    pub proxy_timeout: Duration,
    /// How long the connection to a server may take, look-up of its name included.
    #[serde(with = "DurationText")]
    pub connect_timeout: Duration,
    /// How long requests and websockets may go on when the proxy stops.
    #[serde(with = "DurationText")]
    pub drain_timeout: Duration,
    /// Most connections of clients at once; one more is answered 503.
    pub max_connections: u32,
    /// Offer HTTP/2 to browsers over HTTPS.
    pub http2: bool,
    /// Port of the same host that leads plain HTTP to HTTPS.
    pub redirect_port: Option<u16>,
    /// How long browsers are to use nothing but HTTPS for this host (`Strict-Transport-Security`); 0 says nothing.
    #[serde(with = "DurationText")]
    pub hsts: Duration,
    /// Address ranges (`10.0.0.0/8`) whose `X-Forwarded-*` headers are believed. Empty believes everybody, as stock
    /// does; name the load balancer in front, if there is one.
    pub trusted_proxies: Vec<String>,
    /// Every connection begins with a PROXY protocol header, as some load balancers send it.
    pub proxy_protocol: bool,
    /// Log of finished requests on standard output.
    pub access_log: AccessLogFormat,
    /// File in which `himalia proxy` keeps its routes over a restart.
    pub state_file: Option<PathBuf>,
    /// UNIX socket by which the next `himalia serve` or `himalia proxy` takes over from the one that runs, without
    /// closing a connection.
    pub handover_socket: Option<PathBuf>,
    /// Where `himalia proxy` serves metrics, for example `127.0.0.1:8002`.
    pub metrics_address: Option<SocketAddr>,
    /// How often an external proxy is asked whether it still runs.
    #[serde(with = "DurationText")]
    pub check_interval: Duration,
}

impl ProxySection {
    /// Whether browsers speak HTTPS to the proxy: there is a certificate, or one is to be ordered.
    pub fn is_secure(&self) -> bool {
        self.ssl_cert.is_some() || self.acme.is_wanted()
    }
}

impl Default for ProxySection {
    fn default() -> Self {
        Self {
            bind_url: BindUrl::http("127.0.0.1", 8000),
            ip: None,
            port: None,
            should_start: true,
            api_url: None,
            auth_token: None,
            ssl_key: None,
            ssl_cert: None,
            acme: AcmeSection::default(),
            extra_routes: BTreeMap::new(),
            workers: 0,
            keep_alive_timeout: Duration::from_secs(75),
            timeout: Duration::ZERO,
            proxy_timeout: Duration::ZERO,
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
            max_connections: 16_384,
            http2: true,
            redirect_port: None,
            hsts: Duration::ZERO,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            access_log: AccessLogFormat::Off,
            state_file: None,
            handover_socket: None,
            metrics_address: None,
            check_interval: Duration::from_secs(5),
        }
    }
}
