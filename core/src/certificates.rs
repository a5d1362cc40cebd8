//! TLS between hub and servers (`hub.internal_ssl`), as far as spawners have to do with it.

use std::fmt;

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
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

/// Longest name of files of a certificate, without ending, in bytes. File systems allow 255 with all that is added to it.
const LONGEST_STEM: usize = 120;

/// The name of the files of whoever is called so: the name itself, or its beginning with a digest of the whole where it
/// is longer than file systems like.
pub fn file_stem(name: &str) -> String {
    if name.len() <= LONGEST_STEM {
        return name.to_owned();
    }
    let digest = hex::encode(Sha256::digest(name));
    let digest = digest.get(..32).unwrap_or_default();
    let most = LONGEST_STEM - digest.len() - 1;
    let end = name.char_indices().map(|(at, _)| at).take_while(|at| *at <= most).last().unwrap_or_default();
    format!("{}-{digest}", name.get(..end).unwrap_or_default())
}

/// Why there is no certificate. The text names what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct CertificateError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_of_files_are_cut_and_stay_different() {
        assert_eq!(file_stem("user-ann"), "user-ann");
        let at_most = "n".repeat(LONGEST_STEM);
        assert_eq!(file_stem(&at_most), at_most);
        let long = "é".repeat(300);
        let (one, other) = (file_stem(&long), file_stem(&format!("{long}x")));
        assert!(one.len() <= LONGEST_STEM && one.starts_with("éé"), "{one}");
        assert_ne!(one, other);
    }
}
