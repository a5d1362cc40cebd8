//! TLS towards clients and towards `https` targets: rustls with the aws-lc-rs provider.

mod files;
mod reload;
mod suites;
mod targets;

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use self::reload::Reloading;
pub(crate) use self::{
    reload::{Certificates, Refresh},
    targets::{TargetTls, client_config},
};
use crate::{
    acme::{self, Challenges},
    error::ProxyError,
    options::TlsFiles,
};

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// How a listener speaks TLS.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls(Arc<Reloading<ServerConfig>>);

impl ServerTls {
    /// What accepts the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current())
    }

    /// What follows the files.
    pub(crate) fn files(&self) -> Arc<dyn Refresh> {
        Arc::<Reloading<ServerConfig>>::clone(&self.0)
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
    let asked = challenges.is_some().then(|| acme::PROTOCOL.to_vec());
    let recipe = Recipe {
        files: files.clone(),
        provider: Arc::new(provider),
        protocols: protocols.iter().map(|name| name.as_bytes().to_vec()).chain(asked).collect(),
        challenges,
    };
    let followed = [&files.key, &files.certificate].into_iter().chain(&files.authorities).cloned().collect();
    Ok(ServerTls(Arc::new(Reloading::new(followed, Box::new(move || recipe.build()))?)))
}

/// All that a listener's configuration is made of.
struct Recipe {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    protocols: Vec<Vec<u8>>,
    challenges: Option<Arc<Challenges>>,
}

impl Recipe {
    fn build(&self) -> Result<ServerConfig, ProxyError> {
        let Self { files, provider, protocols, challenges } = self;
        let versions: &[&'static rustls::SupportedProtocolVersion] = match files.only_tls12 {
            None => rustls::ALL_VERSIONS,
            Some(true) => &[&rustls::version::TLS12],
            Some(false) => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(|error| ProxyError::option("TLS", error.to_string()))?;
        let builder = if files.require_client_certificate {
            let authorities = Arc::new(files::authorities(files.authorities.as_deref())?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider)).build();
            let verifier = verifier.map_err(|error| {
                let problem = format!("no authority to check them by: {error}");
                ProxyError::option("client certificates", problem)
            })?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let certificate = Certificate { key: Arc::new(self.key()?), challenges: challenges.clone() };
        let mut config = builder.with_cert_resolver(Arc::new(certificate));
        // Who names suites names them in the order of preference.
        config.ignore_client_order = files.ciphers.is_some();
        config.alpn_protocols.clone_from(protocols);
        Ok(config)
    }

    fn key(&self) -> Result<CertifiedKey, ProxyError> {
        let files = &self.files;
        let chain = files::chain(&files.certificate)?;
        let key = files::key(&files.key, files.passphrase.as_ref())?;
        CertifiedKey::from_der(chain, key, &self.provider).map_err(|error| {
            let name = files.key.display().to_string();
            ProxyError::option(name, format!("key and certificate cannot be used: {error}"))
        })
    }
}

/// What clients are shown.
#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    challenges: Option<Arc<Challenges>>,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(challenges) = &self.challenges
            && acme::is_asked(&hello)
        {
            return challenges.tls(&hello);
        }
        Some(Arc::clone(&self.key))
    }
}
