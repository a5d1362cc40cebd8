//! TLS among hub, proxy and servers (`hub.internal_ssl`). Answers to `JupyterHub.init_internal_ssl`.
//!
//! Each side has an authority of its own and believes those of the sides that it talks to: the hub all of them, the
//! proxy and the servers the hub and each other. Who connects shows a certificate too. Beyond JupyterHub, whom the hub
//! calls has a certificate of just the authority for that, servers as pods do not believe each other, and the
//! authorities of the system count nowhere.

mod authority;
mod check;
mod folder;
mod guard;
mod issuer;
mod names;
mod proxy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, Utc};
use hub_config::internal_ssl::AUTHORITIES;
use hub_config::{AuthorityFiles, Config, HubSection};
use hub_core::{CertificateIssuer, Clock as _, SystemClock};
use hub_proxy::options::ClientTls;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};

use self::authority::{Authority, Pair};
use self::folder::{Folder, Kept};
pub(crate) use self::guard::{Fingerprints, STATE_KEY, look, settle};
use self::issuer::Issuer;
pub(crate) use self::issuer::ServiceFiles;
pub(crate) use self::proxy::ProxySsl;

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

/// Whom the side of each authority believes: the table of `docs/operate.md`.
const TRUST: [(&str, &[&str]); 5] = [
    (HUB_AUTHORITY, &AUTHORITIES),
    (API_AUTHORITY, &[HUB_AUTHORITY, SERVICES_AUTHORITY, SERVERS_AUTHORITY]),
    (PROXY_AUTHORITY, &[HUB_AUTHORITY, SERVERS_AUTHORITY]),
    (SERVERS_AUTHORITY, &[HUB_AUTHORITY, PROXY_AUTHORITY]),
    (SERVICES_AUTHORITY, &[HUB_AUTHORITY, API_AUTHORITY]),
];

/// What to do about an authority that is there and cannot be used.
const REMEDY: &str = "bring it back, or have all certificates made anew by hub.recreate_internal_certs = true for one \
                      start, after which all servers have to be started again";
/// How often a certificate is made anew before it is given up: another hub may make it at the same time.
const TRIES: usize = 5;

/// The authorities that a server which runs depends on: the one of its certificate, and those that it believes.
const AUTHORITIES_OF_SERVERS: [&str; 3] = [HUB_AUTHORITY, SERVERS_AUTHORITY, PROXY_AUTHORITY];

/// Whom the hub calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Servers.
    Server,
    /// Services.
    Service,
    /// The REST API of a proxy.
    ProxyApi,
}

impl Peer {
    /// The authorities of those who may answer.
    fn authorities(self) -> &'static [&'static str] {
        match self {
            Self::Server => &[SERVERS_AUTHORITY],
            // Services that the hub runs have certificates as servers do.
            Self::Service => &[SERVICES_AUTHORITY, SERVERS_AUTHORITY],
            Self::ProxyApi => &[API_AUTHORITY],
        }
    }
}

/// All that hub, proxy and spawners need to speak TLS with each other.
#[derive(Debug)]
pub struct InternalSsl {
    folder: Folder,
    /// The hub's own certificate.
    hub: Pair,
    issuer: Arc<Issuer>,
    /// Certificates of the authorities, by name.
    authorities: BTreeMap<&'static str, String>,
    /// Those of authorities with names of their own.
    others: String,
    fingerprints: Fingerprints,
}

/// An authority: what it signs with, where that is known, and the certificates to believe for it.
struct Known {
    signer: Option<Authority>,
    certificates: String,
}

