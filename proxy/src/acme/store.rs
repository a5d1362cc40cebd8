//! The folder with the account and the certificate. Only the own user may read it.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::warn;
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::error::ProxyError;

const CERTIFICATE: &str = "certificate.pem";
const ACCOUNT: &str = "account.json";

/// An account and whose it is.
#[derive(Serialize, Deserialize)]
struct Known<T> {
    directory: String,
    credentials: T,
}

#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    /// Makes the folder, and a certificate that has ended long ago where there is no usable one.
    pub(super) fn open(folder: &Path, domains: &[String]) -> Result<Self, ProxyError> {
        let problem = |source| ProxyError::File { path: folder.display().to_string(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(problem)?;
        let store = Self { folder: folder.to_owned() };
        let path = store.certificate();
        match fs::read_to_string(&path).map(|text| usable(&text)) {
            Ok(Ok(())) => return Ok(store),
            Ok(Err(error)) => {
                warn!(path = %path.display(), %error, "the certificate cannot be used, another one is ordered");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(store.problem(CERTIFICATE, source)),
        }
        let (key, certificate) = ended(domains)?;
        store.save_certificate(&key, &certificate)?;
        Ok(store)
    }

    /// The file with key and certificates.
    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// Replaces key and certificates, if they fit each other.
    pub(super) fn save_certificate(&self, key: &str, chain: &str) -> Result<(), ProxyError> {
        let text = format!("{}\n{chain}", key.trim_end());
        usable(&text).map_err(|error| {
            ProxyError::option("acme.directory", format!("what was issued cannot be used: {error}"))
        })?;
        self.write(CERTIFICATE, text.as_bytes())
    }

    /// The account at this directory.
    pub(super) fn account<T: DeserializeOwned>(&self, directory: &str) -> Option<T> {
        let path = self.folder.join(ACCOUNT);
        let bytes = fs::read(&path).ok()?;
        match serde_json::from_slice::<Known<T>>(&bytes) {
            Ok(known) => (known.directory == directory).then_some(known.credentials),
            Err(error) => {
                warn!(path = %path.display(), %error, "the account cannot be read, another one will be made");
                None
            }
        }
    }

    pub(super) fn save_account<T: Serialize>(
        &self,
        directory: &str,
        credentials: &T,
    ) -> Result<(), ProxyError> {
        let known = Known { directory: directory.to_owned(), credentials };
        let bytes = serde_json::to_vec(&known).map_err(|error| self.problem(ACCOUNT, error.into()))?;
        self.write(ACCOUNT, &bytes)
    }

    /// Removes an account that its authority no longer knows.
    pub(super) fn forget_account(&self) -> Result<(), ProxyError> {
        match fs::remove_file(self.folder.join(ACCOUNT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.problem(ACCOUNT, error)),
            _ => Ok(()),
        }
    }

    /// What the certificate says; `None` when it cannot be read.
    pub(super) fn facts(&self) -> Option<Facts> {
        let leaf = CertificateDer::pem_file_iter(self.certificate()).ok()?.next()?.ok()?;
        let certificate = Certificate::from_der(&leaf).ok()?.tbs_certificate;
        let validity = certificate.validity;
        let (_, names) = certificate.get::<SubjectAltName>().ok()??;
        let names = names.0.into_iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
            _ => None,
        });
        Some(Facts {
            start: validity.not_before.to_system_time(),
            end: validity.not_after.to_system_time(),
            names: names.collect(),
        })
    }

    /// In one step, so that nobody reads half of it.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ProxyError> {
        let fresh = self.folder.join(format!("{name}.{}.new", std::process::id()));
        let write = || {
            // One that was left over could be readable for others.
            let _ = fs::remove_file(&fresh);
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, self.folder.join(name))
        };
        write().map_err(|source| self.problem(name, source))
    }

    fn problem(&self, name: &str, source: io::Error) -> ProxyError {
        ProxyError::File { path: self.folder.join(name).display().to_string(), source }
    }
}

/// For what, and how long, a certificate is good.
#[derive(Debug)]
pub(super) struct Facts {
    start: SystemTime,
    end: SystemTime,
    names: BTreeSet<String>,
}

