//! TLS between hub and servers (`hub.internal_ssl`), as far as spawners have to do with it.

use std::fmt;

use secrecy::SecretString;
use thiserror::Error;

use crate::names::UserName;

/// Makes the certificates of servers. A spawner that is given one starts servers that speak TLS, each with a
/// certificate of its own.
pub trait CertificateIssuer: Send + Sync + fmt::Debug {
    /// A fresh certificate for a server of this person that is reached under `names`, each `DNS:host` or `IP:address`.
    ///
    /// # Errors
    /// When one of the names cannot be in a certificate.
    fn issue(&self, user: &UserName, names: &[String]) -> Result<ServerCertificate, CertificateError>;

    /// Names that the operator wants in each certificate (`hub.trusted_alt_names`).
    fn trusted_alt_names(&self) -> &[String];
}

/// The certificate of one server with its key, and whom it believes. All in PEM.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The private key.
    pub key: SecretString,
    /// The certificate.
    pub certificate: String,
    /// Authorities of those whom the server talks to: the hub and the proxy.
    pub authorities: String,
}

/// Why there is no certificate. The text names what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct CertificateError(pub String);
