//! A certificate that can be exchanged while connections come in.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::{info, warn};

use super::files;
use crate::{
    acme::{self, Challenges},
    error::ProxyError,
    options::TlsFiles,
};

/// Time and length of key and certificate file, to notice a change.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// The certificate now in use and the files that it came from.
#[derive(Debug)]
pub(crate) struct Reloading {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
    seen: Mutex<Stamp>,
    challenges: Option<Arc<Challenges>>,
}

impl Reloading {
    pub(super) fn new(
        files: TlsFiles,
        provider: Arc<CryptoProvider>,
        challenges: Option<Arc<Challenges>>,
    ) -> Result<Self, ProxyError> {
        let seen = stamp(&files);
        let current = load(&files, &provider)?;
        let (current, seen) = (ArcSwap::from_pointee(current), Mutex::new(seen));
        Ok(Self { files, provider, current, seen, challenges })
    }

    /// Reads the files again if they changed. A pair that cannot be used is reported, and the old one stays.
    pub(crate) fn refresh(&self) {
        let now = stamp(&self.files);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return;
            }
            *seen = now;
        }
        match load(&self.files, &self.provider) {
            Ok(certificate) => {
                self.current.store(Arc::new(certificate));
                info!(certificate = %self.files.certificate.display(), "certificate was read again");
            }
            Err(error) => warn!(%error, "the changed certificate cannot be used, the old one stays in use"),
        }
    }
}

impl ResolvesServerCert for Reloading {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(challenges) = &self.challenges
            && acme::is_asked(&hello)
        {
            return challenges.tls(&hello);
        }
        Some(self.current.load_full())
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    [&files.key, &files.certificate].map(|path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    })
}

fn load(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, ProxyError> {
    let chain = files::chain(&files.certificate)?;
    let key = files::key(&files.key, files.passphrase.as_ref())?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let name = files.key.display().to_string();
        ProxyError::option(name, format!("key and certificate cannot be used: {error}"))
    })
}