impl InternalSsl {
    /// Takes away all certificates that the hub has made where the configuration says so. To be called when a hub begins.
    ///
    /// # Errors
    /// When the folder cannot be written, or a file of an external authority cannot be used: nothing is taken away then.
    pub fn forget(section: &HubSection) -> anyhow::Result<()> {
        if !(section.internal_ssl && section.recreate_internal_certs) {
            return Ok(());
        }
        let others = &section.external_ssl_authorities;
        for (name, files) in others {
            external(name, files, SystemClock.now())?;
        }
        // What an external authority has signed may have been put there by whoever looks after it.
        let own = |name: &&str| !others.contains_key(*name);
        let signed = SIGNED.into_iter().filter(|(_, parent)| own(parent)).map(|(name, _)| name);
        let names: Vec<&str> = AUTHORITIES.into_iter().filter(own).chain(signed).collect();
        open_folder(section)?.clear(&names)
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
        let folder = open_folder(section)?;
        let mut known = BTreeMap::new();
        for name in AUTHORITIES {
            let found = match section.external_ssl_authorities.get(name) {
                Some(files) => external(name, files, now)?,
                None => own(&folder, name, now)?,
            };
            if check::ends_soon(&found.certificates, now) {
                warn!(
                    name,
                    "an authority of hub.internal_ssl ends within 30 days: set hub.recreate_internal_certs = true for one start, \
                    and start all servers again"
                );
            }
            known.insert(name, found);
        }
        let others = others(&section.external_ssl_authorities, now)?;
        trust(&folder, &known, &others)?;
        let mut pairs = leaves(config, &folder, &known, now)?;
        let mut records = (AUTHORITIES.to_vec(), SIGNED.to_vec());
        records.0.retain(|name| !section.external_ssl_authorities.contains_key(*name));
        records.1.retain(|(name, _)| pairs.contains_key(name));
        folder.record(&records.0, &records.1)?;

        let hub = pairs.remove(HUB).context("hub.internal_ssl: no certificate of the hub")?;
        let authorities: BTreeMap<_, _> =
            known.iter().map(|(name, known)| (*name, known.certificates.clone())).collect();
        let fingerprints = AUTHORITIES_OF_SERVERS.into_iter().map(|name| {
            let print = check::fingerprint(authorities.get(name).map_or("", String::as_str));
            Ok((
                name.to_owned(),
                print.map_err(|flaw| anyhow!("hub.internal_ssl: the certificate of {name}: {flaw}"))?,
            ))
        });
        let fingerprints = fingerprints.collect::<anyhow::Result<_>>()?;
        let servers = known.remove(SERVERS_AUTHORITY).and_then(|known| known.signer);
        let servers = servers.with_context(|| {
            format!("hub.external_ssl_authorities.{SERVERS_AUTHORITY}.key: is missing, and servers need certificates")
        })?;
        let believed = folder.read_trust(SERVERS_AUTHORITY)?;
        let believed =
            believed.with_context(|| format!("{} is missing", folder.trust(SERVERS_AUTHORITY).display()))?;
        let issuer = Arc::new(Issuer::new(servers, believed, section.trusted_alt_names.clone()));
        Ok(Some(Self { folder, hub, issuer, authorities, others, fingerprints }))
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

    /// A client that shows the hub's certificate, and believes nobody but those whom it is to call.
    ///
    /// # Errors
    /// When there is no certificate that can be used.
    pub(crate) fn client(
        &self,
        builder: reqwest::ClientBuilder,
        peer: Peer,
    ) -> anyhow::Result<reqwest::ClientBuilder> {
        let identity =
            reqwest::Identity::from_pem(format!("{}\n{}", self.hub.key, self.hub.certificate).as_bytes())?;
        let authorities = reqwest::Certificate::from_pem_bundle(self.answering(peer).as_bytes())?;
        Ok(builder.identity(identity).tls_certs_only(authorities))
    }

    /// The authorities of those who may answer. Servers are the hub's own; services and proxies may be of somebody
    /// else, who has an authority with a name of its own.
    fn answering(&self, peer: Peer) -> String {
        let own = peer.authorities().iter().filter_map(|name| self.authorities.get(name)).map(String::as_str);
        let others = (peer != Peer::Server).then_some(self.others.as_str());
        joined(own.chain(others))
    }

    /// What the proxy shows to the hub and to servers, and whom it believes there.
    pub(crate) fn proxy_client(&self) -> ClientTls {
        self.folder.proxy_client()
    }

    /// What makes certificates of servers.
    pub(crate) fn issuer(&self) -> Arc<dyn CertificateIssuer> {
        Arc::clone(&self.issuer) as Arc<dyn CertificateIssuer>
    }

    /// The authorities that servers which are started now depend on.
    pub(crate) fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// Writes a certificate for a service that the hub runs, and tells where it is. The file becomes that of `owner`,
    /// where the service runs under another account.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn service(&self, name: &str, owner: Option<(u32, u32)>) -> anyhow::Result<ServiceFiles> {
        let pair = self.folder.of_service(name, &self.issuer.of_service(name)?, owner)?;
        Ok(ServiceFiles { pair, authorities: absolute(&self.folder.trust(SERVERS_AUTHORITY))? })
    }
}