impl Facts {
    /// Time until another certificate is to be ordered for `domains`: two thirds of its life after it began, and
    /// `late` (0 to 1) twentieths of its life more. Zero when that has passed, or the names are others.
    pub(super) fn time_left(&self, domains: &[String], late: f64, now: SystemTime) -> Duration {
        let wanted: BTreeSet<String> = domains.iter().map(|name| name.to_ascii_lowercase()).collect();
        if self.names != wanted {
            return Duration::ZERO;
        }
        let life = self.end.duration_since(self.start).unwrap_or_default();
        let due = self.start.checked_add(life.mul_f64(2.0 / 3.0 + late / 20.0));
        due.and_then(|due| due.duration_since(now).ok()).unwrap_or_default()
    }

    /// Seconds since 1970; 0 for what ended before.
    pub(super) fn end_in_unix_time(&self) -> u64 {
        self.end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// Whether a PEM text holds a certificate chain and the key that fits it.
fn usable(text: &str) -> Result<(), String> {
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| error.to_string())?;
    let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    pair.map(drop).map_err(|error| error.to_string())
}

/// Key and certificate in PEM, good for nothing but a handshake.
fn ended(domains: &[String]) -> Result<(String, String), ProxyError> {
    let make = || -> Result<(String, String), rcgen::Error> {
        let mut params = CertificateParams::new(domains.to_vec())?;
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2000, 1, 2);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok((key.serialize_pem(), certificate.pem()))
    };
    make().map_err(|error| ProxyError::option("acme.domains", error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_first_certificate_has_ended_and_one_that_is_broken_is_replaced_by_such() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep/acme");
        let domains = names(&["a.test", "B.test"]);
        for _ in 0..2 {
            let store = Store::open(&place, &domains).unwrap();
            let facts = store.facts().unwrap();
            assert_eq!(facts.names, ["a.test", "b.test"].map(str::to_owned).into());
            assert_eq!(facts.time_left(&domains, 0.0, SystemTime::now()), Duration::ZERO);
            fs::write(store.certificate(), "nonsense").unwrap();
        }
    }

    #[test]
    fn a_certificate_is_due_after_two_thirds_of_its_life_or_for_other_names() {
        let start = SystemTime::UNIX_EPOCH + DAY * 1000;
        let facts =
            Facts { start, end: start + DAY * 90, names: names(&["a.test", "b.test"]).into_iter().collect() };
        let domains = names(&["B.test", "a.test"]);
        let left = |late, day| facts.time_left(&domains, late, start + DAY * day).as_secs() / DAY.as_secs();
        assert_eq!((left(0.0, 0), left(0.0, 50), left(0.0, 60), left(0.0, 99)), (60, 10, 0, 0));
        assert_eq!((left(1.0, 60), left(1.0, 65)), (4, 0), "nobody is later than a twentieth");
        assert_eq!(facts.time_left(&names(&["a.test"]), 0.0, start), Duration::ZERO);
        assert_eq!(facts.end_in_unix_time(), DAY.as_secs() * 1090);
    }

    #[test]
    fn a_certificate_without_its_key_does_not_replace_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &names(&["a.test"])).unwrap();
        let before = fs::read(store.certificate()).unwrap();
        let (key, _) = ended(&names(&["a.test"])).unwrap();
        let (_, other) = ended(&names(&["a.test"])).unwrap();
        for chain in [other.as_str(), "", "nonsense"] {
            let error = store.save_certificate(&key, chain).unwrap_err().to_string();
            assert!(error.contains("cannot be used") && !error.contains("PRIVATE"), "{error}");
        }
        assert_eq!(fs::read(store.certificate()).unwrap(), before);
    }

    #[test]
    fn accounts_are_kept_by_directory_and_are_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("acme"), &names(&["a.test"])).unwrap();
        assert_eq!(store.account::<String>("https://one"), None);
        store.save_account("https://one", &"secret".to_owned()).unwrap();
        assert_eq!(store.account::<String>("https://one").as_deref(), Some("secret"));
        assert_eq!(store.account::<String>("https://two"), None);
        for (name, mode) in [(ACCOUNT, 0o600), (CERTIFICATE, 0o600), ("", 0o700)] {
            let found = fs::metadata(store.folder.join(name)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
        store.forget_account().unwrap();
        store.forget_account().unwrap();
        assert_eq!(store.account::<String>("https://one"), None);
    }
}
