//! What a proxy in a process of its own needs: its own certificates, and whom it believes. It is given these files
//! alone, reads them, and writes nothing: the authorities' keys are the hub's.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use hub_config::Config;
use hub_core::{Clock as _, SystemClock};
use hub_proxy::options::{ClientTls, TlsFiles};
use tokio::time::Instant;
use tracing::info;

use super::folder::{Folder, Kept};
use super::{API_AUTHORITY, PROXY, PROXY_API, PROXY_AUTHORITY, check};

/// How long the proxy waits for a hub that makes the files: both may be started at once.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);

/// How a proxy speaks TLS with hub and servers.
pub(crate) struct ProxySsl {
    /// What it shows to hub and servers, and whom it believes there.
    pub(crate) client: ClientTls,
    /// How its REST API speaks TLS.
    pub(crate) api: Option<TlsFiles>,
}

impl ProxySsl {
    /// The files that are there, once they are there; none where `hub.internal_ssl` is off. `api`: also those of the
    /// REST API.
    ///
    /// # Errors
    /// What is missing or wrong, with the key that names it.
    pub(crate) async fn find(config: &Config, api: bool) -> anyhow::Result<Option<Self>> {
        let section = &config.hub;
        if !section.internal_ssl {
            return Ok(None);
        }
        let folder = Folder::at(&section.internal_certs_location);
        let mut needed = vec![(PROXY, PROXY_AUTHORITY)];
        needed.extend(api.then_some((PROXY_API, API_AUTHORITY)));
        let until = Instant::now() + PATIENCE;
        let mut told = false;
        while let Some(missing) = missing(&folder, &needed)? {
            if Instant::now() >= until {
                bail!(
                    "hub.internal_certs_location: {missing}. The hub makes it: start the hub with the same folder, or \
                     give this proxy copies of {}",
                    needed
                        .iter()
                        .map(|(name, authority)| format!("{name}/ and {authority}_trust.crt"))
                        .collect::<Vec<_>>()
                        .join(", ")
                );
            }
            if !told {
                info!(missing, "waiting for the hub to make the proxy's certificates");
                told = true;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Some(Self { client: folder.proxy_client(), api: api.then(|| folder.proxy_api()) }))
    }
}

/// What is missing first, or cannot be used: while the hub makes a pair anew, the old one is there, or half of each.
fn missing(folder: &Folder, needed: &[(&str, &str)]) -> anyhow::Result<Option<String>> {
    let missing = |path: &Path| Ok(Some(format!("{} is missing", path.display())));
    for (name, authority) in needed {
        match folder.kept(name)? {
            Kept::Whole(pair) => {
                if let Err(flaw) = check::pair(&pair, SystemClock.now()) {
                    return Ok(Some(format!(
                        "{} cannot be used: {flaw}",
                        folder.certificate(name).display()
                    )));
                }
            }
            Kept::Half(path) => return missing(&path),
            Kept::Nothing => return missing(&folder.certificate(name)),
        }
        if folder.read_trust(authority)?.is_none() {
            return missing(&folder.trust(authority));
        }
    }
    Ok(None)
}

impl Folder {
    /// What the proxy shows to the hub and to servers, and whom it believes there.
    pub(super) fn proxy_client(&self) -> ClientTls {
        ClientTls {
            identity: Some((self.certificate(PROXY), self.key(PROXY))),
            authorities: Some(self.trust(PROXY_AUTHORITY)),
        }
    }

    /// How the REST API of a proxy in a process of its own speaks TLS.
    fn proxy_api(&self) -> TlsFiles {
        TlsFiles {
            authorities: Some(self.trust(API_AUTHORITY)),
            require_client_certificate: true,
            ..TlsFiles::new(self.key(PROXY_API), self.certificate(PROXY_API))
        }
    }
}
