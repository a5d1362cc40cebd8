//! configurable-http-proxy's REST API to the route table.
//!
//! Differences, all where the original leaves a request without an answer or accepts what it cannot serve:
//! malformed percent-encoding in the path is 400, a target that is no URL is 400 instead of an error at each
//! request, bodies are bounded at 1 MiB (413), and `DELETE /api/routes` means the route `/`.
//!
//! Two paths are our own: `POST /api/websockets/cut` ends the websockets of a session, token or route, and
//! `GET /api/statistics` tells which routes are used most.

mod auth;
mod date;
mod handlers;

use std::{net::SocketAddr, sync::Arc};

use tokio_util::sync::CancellationToken;

use self::handlers::Handlers;
use crate::{
    error::ProxyError,
    http_server::HttpServer,
    metrics::Metrics,
    options::{Listen, TlsFiles},
    routes::RouteTable,
    server::{Scissors, Sockets, tls},
};

/// How the API is reached.
#[derive(Clone)]
pub struct ApiOptions {
    /// Where it listens.
    pub listen: Listen,
    /// What requests must show; without one everybody is let in.
    pub token: Option<String>,
    /// HTTPS instead of HTTP.
    pub tls: Option<TlsFiles>,
}

impl std::fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "..");
        f.debug_struct("ApiOptions")
            .field("listen", &self.listen)
            .field("token", &token)
            .finish_non_exhaustive()
    }
}

/// The API, bound to its address.
#[derive(Debug)]
pub struct Api {
    server: HttpServer,
    handlers: Arc<Handlers>,
}

impl Api {
    /// Binds the API. `token` is the one that requests must show; without one everybody is let in.
    ///
    /// # Errors
    /// [`ProxyError::AddressInUse`] or [`ProxyError::Listen`].
    pub fn bind(
        listen: &Listen,
        token: Option<String>,
        routes: Arc<RouteTable>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ProxyError> {
        let options = ApiOptions { listen: listen.clone(), token, tls: None };
        Self::bind_inheriting(&options, None, routes, metrics, &mut Sockets::default())
    }

    /// As [`bind`](Self::bind), with everything that can be set, and using a socket that is open already where its
    /// address fits. `scissors` cut the websockets of the proxy beside the API.
    ///
    /// # Errors
    /// As [`bind`](Self::bind); also [`ProxyError::Option`] for a certificate that cannot be used.
    pub fn bind_inheriting(
        options: &ApiOptions,
        scissors: Option<Scissors>,
        routes: Arc<RouteTable>,
        metrics: Arc<Metrics>,
        inherited: &mut Sockets,
    ) -> Result<Self, ProxyError> {
        let tls =
            options.tls.as_ref().map(|files| tls::server_config(files, &["http/1.1"], None)).transpose()?;
        let server = HttpServer::bind(&options.listen, tls, inherited)?;
        let handlers = Arc::new(Handlers::new(options.token.clone(), scissors, routes, metrics));
        Ok(Self { server, handlers })
    }

    pub(crate) fn server(&mut self) -> &mut HttpServer {
        &mut self.server
    }

    /// The TCP address with the port that the system chose; none for a socket file.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.server.local_addr()
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ProxyError> {
        let handlers = self.handlers;
        self.server
            .run(shutdown, move |request| {
                let handlers = Arc::clone(&handlers);
                async move { handlers.respond(request).await }
            })
            .await
    }
}

/// Reads text as each header and parameter of the API is read.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_texts(text: &str) {
    let _ = auth::shown_token(text);
    let _ = date::parse(text);
}

/// Carries out a request to the routes, without its token, and returns the status.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn carry_out(
    routes: &Arc<RouteTable>,
    method: &http::Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> http::StatusCode {
    handlers::carry_out(routes, method, path, query, body)
}
