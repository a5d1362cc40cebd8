//! What TLS is made of: files, passphrases, whom to trust.

use std::{fmt, path::PathBuf};

/// The passphrase of an encrypted private key. Never shown.
#[derive(Clone)]
pub struct Passphrase(String);

impl Passphrase {
    /// Takes the passphrase as it is.
    pub fn new(passphrase: String) -> Self {
        Self(passphrase)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Certificate and key for TLS towards clients. The files are read again when they change.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Private key in PEM; PKCS#8 when it is encrypted.
    pub key: PathBuf,
    /// Certificate chain in PEM, leaf first.
    pub certificate: PathBuf,
    /// For an encrypted key.
    pub passphrase: Option<Passphrase>,
    /// Authorities (PEM) that may vouch for clients; `None` are those of the system.
    pub authorities: Option<PathBuf>,
    /// Clients must show a certificate.
    pub require_client_certificate: bool,
    /// Only TLS 1.2 (`Some(false)` only TLS 1.3); `None` both.
    pub only_tls12: Option<bool>,
    /// Cipher suites of TLS 1.2 by their OpenSSL names; `None` are the library's. Those of TLS 1.3 are always on.
    pub ciphers: Option<Vec<String>>,
}

impl TlsFiles {
    /// Key and certificate with defaults for everything else.
    pub fn new(key: impl Into<PathBuf>, certificate: impl Into<PathBuf>) -> Self {
        Self {
            key: key.into(),
            certificate: certificate.into(),
            passphrase: None,
            authorities: None,
            require_client_certificate: false,
            only_tls12: None,
            ciphers: None,
        }
    }
}

/// What the proxy shows to `https` targets, and whom it believes.
#[derive(Debug, Clone, Default)]
pub struct ClientTls {
    /// Certificate (PEM) to show, with its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Authorities (PEM) that may vouch for targets; `None` are those of the system.
    pub authorities: Option<PathBuf>,
}
