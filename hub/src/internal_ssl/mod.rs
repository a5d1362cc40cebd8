//! TLS among hub, proxy and servers (`hub.internal_ssl`). Answers to `JupyterHub.init_internal_ssl`.
//!
//! Each side has an authority of its own and believes those of the sides that it talks to: the hub all of them, the proxy
//! and the servers the hub and each other. Who connects shows a certificate too. Beyond JupyterHub, servers as pods do
//! not believe each other, and the authorities of the system count nowhere.

mod authority;
mod folder;
mod issuer;
mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use hub_config::internal_ssl::AUTHORITIES;
use hub_config::{AuthorityFiles, Config, HubSection};
use hub_core::{CertificateIssuer, Clock as _, SystemClock};
use hub_proxy::options::{ClientTls, TlsFiles};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tracing::warn;

use self::authority::{Authority, Pair};
use self::folder::Folder;
use self::issuer::Issuer;
pub(crate) use self::issuer::ServiceFiles;

const HUB_AUTHORITY: &str = AUTHORITIES[0];
const SERVERS_AUTHORITY: &str = AUTHORITIES[1];
const API_AUTHORITY: &str = AUTHORITIES[2];
const PROXY_AUTHORITY: &str = AUTHORITIES[3];
const SERVICES_AUTHORITY: &str = AUTHORITIES[4];

const HUB: &str = "hub-internal";
const PROXY_API: &str = "proxy-api";
const PROXY: &str = "proxy-client";

/// Certificates of hub and proxy, each with the authority that signs it.
const SIGNED: [(&str, &str); 3] =
    [(HUB, HUB_AUTHORITY), (PROXY_API, API_AUTHORITY), (PROXY, PROXY_AUTHORITY)];

/// Whom the side of each authority believes.
const TRUST: [(&str, &[&str]); 5] = [
    (HUB_AUTHORITY, &AUTHORITIES),
    (API_AUTHORITY, &[HUB_AUTHORITY, SERVICES_AUTHORITY, SERVERS_AUTHORITY]),
    (PROXY_AUTHORITY, &[HUB_AUTHORITY, SERVERS_AUTHORITY]),
    (SERVERS_AUTHORITY, &[HUB_AUTHORITY, PROXY_AUTHORITY]),
    (SERVICES_AUTHORITY, &[HUB_AUTHORITY, API_AUTHORITY]),
];

/// All that hub, proxy and spawners need to speak TLS with each other.
#[derive(Debug)]
pub struct InternalSsl {
    folder: Folder,
    /// The hub's own certificate.
    hub: Pair,
    issuer: Arc<Issuer>,
}

/// An authority: what it signs with, where that is known, and the certificates to believe for it.
struct Known {
    signer: Option<Authority>,
    certificates: String,
}

