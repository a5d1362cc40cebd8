//! Certificates and keys in PEM files.

use std::path::Path;

use pkcs8::EncryptedPrivateKeyInfo;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem, pem::PemObject},
};

use crate::{error::ProxyError, options::Passphrase};

fn bad(path: &Path, problem: &str) -> ProxyError {
    ProxyError::option(path.display().to_string(), problem)
}

/// A certificate chain, leaf first.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ProxyError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(path, &format!("no PEM certificate chain: {error}")))?;
    if chain.is_empty() {
        return Err(bad(path, "the file holds no PEM certificate"));
    }
    Ok(chain)
}

/// A private key; the passphrase is used when the key is encrypted.
pub(super) fn key(
    path: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<PrivateKeyDer<'static>, ProxyError> {
    match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => return Ok(key),
        Err(pem::Error::NoItemsFound) => {}
        Err(error) => return Err(bad(path, &format!("no PEM private key: {error}"))),
    }
    let source = |source| ProxyError::File { path: path.display().to_string(), source };
    let text = std::fs::read_to_string(path).map_err(source)?;
    let (label, der) = pkcs8::Document::from_pem(&text)
        .map_err(|_| bad(path, "no PEM private key: neither a plain nor an encrypted one was found"))?;
    if label != "ENCRYPTED PRIVATE KEY" {
        return Err(bad(path, &format!("no PEM private key: the file holds a {label}")));
    }
    let Some(passphrase) = passphrase else {
        return Err(bad(path, "the key is encrypted and no passphrase is set"));
    };
    let decrypted = EncryptedPrivateKeyInfo::try_from(der.as_bytes())
        .and_then(|info| info.decrypt(passphrase.expose()))
        .map_err(|_| bad(path, "the key cannot be decrypted with this passphrase"))?;
    Ok(PrivatePkcs8KeyDer::from(decrypted.as_bytes().to_vec()).into())
}

/// Trusted authorities: those in a file, else those of the system.
pub(super) fn authorities(path: Option<&Path>) -> Result<RootCertStore, ProxyError> {
    let mut roots = RootCertStore::empty();
    match path {
        None => {
            // A machine without certificates can still proxy to plain targets; https targets then fail by name.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            for certificate in chain(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| bad(path, &format!("a certificate is no usable authority: {error}")))?;
            }
        }
    }
    Ok(roots)
}
