//! Requests to the hub: one connection each, answers of bounded size within bounded time.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use url::Url;

/// Longest answer that is read.
const MOST_BYTES: usize = 1024 * 1024;
/// Longest time for a request.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer of the hub.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `X-JupyterHub-Version`.
    pub(crate) version: Option<String>,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("the hub cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the hub broke off: {0}")]
    Protocol(#[from] hyper::Error),
    #[error("the hub's answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the hub did not answer within {} s", PATIENCE.as_secs())]
    Timeout,
    #[error("a request cannot be built: {0}")]
    Request(#[from] http::Error),
}

/// What to send.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    pub(crate) token: Option<&'a str>,
    /// Content type and body.
    pub(crate) body: Option<(&'static str, String)>,
}

/// Sends it and reads the answer.
pub(crate) async fn send(call: Call<'_>) -> Result<Answer, ClientError> {
    tokio::time::timeout(PATIENCE, exchange(call)).await.map_err(|_| ClientError::Timeout)?
}

async fn exchange(call: Call<'_>) -> Result<Answer, ClientError> {
    let url = call.url;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, url.port_or_known_default().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = request(call)?;
    // The connection must be driven while the answer is read, and is dropped with it.
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let version = answer.headers().get("x-jupyterhub-version");
        let version = version.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.map_err(ClientError::Body)?;
        Ok(Answer { status, version, body: body.to_bytes() })
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => {
            ended?;
            exchange.await
        }
    }
}

fn request(call: Call<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let url = call.url;
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let mut request = Request::builder()
        .method(call.method)
        .uri(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json");
    if let Some(token) = call.token {
        request = request.header(header::AUTHORIZATION, format!("token {token}"));
    }
    match call.body {
        Some((kind, body)) => request.header(header::CONTENT_TYPE, kind).body(Full::from(body)),
        None => request.body(Full::default()),
    }
}