impl InternalSsl {
    /// Takes away all certificates where the configuration says so. To be called when a hub begins.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn forget(section: &HubSection) -> anyhow::Result<()> {
        if !(section.internal_ssl && section.recreate_internal_certs) {
            return Ok(());
        }
        let names: Vec<&str> = AUTHORITIES.into_iter().chain(SIGNED.map(|(name, _)| name)).collect();
        Folder::open(&section.internal_certs_location)?.clear(&names)
    }

    /// Reads the certificates, and makes those that are missing; none where `hub.internal_ssl` is off.
    ///
    /// # Errors
    /// What is wrong with the folder or a file, with the key that names it.
    pub fn open(config: &Config) -> anyhow::Result<Option<Self>> {
        let section = &config.hub;
        if !section.internal_ssl {
            return Ok(None);
        }
        let now = SystemClock.now();
        let folder = Folder::open(&section.internal_certs_location)?;
        let mut known = BTreeMap::new();
        for name in AUTHORITIES {
            let found = match section.external_ssl_authorities.get(name) {
                Some(files) => external(name, files)?,
                None => own(&folder.pair(name, || Ok(authority::make(name, now)?))?).with_context(|| {
                    format!("hub.internal_certs_location: {}", folder.key(name).display())
                })?,
            };
            if authority::ends_soon(&found.certificates, now) {
                warn!(
                    name,
                    "an authority of hub.internal_ssl ends within 30 days: set hub.recreate_internal_certs = true for one start, \
                    and start all servers again"
                );
            }
            known.insert(name, found);
        }
        trust(&folder, &known, &section.external_ssl_authorities)?;

        let mut pairs = BTreeMap::new();
        for (name, parent) in SIGNED {
            let names = if name == HUB { names::of_hub(config) } else { names::of_proxy(config) };
            let signer = known.get(parent).and_then(|known| known.signer.as_ref());
            let make = || -> anyhow::Result<Pair> {
                let key = format!("hub.external_ssl_authorities.{parent}.key");
                let signer =
                    signer.with_context(|| format!("{key}: is missing, and {name} needs a certificate"))?;
                Ok(signer.sign(name, &names, now)?)
            };
            // A proxy that somebody else looks after has its certificates from there.
            let needed = name == HUB || (name == PROXY && config.proxy.should_start);
            if signer.is_none() && !needed && !folder.key(name).exists() {
                continue;
            }
            let pair = folder.pair(name, make)?;
            if authority::ends_soon(&pair.certificate, now) {
                warn!(
                    name,
                    "a certificate of hub.internal_ssl ends within 30 days: remove its folder and start the hub again"
                );
            }
            pairs.insert(name, pair);
        }
        let mut records = (AUTHORITIES.to_vec(), SIGNED.to_vec());
        records.0.retain(|name| !section.external_ssl_authorities.contains_key(*name));
        records.1.retain(|(name, _)| pairs.contains_key(name));
        folder.record(&records.0, &records.1)?;

        let hub = pairs.remove(HUB).context("hub.internal_ssl: no certificate of the hub")?;
        let servers = known.remove(SERVERS_AUTHORITY).and_then(|known| known.signer);
        let servers = servers.with_context(|| {
            format!("hub.external_ssl_authorities.{SERVERS_AUTHORITY}.key: is missing, and servers need certificates")
        })?;
        let authorities = folder.read_trust(SERVERS_AUTHORITY)?;
        let issuer = Issuer::new(servers, authorities, section.trusted_alt_names.clone());
        Ok(Some(Self { folder, hub, issuer: Arc::new(issuer) }))
    }

    /// How the hub's listener speaks TLS: only with those who show a certificate.
    ///
    /// # Errors
    /// When a file holds no certificate that can be used.
    pub(crate) fn listener(&self) -> anyhow::Result<ServerConfig> {
        let authorities = Arc::new(roots(&self.folder.trust(HUB_AUTHORITY))?);
        let chain =
            CertificateDer::pem_slice_iter(self.hub.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.hub.key.as_bytes());
        let made = || -> anyhow::Result<ServerConfig> {
            let verifier = WebPkiClientVerifier::builder(authorities).build()?;
            let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
            Ok(builder.with_single_cert(chain?, key?)?)
        };
        made().with_context(|| format!("{} cannot be used", self.folder.certificate(HUB).display()))
    }

    /// A client that shows the hub's certificate, and believes nobody but servers, services and proxy.
    ///
    /// # Errors
    /// When a file holds no certificate that can be used.
    pub(crate) fn client(&self, builder: reqwest::ClientBuilder) -> anyhow::Result<reqwest::ClientBuilder> {
        let path = self.folder.trust(HUB_AUTHORITY);
        let pem = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem)?;
        let identity =
            reqwest::Identity::from_pem(format!("{}\n{}", self.hub.key, self.hub.certificate).as_bytes())?;
        Ok(builder.identity(identity).tls_certs_only(authorities))
    }

    /// What the proxy shows to the hub and to servers, and whom it believes there.
    pub(crate) fn proxy_client(&self) -> ClientTls {
        ClientTls {
            identity: Some((self.folder.certificate(PROXY), self.folder.key(PROXY))),
            authorities: Some(self.folder.trust(PROXY_AUTHORITY)),
        }
    }

    /// How the REST API of a proxy in a process of its own speaks TLS.
    pub(crate) fn proxy_api(&self) -> TlsFiles {
        TlsFiles {
            authorities: Some(self.folder.trust(API_AUTHORITY)),
            require_client_certificate: true,
            ..TlsFiles::new(self.folder.key(PROXY_API), self.folder.certificate(PROXY_API))
        }
    }

    /// What makes certificates of servers.
    pub(crate) fn issuer(&self) -> Arc<dyn CertificateIssuer> {
        Arc::clone(&self.issuer) as Arc<dyn CertificateIssuer>
    }

    /// Writes a certificate for a service that the hub runs, and tells where it is. The files become those of `owner`,
    /// where the service runs under another account.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn service(&self, name: &str, owner: Option<(u32, u32)>) -> anyhow::Result<ServiceFiles> {
        let pair = self.issuer.of_service(name)?;
        let [key, certificate] = self.folder.of_service(name, &pair, owner)?;
        Ok(ServiceFiles { key, certificate, authorities: absolute(&self.folder.trust(SERVERS_AUTHORITY))? })
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let wrong = || format!("{} holds no authorities that can be used", path.display());
    for certificate in CertificateDer::pem_file_iter(path).with_context(wrong)? {
        roots.add(certificate.with_context(wrong)?).with_context(wrong)?;
    }
    Ok(roots)
}

/// An authority of the hub's own.
fn own(pair: &Pair) -> anyhow::Result<Known> {
    Ok(Known { signer: Some(Authority::read(pair)?), certificates: pair.certificate.clone() })
}

/// An authority that somebody else made.
fn external(name: &str, files: &AuthorityFiles) -> anyhow::Result<Known> {
    let read = |key: &str, path: &Path| {
        std::fs::read_to_string(path).with_context(|| {
            format!("hub.external_ssl_authorities.{name}.{key}: cannot read {}", path.display())
        })
    };
    let certificate = read("cert", &files.cert)?;
    let above = files.ca.as_deref().map(|path| read("ca", path)).transpose()?.unwrap_or_default();
    let certificates = format!("{}\n{above}", certificate.trim_end());
    let key = files.key.as_deref().map(|path| read("key", path)).transpose()?;
    let signer = key.map(|key| Authority::read(&Pair { key, certificate })).transpose();
    let signer = signer.with_context(|| {
        format!("hub.external_ssl_authorities.{name}: key and certificate cannot be used")
    })?;
    Ok(Known { signer, certificates })
}

/// Writes whom each side believes. The hub also believes clients of authorities with names of their own.
fn trust(
    folder: &Folder,
    known: &BTreeMap<&str, Known>,
    others: &BTreeMap<String, AuthorityFiles>,
) -> anyhow::Result<()> {
    for (authority, believed) in TRUST {
        let mut all: Vec<String> = Vec::new();
        for name in believed {
            all.extend(known.get(name).map(|known| known.certificates.clone()));
        }
        if authority == HUB_AUTHORITY {
            for (name, files) in others.iter().filter(|(name, _)| !AUTHORITIES.contains(&name.as_str())) {
                all.push(external(name, &AuthorityFiles { key: None, ..files.clone() })?.certificates);
            }
        }
        let all: Vec<&str> = all.iter().map(|text| text.trim_end()).collect();
        folder.bundle(authority, &format!("{}\n", all.join("\n")))?;
    }
    Ok(())
}
