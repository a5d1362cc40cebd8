//! What can be set. Every default is what an unconfigured proxy in front of notebooks should do.

mod acme;
pub mod chp;
mod network;
mod tls;

use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

pub use self::{
    acme::{AcmeChallenge, AcmeOptions, LETS_ENCRYPT},
    network::Network,
    tls::{ClientTls, Passphrase, TlsFiles},
};
use crate::error::ProxyError;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A UNIX domain socket. A socket file that nobody listens on any more is replaced.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How long the proxy waits, and for what.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Connecting to a target, look-up of its name included. Default 10 s.
    pub connect: Duration,
    /// No byte from the target while its answer is awaited (`--proxy-timeout`). Default: none.
    pub response: Option<Duration>,
    /// No byte to or from the client while its request is served (`--timeout`). Default: none.
    pub client: Option<Duration>,
    /// A client's connection between two requests (`--keep-alive-timeout`). Default 75 s.
    pub keep_alive: Duration,
    /// From the first byte of a request head to its last. Default 60 s.
    pub request_head: Duration,
    /// A place within the bounds on connections to targets. Default 0.25 s.
    pub place: Duration,
    /// A websocket of which one side has ended, without a byte from the other. Default 60 s.
    pub half_closed: Duration,
    /// A websocket of which one side has taken nothing of what waits for it. Default 15 min.
    pub stuck: Duration,
    /// An idle connection to a target. Default 60 s.
    pub upstream_idle: Duration,
    /// How long a request body is held back for a target's `100 Continue`. Default 1 s.
    pub expect_continue: Duration,
    /// Getting an error page from the error target. Default 5 s.
    pub error_page: Duration,
    /// After the shutdown signal: time for requests and websockets to end. Default 30 s.
    pub drain: Duration,
    /// After another process took over: time for websockets and long downloads to end. Default 12 h.
    pub retire: Duration,
    /// How often certificate files are looked at for changes. Default 10 s.
    pub certificate_check: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: None,
            client: None,
            keep_alive: Duration::from_secs(75),
            request_head: Duration::from_mins(1),
            place: Duration::from_millis(250),
            half_closed: Duration::from_mins(1),
            stuck: Duration::from_mins(15),
            upstream_idle: Duration::from_mins(1),
            expect_continue: Duration::from_secs(1),
            error_page: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            retire: Duration::from_hours(12),
            certificate_check: Duration::from_secs(10),
        }
    }
}

/// What the proxy holds at most. Counts are for the whole process unless said otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections from clients; one more is answered 503 and closed. Default 16,384.
    pub client_connections: usize,
    /// Connections from one client address; one more is answered 503. `None` is three quarters of
    /// `client_connections`. Addresses in [`ProxyOptions::trusted_proxies`] are exempt. Default `None`.
    pub connections_per_client: Option<usize>,
    /// Connections to all targets; a request that needs one more is answered 503. Default 16,384.
    pub upstream_connections: usize,
    /// Connections to one target; among others it gets at most twice of what is free. Default 4,096.
    pub connections_per_target: usize,
    /// Idle connections kept for one target by each worker. Default 1,024.
    pub idle_per_target: usize,
    /// Request head in bytes; a longer one is answered 431. Default 64 KiB.
    pub request_head: usize,
    /// Header lines in a request. Default 128.
    pub request_headers: usize,
    /// Requests under way at the same time on one HTTP/2 connection. Default 128.
    pub http2_streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_connections: 16_384,
            connections_per_client: None,
            upstream_connections: 16_384,
            connections_per_target: 4_096,
            idle_per_target: 1_024,
            request_head: 64 * 1024,
            request_headers: 128,
            http2_streams: 128,
        }
    }
}

/// How finished requests are logged, a line each on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Not at all.
    #[default]
    Off,
    /// The common log format, followed by the milliseconds taken.
    Common,
    /// A JSON object for each request.
    Json,
}

