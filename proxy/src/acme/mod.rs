//! A certificate from an ACME authority (RFC 8555): ordered at the first start, renewed in time.
//!
//! It lies in one file with its key, which is read again when it changes, as any other certificate. Until the first
//! one has come, the file holds one that we made ourselves and that ended long ago, so that nobody mistakes it.

mod challenges;
mod client;
mod order;
mod store;

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;
use tracing::{info, warn};

pub(crate) use self::challenges::{Challenges, PROTOCOL, is_asked};
use self::{
    order::{OrderError, Request},
    store::Store,
};
use crate::{
    error::ProxyError,
    handover::blocking,
    metrics::Metrics,
    options::{AcmeOptions, ClientTls, TlsFiles},
    server::tls::{self, Refresh, TargetTls},
};

/// How often to look whether the certificate is to be renewed, at least: the machine may have slept.
const LOOK: Duration = Duration::from_hours(6);
/// Between two attempts, at most.
const LONGEST_PAUSE: Duration = Duration::from_hours(12);

/// Keeps a certificate good.
#[derive(Clone)]
pub(crate) struct Acme {
    options: AcmeOptions,
    store: Store,
    challenges: Arc<Challenges>,
    tls: TargetTls,
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Acme {
    /// Prepares the folder. Afterwards there is a certificate, be it one that nobody accepts.
    ///
    /// # Errors
    /// Options that cannot be used, a folder that cannot be written to.
    pub(crate) fn prepare(options: &AcmeOptions) -> Result<Self, ProxyError> {
        options.validate()?;
        let authority = ClientTls { identity: None, authorities: options.ca_file.clone() };
        let tls = tls::client_config(&authority, false)?;
        let store = Store::open(&options.folder, &options.domains)?;
        Ok(Self { options: options.clone(), store, challenges: Arc::default(), tls })
    }

    /// Key and certificate for the listener.
    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles::new(self.store.certificate(), self.store.certificate())
    }

    /// What is answered to the authority at present.
    pub(crate) fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// Orders and renews the certificate for ever; `reloading` is told when there is a new one.
    pub(crate) async fn keep(&self, reloading: &Arc<dyn Refresh>, metrics: &Metrics) -> Infallible {
        // Machines that were set up in the same hour should not all renew in the same hour.
        let late = chance();
        let mut pause = self.options.pause;
        loop {
            let left = self.time_left(late, metrics).await;
            if let Ok(left) = &left
                && !left.is_zero()
            {
                sleep((*left).min(LOOK)).await;
                continue;
            }
            let failure = match left {
                Ok(_) => self.renew(reloading, late, metrics).await.err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            let Some(error) = failure else {
                metrics.certificates_issued.inc();
                info!(domains = ?self.options.domains, "a certificate was issued");
                pause = self.options.pause;
                continue;
            };
            metrics.certificate_failures.inc();
            let longer = pause.mul_f64(1.0 + chance() / 4.0).min(LONGEST_PAUSE);
            warn!(
                domains = ?self.options.domains,
                directory = %self.options.directory,
                next_try_in_s = longer.as_secs(),
                "no certificate was issued: {error}",
            );
            sleep(longer).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn renew(
        &self,
        reloading: &Arc<dyn Refresh>,
        late: f64,
        metrics: &Metrics,
    ) -> Result<(), OrderError> {
        let request = Request { options: &self.options, store: &self.store, challenges: &self.challenges };
        request.order(self.tls.connector()).await?;
        let reloading = Arc::clone(reloading);
        blocking(move || reloading.refresh()).await?;
        if self.time_left(late, metrics).await?.is_zero() {
            let problem = "what was issued has ended already, or is for other names";
            return Err(ProxyError::option("acme.directory", problem).into());
        }
        Ok(())
    }

    /// Time until another certificate is needed, zero when it is now.
    async fn time_left(&self, late: f64, metrics: &Metrics) -> Result<Duration, ProxyError> {
        let store = self.store.clone();
        let facts = blocking(move || store.facts()).await?;
        let Some(facts) = facts else { return Ok(Duration::ZERO) };
        metrics.certificate_end.set(facts.end_in_unix_time());
        Ok(facts.time_left(&self.options.domains, late, SystemTime::now()))
    }
}

/// A number from 0 to below 1, another one with each call.
fn chance() -> f64 {
    let drawn = RandomState::new().hash_one(()) >> 32;
    f64::from(u32::try_from(drawn).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}
