//! TLS towards clients and towards `https` targets: rustls with the aws-lc-rs provider.

mod files;
mod reload;
mod suites;
mod targets;

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::{reload::Reloading, targets::client_config};
use crate::{
    acme::{self, Challenges},
    error::ProxyError,
    options::TlsFiles,
};

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// The certificate of a listener and what accepts connections with it.
#[derive(Clone)]
pub(crate) struct ServerTls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) certificate: Arc<Reloading>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Reads certificate, key and authorities. `protocols` are offered in this order. `challenges` are answered to the
/// authority that issues the certificate.
pub(crate) fn server_config(
    files: &TlsFiles,
    protocols: &[&str],
    challenges: Option<Arc<Challenges>>,
) -> Result<ServerTls, ProxyError> {
    let mut provider = provider();
    if let Some(names) = &files.ciphers {
        provider.cipher_suites = suites::chosen(names)?;
    }
    let provider = Arc::new(provider);
    let versions: &[&'static rustls::SupportedProtocolVersion] = match files.only_tls12 {
        None => rustls::ALL_VERSIONS,
        Some(true) => &[&rustls::version::TLS12],
        Some(false) => &[&rustls::version::TLS13],
    };
    let unusable = |error: &dyn std::fmt::Display| ProxyError::option("TLS", error.to_string());
    let asked = challenges.is_some().then(|| acme::PROTOCOL.to_vec());
    let certificate = Arc::new(Reloading::new(files.clone(), Arc::clone(&provider), challenges)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| unusable(&error))?;
    let builder = if files.require_client_certificate {
        let authorities = Arc::new(files::authorities(files.authorities.as_deref())?);
        let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider).build();
        let verifier = verifier.map_err(|error| {
            ProxyError::option("client certificates", format!("no authority to check them by: {error}"))
        })?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let resolver: Arc<Reloading> = Arc::clone(&certificate);
    let mut config = builder.with_cert_resolver(resolver);
    // Who names suites names them in the order of preference.
    config.ignore_client_order = files.ciphers.is_some();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).chain(asked).collect();
    Ok(ServerTls { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
}