fn open_folder(section: &HubSection) -> anyhow::Result<Folder> {
    Folder::open(&section.internal_certs_location, SystemClock.now().into())
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

/// An authority of the hub's own: the one that is there, else a new one. One that is there and cannot be used is never
/// replaced without a word: servers may depend on it.
fn own(folder: &Folder, name: &str, now: DateTime<Utc>) -> anyhow::Result<Known> {
    let pair = match folder.kept(name)? {
        Kept::Whole(pair) => pair,
        Kept::Half(missing) => {
            bail!("hub.internal_certs_location: {} is missing; {REMEDY}", missing.display())
        }
        Kept::Nothing => folder.put_first(name, authority::make(name, now)?)?,
    };
    let path = folder.certificate(name);
    let unusable =
        |flaw| anyhow!("hub.internal_certs_location: {} cannot be used: {flaw}; {REMEDY}", path.display());
    check::authority(&pair, now).map_err(unusable)?;
    let signer = Authority::read(&pair).with_context(|| {
        format!("hub.internal_certs_location: {} cannot be used; {REMEDY}", path.display())
    })?;
    let certificates = check::certificates(&pair.certificate).map_err(unusable)?;
    Ok(Known { signer: Some(signer), certificates })
}

/// The certificates of hub and proxy. What was kept and cannot be used, or not for long, is made anew.
fn leaves(
    config: &Config,
    folder: &Folder,
    known: &BTreeMap<&str, Known>,
    now: DateTime<Utc>,
) -> anyhow::Result<BTreeMap<&'static str, Pair>> {
    let mut pairs = BTreeMap::new();
    for (name, parent) in SIGNED {
        let Some(authority) = known.get(parent) else { continue };
        let names = match name {
            HUB => names::of_hub(config),
            PROXY_API => names::of_proxy_api(config),
            _ => names::of_proxy(config),
        };
        // A proxy that somebody else looks after has its certificates from there.
        let needed = name == HUB || (name == PROXY && config.proxy.should_start);
        let wanted = Leaf { name, parent, names, needed };
        if let Some(pair) = wanted.find(folder, authority, now)? {
            pairs.insert(name, pair);
        }
    }
    Ok(pairs)
}

/// A certificate that hub or proxy should have.
struct Leaf {
    name: &'static str,
    parent: &'static str,
    /// Names that it must have.
    names: Vec<String>,
    /// Whether nothing goes without it.
    needed: bool,
}

impl Leaf {
    /// The one that is kept, once it is one that can be used: what another hub has put there meanwhile is looked at, too.
    fn find(&self, folder: &Folder, authority: &Known, now: DateTime<Utc>) -> anyhow::Result<Option<Pair>> {
        let Self { name, parent, .. } = self;
        let path = folder.certificate(name);
        let mut last = String::new();
        for _ in 0..TRIES {
            let flaw = match folder.kept(name)? {
                Kept::Whole(pair) => match check::leaf(&pair, &authority.certificates, &self.names, now) {
                    Ok(()) => return Ok(Some(pair)),
                    Err(flaw) => Some(flaw),
                },
                Kept::Half(missing) => Some(format!("{} is missing", missing.display())),
                Kept::Nothing => None,
            };
            match flaw {
                Some(flaw) if authority.signer.is_none() => bail!(
                    "hub.internal_certs_location: {} cannot be used: {flaw}; put one there that {parent} has signed, or \
                     set hub.external_ssl_authorities.{parent}.key",
                    path.display()
                ),
                Some(flaw) => {
                    info!(name, flaw, "a certificate of hub.internal_ssl is made anew");
                    folder.put_anew(name, self.make(authority, now)?)?;
                    last = flaw;
                }
                None if self.needed || authority.signer.is_some() => {
                    folder.put_first(name, self.make(authority, now)?)?;
                }
                None => return Ok(None),
            }
        }
        bail!(
            "hub.internal_certs_location: {} cannot be used even when it is made anew: {last}; see that all hubs of this \
             folder have the same names, and start this one again",
            path.display()
        )
    }

