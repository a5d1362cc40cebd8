//! A client that speaks TLS and believes only whom it is told to.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::support::patiently;

/// A file beside the tests.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name)
}

/// The client; it asks for `localhost`.
#[derive(Clone)]
pub(crate) struct TlsClient(TlsConnector);

impl TlsClient {
    /// One that believes the authorities in a PEM text.
    pub(crate) fn believing(authorities: &str) -> Self {
        Self::new(authorities, None, rustls::ALL_VERSIONS)
    }

    /// One that believes the authority of the tests, and shows the certificate of this name, if any.
    pub(crate) fn showing(identity: Option<&str>) -> Self {
        Self::new(&authority(), identity, rustls::ALL_VERSIONS)
    }

    /// One that believes the authority of the tests and speaks one version only.
    pub(crate) fn speaking(version: &'static SupportedProtocolVersion) -> Self {
        Self::new(&authority(), None, &[version])
    }

    fn new(
        authorities: &str,
        identity: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(fixture(&format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(fixture(&format!("{name}-key.pem"))).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?).await
    }

    /// A connection over a stream that is open already.
    pub(crate) async fn over<S>(&self, stream: S) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.0.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// The whole answer to a request for a path, sent with these headers; none when the other side ends the connection
    /// before one has come.
    pub(crate) async fn get(&self, address: SocketAddr, path: &str, headers: &str) -> Option<TlsAnswer> {
        self.get_over(TcpStream::connect(address).await.ok()?, path, headers).await
    }

    /// The same over a stream that is open already.
    pub(crate) async fn get_over<S>(&self, stream: S, path: &str, headers: &str) -> Option<TlsAnswer>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        patiently(async {
            let mut stream = self.over(stream).await.ok()?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut bytes = Vec::new();
            // The end may come without a farewell; what counts is what came before.
            let _ = stream.read_to_end(&mut bytes).await;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let status = text.split(' ').nth(1)?.parse().ok()?;
            let session = stream.get_ref().1;
            let version = format!("{:?}", session.protocol_version()?);
            let suite = format!("{:?}", session.negotiated_cipher_suite()?.suite());
            Some(TlsAnswer { status, text, version, suite })
        })
        .await
    }
}

fn authority() -> String {
    std::fs::read_to_string(fixture("ca.pem")).unwrap()
}

/// An answer and how it came.
#[derive(Debug)]
pub(crate) struct TlsAnswer {
    pub(crate) status: u16,
    /// Head and body.
    pub(crate) text: String,
    pub(crate) version: String,
    pub(crate) suite: String,
}
