//! Certificates of servers and of services that the hub runs: a fresh one for each start.

use std::path::PathBuf;

use hub_core::{CertificateError, CertificateIssuer, Clock as _, ServerCertificate, SystemClock, UserName};

use super::authority::{Authority, Pair};

/// Under which names a service is reached that the hub runs.
const LOCAL: [&str; 3] = ["DNS:localhost", "IP:127.0.0.1", "IP:::1"];

/// Makes them.
#[derive(Debug)]
pub(super) struct Issuer {
    authority: Authority,
    /// Whom servers believe.
    believed: String,
    trusted_alt_names: Vec<String>,
}

/// Where a service finds its certificate.
#[derive(Debug)]
pub(crate) struct ServiceFiles {
    /// Its key and its certificate, in one file.
    pub(crate) pair: PathBuf,
    /// Whom it believes.
    pub(crate) authorities: PathBuf,
}

impl ServiceFiles {
    /// The variables that tell a service of them.
    pub(crate) fn variables(&self) -> [(String, String); 3] {
        [
            ("JUPYTERHUB_SSL_KEYFILE", &self.pair),
            ("JUPYTERHUB_SSL_CERTFILE", &self.pair),
            ("JUPYTERHUB_SSL_CLIENT_CA", &self.authorities),
        ]
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
    }
}

impl Issuer {
    pub(super) fn new(authority: Authority, believed: String, trusted_alt_names: Vec<String>) -> Self {
        Self { authority, believed, trusted_alt_names }
    }

    pub(super) fn of_service(&self, name: &str) -> Result<Pair, CertificateError> {
        let names: Vec<String> =
            LOCAL.map(str::to_owned).into_iter().chain(self.trusted_alt_names.clone()).collect();
        self.authority.sign(&format!("service-{name}"), &names, SystemClock.now())
    }
}

impl CertificateIssuer for Issuer {
    fn issue(&self, user: &UserName, names: &[String]) -> Result<ServerCertificate, CertificateError> {
        let Pair { key, certificate } =
            self.authority.sign(&format!("user-{user}"), names, SystemClock.now())?;
        Ok(ServerCertificate { key: key.into(), certificate, authorities: self.believed.clone() })
    }

    fn trusted_alt_names(&self) -> &[String] {
        &self.trusted_alt_names
    }
}