    fn make(&self, authority: &Known, now: DateTime<Utc>) -> anyhow::Result<Pair> {
        let Self { name, parent, .. } = self;
        let key = format!("hub.external_ssl_authorities.{parent}.key");
        let signer = authority.signer.as_ref();
        let signer = signer.with_context(|| format!("{key}: is missing, and {name} needs a certificate"))?;
        let machine = names::of_machine().filter(|_| *name == HUB);
        let all = names::without_repetition(self.names.iter().cloned().chain(machine).collect());
        Ok(signer.sign(name, &all, now)?)
    }
}

/// A file of an authority that somebody else made.
fn read_external(name: &str, key: &str, path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("hub.external_ssl_authorities.{name}.{key}: cannot read {}", path.display()))
}

/// An authority that somebody else made. Its files may hold more than certificates, a key above all: nothing else is passed
/// on.
fn external(name: &str, files: &AuthorityFiles, now: DateTime<Utc>) -> anyhow::Result<Known> {
    let read = |key: &str, path: &Path| read_external(name, key, path);
    let unusable = |key: &str, path: &Path, flaw: String| {
        anyhow!("hub.external_ssl_authorities.{name}.{key}: {} cannot be used: {flaw}", path.display())
    };
    let wrong = |flaw| unusable("cert", &files.cert, flaw);
    let certificate = check::certificates(&read("cert", &files.cert)?).map_err(wrong)?;
    check::authority_alone(&certificate, now).map_err(wrong)?;
    let above = files
        .ca
        .as_deref()
        .map(|path| check::certificates(&read("ca", path)?).map_err(|flaw| unusable("ca", path, flaw)));
    let certificates = joined([certificate.as_str()].into_iter().chain(above.transpose()?.as_deref()));
    let Some(key) = files.key.as_deref().map(|path| read("key", path)).transpose()? else {
        return Ok(Known { signer: None, certificates });
    };
    let pair = Pair { key, certificate };
    check::authority(&pair, now).map_err(wrong)?;
    let signer = Authority::read(&pair).with_context(|| {
        format!("hub.external_ssl_authorities.{name}: key and certificate cannot be used")
    })?;
    Ok(Known { signer: Some(signer), certificates })
}

/// Certificates of authorities with names of their own, whose clients the hub believes.
fn others(all: &BTreeMap<String, AuthorityFiles>, now: DateTime<Utc>) -> anyhow::Result<String> {
    let mut found = Vec::new();
    for (name, files) in all.iter().filter(|(name, _)| !AUTHORITIES.contains(&name.as_str())) {
        found.push(external(name, &AuthorityFiles { key: None, ..files.clone() }, now)?.certificates);
    }
    Ok(joined(found.iter().map(String::as_str)))
}

/// Writes whom each side believes.
fn trust(folder: &Folder, known: &BTreeMap<&str, Known>, others: &str) -> anyhow::Result<()> {
    for (authority, believed) in TRUST {
        let own = believed.iter().filter_map(|name| known.get(name)).map(|known| known.certificates.as_str());
        folder.bundle(authority, &joined(own.chain((authority == HUB_AUTHORITY).then_some(others))))?;
    }
    Ok(())
}

/// Certificates one below the other.
fn joined<'t>(all: impl Iterator<Item = &'t str>) -> String {
    all.map(str::trim_end).filter(|text| !text.is_empty()).flat_map(|text| [text, "\n"]).collect()
}
