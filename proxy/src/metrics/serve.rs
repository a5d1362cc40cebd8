//! The listener for `/metrics`.

use std::{net::SocketAddr, sync::Arc};

use http::{Method, StatusCode};
use tokio_util::sync::CancellationToken;

use super::{CONTENT_TYPE, Metrics};
use crate::{
    error::ProxyError,
    http_server::{HttpServer, answer},
    options::Listen,
    server::Sockets,
};

/// Serves `/metrics`; every other path is 404, as in configurable-http-proxy.
#[derive(Debug)]
pub struct MetricsServer {
    server: HttpServer,
    metrics: Arc<Metrics>,
}

impl MetricsServer {
    /// Binds the listener.
    ///
    /// # Errors
    /// [`ProxyError::AddressInUse`] or [`ProxyError::Listen`].
    pub fn bind(listen: &Listen, metrics: Arc<Metrics>) -> Result<Self, ProxyError> {
        Self::bind_inheriting(listen, metrics, &mut Sockets::default())
    }

    /// As [`bind`](Self::bind), using a socket that is open already where its address fits.
    pub fn bind_inheriting(
        listen: &Listen,
        metrics: Arc<Metrics>,
        inherited: &mut Sockets,
    ) -> Result<Self, ProxyError> {
        Ok(Self { server: HttpServer::bind(listen, None, inherited)?, metrics })
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
        let metrics = self.metrics;
        self.server
            .run(shutdown, move |request| {
                let wanted = request.uri().path() == "/metrics" && request.method() == Method::GET;
                let response = if wanted {
                    answer(StatusCode::OK, CONTENT_TYPE, metrics.text())
                } else {
                    answer(StatusCode::NOT_FOUND, "text/plain", "Not Found")
                };
                std::future::ready(response)
            })
            .await
    }
}
