//! How `https` targets are believed, and what they are shown.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_rustls::TlsConnector;

use super::{
    files,
    reload::{Refresh, Reloading},
};
use crate::{error::ProxyError, options::ClientTls};

/// How to speak TLS to targets.
#[derive(Debug, Clone)]
pub(crate) struct TargetTls(Arc<Reloading<ClientConfig>>);

impl TargetTls {
    /// What opens the next connection.
    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(self.0.current())
    }

    /// What follows the files.
    pub(crate) fn files(&self) -> Arc<dyn Refresh> {
        Arc::<Reloading<ClientConfig>>::clone(&self.0)
    }
}

/// How `https` targets are verified: by authorities, or not at all.
pub(crate) fn client_config(options: &ClientTls, insecure: bool) -> Result<TargetTls, ProxyError> {
    let identity = options.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
    let followed = identity.chain(&options.authorities).cloned().collect();
    let options = options.clone();
    Ok(TargetTls(Arc::new(Reloading::new(followed, Box::new(move || build(&options, insecure)))?)))
}

fn build(options: &ClientTls, insecure: bool) -> Result<ClientConfig, ProxyError> {
    let provider = Arc::new(super::provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ProxyError::option("TLS", error.to_string()))?;
    let builder = if insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAll(provider)))
    } else {
        builder.with_root_certificates(files::authorities(options.authorities.as_deref())?)
    };
    match &options.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let (chain, secret) = (files::chain(certificate)?, files::key(key, None)?);
            builder.with_client_auth_cert(chain, secret).map_err(|error| {
                let name = key.display().to_string();
                ProxyError::option(name, format!("key and certificate cannot be used: {error}"))
            })
        }
    }
}

/// The verifier behind `--insecure`.
#[derive(Debug)]
struct AcceptAll(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