/// Everything that the data path can be told. Host routing is a property of the [`RouteTable`](crate::RouteTable).
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of configurable-http-proxy")]
pub struct ProxyOptions {
    /// Addresses to listen on. Default: loopback, port 8000.
    pub listen: Vec<Listen>,
    /// Worker threads; `None` means one for each core.
    pub workers: Option<NonZeroUsize>,
    /// Target of the route `/`, added when the proxy is bound.
    pub default_target: Option<String>,
    /// Server that renders error pages: asked for `{error_target}/{code}?url={path}`.
    pub error_target: Option<String>,
    /// Folder with `{code}.html` and `error.html`. Not together with `error_target`.
    pub error_path: Option<PathBuf>,
    /// Waiting times.
    pub timeouts: Timeouts,
    /// Bounds.
    pub limits: Limits,
    /// TLS towards clients.
    pub tls: Option<TlsFiles>,
    /// TLS towards clients with a certificate that the proxy orders and renews. Not together with `tls`.
    pub acme: Option<AcmeOptions>,
    /// Where to listen for plain HTTP, and the port of HTTPS that it is sent to. Over it ACME authorities see
    /// [`AcmeChallenge::Http`].
    pub redirect: Option<(Listen, u16)>,
    /// TLS towards `https` targets.
    pub client_tls: ClientTls,
    /// Offer HTTP/2 to clients over TLS. Default true.
    pub http2: bool,
    /// Understand HTTP/2 without TLS from clients that begin with it (prior knowledge). Default false.
    pub http2_cleartext: bool,
    /// Every TCP connection begins with a PROXY protocol header, version 1 or 2. Default false.
    pub proxy_protocol: bool,
    /// Whose `X-Forwarded-*` headers are believed, and continued. `None` believes everybody's, as
    /// configurable-http-proxy does; from others than the ones listed they are dropped. Default `None`.
    pub trusted_proxies: Option<Vec<Network>>,
    /// `Strict-Transport-Security` with this age on answers over TLS that have none. Default: none.
    pub hsts: Option<Duration>,
    /// Log of finished requests. Default off.
    pub access_log: AccessLog,
    /// Cookie whose value identifies the session that opened a websocket, for cutting it later.
    /// Default `jupyterhub-session-id`.
    pub session_cookie: String,
    /// Accept any certificate from `https` targets.
    pub insecure: bool,
    /// Add `X-Forwarded-For`, `-Port`, `-Proto` and `-Host`. Default true.
    pub x_forward: bool,
    /// Forward the part of the path that matched the route. Default true.
    pub include_prefix: bool,
    /// Put the target's own path in front. Default true.
    pub prepend_path: bool,
    /// Replace `Host` by the target's.
    pub change_origin: bool,
    /// Rewrite the host of redirects that point to the target.
    pub auto_rewrite: bool,
    /// Rewrite the scheme of such redirects to `http` or `https`.
    pub protocol_rewrite: Option<String>,
    /// Headers set on every forwarded request.
    pub custom_headers: Vec<(String, String)>,
    /// Header set on what goes to the hub, that is by routes with `hub: true`, and on nothing else. By it the hub tells
    /// requests that came through the proxy from others. Default: none.
    pub hub_mark: Option<(String, String)>,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8000)))],
            workers: None,
            default_target: None,
            error_target: None,
            error_path: None,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            tls: None,
            acme: None,
            redirect: None,
            client_tls: ClientTls::default(),
            http2: true,
            http2_cleartext: false,
            proxy_protocol: false,
            trusted_proxies: None,
            hsts: None,
            access_log: AccessLog::Off,
            session_cookie: "jupyterhub-session-id".to_owned(),
            insecure: false,
            x_forward: true,
            include_prefix: true,
            prepend_path: true,
            change_origin: false,
            auto_rewrite: false,
            protocol_rewrite: None,
            custom_headers: Vec::new(),
            hub_mark: None,
        }
    }
}

impl ProxyOptions {
    /// Whether clients connect over TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some() || self.acme.is_some()
    }

    /// Checks what does not need the network.
    pub(crate) fn validate(&self) -> Result<(), ProxyError> {
        if self.listen.is_empty() {
            return Err(ProxyError::NothingToListenOn);
        }
        if self.tls.is_some() && self.acme.is_some() {
            return Err(ProxyError::option(
                "tls, acme",
                "a certificate is either given or ordered: remove one of them",
            ));
        }
        if self.redirect.is_some() && !self.is_secure() {
            return Err(ProxyError::option("redirect", "there is no certificate for HTTPS to lead to"));
        }
        if let Some(acme) = &self.acme
            && acme.challenge == AcmeChallenge::Http
            && self.redirect.is_none()
        {
            return Err(ProxyError::option(
                "acme.challenge",
                "http-01 needs a redirect port: port 80 for the authority",
            ));
        }
        if self.error_target.is_some() && self.error_path.is_some() {
            return Err(ProxyError::option(
                "error_target, error_path",
                "only one of them can be set: remove the other",
            ));
        }
        if let Some(scheme) = self.protocol_rewrite.as_deref()
            && !matches!(scheme, "http" | "https")
        {
            return Err(ProxyError::option(
                "protocol_rewrite",
                format!("{scheme:?} is neither \"http\" nor \"https\""),
            ));
        }
        Ok(())
    }
}
