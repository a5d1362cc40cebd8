//! What can be set. Every default is what an unconfigured proxy in front of notebooks should do.

pub mod chp;
mod chp_run;

use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

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
    /// An idle connection to a target. Default 60 s.
    pub upstream_idle: Duration,
    /// How long a request body is held back for a target's `100 Continue`. Default 1 s.
    pub expect_continue: Duration,
    /// Getting an error page from the error target. Default 5 s.
    pub error_page: Duration,
    /// After the shutdown signal: time for requests and websockets to end. Default 30 s.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: None,
            client: None,
            keep_alive: Duration::from_secs(75),
            request_head: Duration::from_mins(1),
            upstream_idle: Duration::from_mins(1),
            expect_continue: Duration::from_secs(1),
            error_page: Duration::from_secs(5),
            drain: Duration::from_secs(30),
        }
    }
}

/// What the proxy holds at most. Counts are for the whole process unless said otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections from clients; one more is answered 503 and closed. Default 16,384.
    pub client_connections: usize,
    /// Connections to all targets; a request that needs one more is answered 503. Default 16,384.
    pub upstream_connections: usize,
    /// Connections to one target. Default 4,096.
    pub connections_per_target: usize,
    /// Idle connections kept for one target by each worker. Default 128.
    pub idle_per_target: usize,
    /// Request head in bytes; a longer one is answered 431. Default 64 KiB.
    pub request_head: usize,
    /// Header lines in a request. Default 128.
    pub request_headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_connections: 16_384,
            upstream_connections: 16_384,
            connections_per_target: 4_096,
            idle_per_target: 128,
            request_head: 64 * 1024,
            request_headers: 128,
        }
    }
}

/// Certificate and key for TLS towards clients.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Private key in PEM.
    pub key: PathBuf,
    /// Certificate chain in PEM, leaf first.
    pub certificate: PathBuf,
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
            insecure: false,
            x_forward: true,
            include_prefix: true,
            prepend_path: true,
            change_origin: false,
            auto_rewrite: false,
            protocol_rewrite: None,
            custom_headers: Vec::new(),
        }
    }
}

impl ProxyOptions {
    /// Checks what does not need the network.
    pub(crate) fn validate(&self) -> Result<(), ProxyError> {
        if self.listen.is_empty() {
            return Err(ProxyError::NothingToListenOn);
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
