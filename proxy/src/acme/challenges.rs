//! What the authority asks for, and finds here while an order is under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{server::ClientHello, sign::CertifiedKey};

/// The protocol by which the authority asks in a TLS handshake (RFC 8737).
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";
/// Paths below which it asks over HTTP.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// Whether a handshake is one of an authority, which offers this one protocol.
pub(crate) fn is_asked(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|protocols| protocols.eq([PROTOCOL]))
}

/// Answers to challenges, by token and by name.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    http: Mutex<HashMap<String, String>>,
    tls: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Challenges {
    pub(super) fn put_http(&self, token: &str, answer: &str) {
        let mut http = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        http.insert(token.to_owned(), answer.to_owned());
    }

    pub(super) fn put_tls(&self, name: &str, certificate: CertifiedKey) {
        let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        tls.insert(name.to_ascii_lowercase(), Arc::new(certificate));
    }

    /// The order has ended.
    pub(super) fn clear(&self) {
        self.http.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The answer to a request, if it is one of the authority's.
    pub(crate) fn http(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PREFIX)?;
        self.http.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// The certificate for a handshake of the authority, if one is wanted under this name.
    pub(crate) fn tls(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        self.tls.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }
}
