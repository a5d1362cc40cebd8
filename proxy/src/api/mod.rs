//! configurable-http-proxy's REST API to the route table.
//!
//! Differences, all where the original leaves a request without an answer or accepts what it cannot serve:
//! malformed percent-encoding in the path is 400, a target that is no URL is 400 instead of an error at each
//! request, bodies are bounded at 1 MiB (413), and `DELETE /api/routes` means the route `/`.

mod auth;
mod date;
mod handlers;

use std::{net::SocketAddr, sync::Arc};

use tokio_util::sync::CancellationToken;

use self::handlers::Handlers;
use crate::{
    error::ProxyError, http_server::HttpServer, metrics::Metrics, options::Listen, routes::RouteTable,
};

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
        let handlers = Arc::new(Handlers::new(token, routes, metrics));
        Ok(Self { server: HttpServer::bind(listen)?, handlers })
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
