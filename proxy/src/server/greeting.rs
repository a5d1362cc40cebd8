//! What happens before the first request: PROXY protocol, TLS, the choice between HTTP/1.1 and HTTP/2.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    proxy_protocol::{self, Header},
    stream::Stream,
    worker::Shared,
};
use crate::acme;

/// Time for all of it.
const GREETING: Duration = Duration::from_secs(10);
/// Pause before looking again for the rest of a greeting that came in pieces.
const PIECES: Duration = Duration::from_millis(5);
/// How HTTP/2 begins where nothing else announced it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// A connection that is ready for requests.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) stream: Stream,
    /// The client's address, be it that the PROXY protocol told it.
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) secure: bool,
    pub(crate) version: Version,
}

/// Makes a connection ready; `None` when the client does not keep to the protocol.
pub(crate) async fn greet(shared: &Shared, stream: Stream, remote: Option<SocketAddr>) -> Option<Greeted> {
    let settings = &shared.settings;
    if shared.tls_server.is_none() && !settings.proxy_protocol && !settings.http2_cleartext {
        return Some(Greeted { stream, remote, secure: false, version: Version::Http1 });
    }
    match timeout(GREETING, by_protocols(shared, stream, remote)).await {
        Ok(Ok(greeted)) => Some(greeted),
        Ok(Err(error)) => {
            debug!(%error, "connection did not begin as it should");
            None
        }
        Err(_) => {
            debug!("connection took too long to begin");
            None
        }
    }
}

async fn by_protocols(
    shared: &Shared,
    mut stream: Stream,
    mut remote: Option<SocketAddr>,
) -> io::Result<Greeted> {
    if shared.settings.proxy_protocol
        && let Stream::Tcp(tcp) = &mut stream
        && let Some(told) = proxied_for(tcp).await?
    {
        remote = Some(told);
    }
    if let Some(tls) = &shared.tls_server {
        let tls = tls.acceptor().accept(stream).await?;
        let version = match tls.get_ref().1.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            // The handshake was all that the authority wanted.
            Some(acme::PROTOCOL) => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Version::Http1,
        };
        return Ok(Greeted { stream: Stream::TlsServer(Box::new(tls)), remote, secure: true, version });
    }
    let http2 = match &stream {
        Stream::Tcp(tcp) if shared.settings.http2_cleartext => begins_with_preface(tcp).await?,
        _ => false,
    };
    let version = if http2 { Version::Http2 } else { Version::Http1 };
    Ok(Greeted { stream, remote, secure: false, version })
}

/// Reads the PROXY protocol header, and nothing behind it.
async fn proxied_for(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut seen = [0; proxy_protocol::LONGEST];
    loop {
        let count = tcp.peek(&mut seen).await?;
        let bytes = seen.get(..count).unwrap_or_default();
        match proxy_protocol::parse(bytes) {
            Header::Invalid => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no valid PROXY protocol header"));
            }
            Header::Complete { length, source } => {
                let mut header = vec![0; length];
                tcp.read_exact(&mut header).await?;
                return Ok(source);
            }
            Header::Partial if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Header::Partial => sleep(PIECES).await,
        }
    }
}

async fn begins_with_preface(tcp: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = tcp.peek(&mut seen).await?;
        let bytes = seen.get(..count).unwrap_or_default();
        if count == 0 || !PREFACE.starts_with(bytes) {
            return Ok(false);
        }
        if count == PREFACE.len() {
            return Ok(true);
        }
        sleep(PIECES).await;
    }
}
