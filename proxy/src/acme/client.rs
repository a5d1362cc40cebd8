//! Requests to the authority, with bounds on time and size.

use std::{convert::Infallible, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// For one request and its answer.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer; certificate chains have some KiB.
const MAX_ANSWER: usize = 256 * 1024;

/// Speaks HTTPS with the authority, a connection for each request: there are about ten of them in two months.
pub(super) struct Client(pub(super) TlsConnector);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("{0} is no https address")]
    Address(Uri),
    #[error("{host} cannot be reached: {source}")]
    Connect { host: String, source: std::io::Error },
    #[error("no TLS connection with {host}: {source}; acme.ca_file names the authority of a private server")]
    Tls { host: String, source: std::io::Error },
    #[error("the request to {host} failed: {source}")]
    Http { host: String, source: hyper::Error },
    #[error("the answer of {host} broke off or is larger than {MAX_ANSWER} bytes: {source}")]
    Body { host: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{host} took longer than {} seconds to answer", ANSWER.as_secs())]
    Slow { host: String },
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let tls = self.0.clone();
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let answered = timeout(ANSWER, exchange(tls, host.clone(), request)).await;
            let answer = answered.unwrap_or(Err(NoAnswer::Slow { host }));
            answer.map(BytesResponse::from).map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

async fn exchange(
    tls: TlsConnector,
    host: String,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let uri = std::mem::take(request.uri_mut());
    let bare = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(bare.clone());
    let (Some("https"), Some(authority), Ok(name)) = (uri.scheme_str(), uri.authority(), name) else {
        return Err(NoAnswer::Address(uri));
    };
    let address = (bare, authority.port_u16().unwrap_or(443));
    let Ok(value) = HeaderValue::from_str(authority.as_str()) else { return Err(NoAnswer::Address(uri)) };
    request.headers_mut().insert(header::HOST, value);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| NoAnswer::Address(uri.clone()))?;

    let tcp = TcpStream::connect(address).await;
    let tcp = tcp.map_err(|source| NoAnswer::Connect { host: host.clone(), source })?;
    let tls = tls.connect(name, tcp).await;
    let tls = tls.map_err(|source| NoAnswer::Tls { host: host.clone(), source })?;
    let failed = |source| NoAnswer::Http { host: host.clone(), source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(failed)?;
    let driven = async {
        // What goes wrong on the connection is told to whoever waits for the answer.
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    let answered = async {
        let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|source| NoAnswer::Body { host: host.clone(), source })?;
        Ok(Response::from_parts(parts, Full::new(body.to_bytes())))
    };
    tokio::select! {
        answer = answered => answer,
        never = driven => match never {},
    }
}
