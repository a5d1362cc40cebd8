//! The folder of authorities and certificates, as certipy lays it out for JupyterHub: for each name `NAME/NAME.key` and
//! `NAME/NAME.crt`, for each authority `NAME_trust.crt` with those whom its side believes, and `certipy.json`, by which
//! certipy finds them.
//!
//! Several processes may begin with it at once. A pair appears whole, by a rename, or not at all; who comes second uses
//! what is there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use hub_core::secret::random_hex32;
use serde_json::{Map, Value, json};

use super::authority::Pair;

/// Where certipy keeps its records.
const RECORDS: &str = "certipy.json";

/// The folder.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder, made where it is missing.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o755).create(path).with_context(|| {
            format!("hub.internal_certs_location: the folder {} cannot be made", path.display())
        })?;
        Ok(Self(path.to_owned()))
    }

    /// The file with the key of `name`.
    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.0.join(name).join(format!("{name}.key"))
    }

    /// The file with the certificate of `name`.
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.0.join(name).join(format!("{name}.crt"))
    }

    /// The file with the certificates that the side of an authority believes.
    pub(super) fn trust(&self, authority: &str) -> PathBuf {
        self.0.join(format!("{authority}_trust.crt"))
    }

    /// Takes away what was made for these names; what else is in the folder stays.
    pub(super) fn clear(&self, names: &[&str]) -> anyhow::Result<()> {
        let gone = |result: io::Result<()>, path: &Path| match result {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error)
                .with_context(|| format!("hub.recreate_internal_certs: cannot remove {}", path.display())),
            _ => Ok(()),
        };
        for name in names {
            let (own, trust) = (self.0.join(name), self.trust(name));
            gone(fs::remove_dir_all(&own), &own)?;
            gone(fs::remove_file(&trust), &trust)?;
        }
        let records = self.0.join(RECORDS);
        gone(fs::remove_file(&records), &records)
    }

    /// The pair of `name`: the one that is there, else the one that `make` makes.
    pub(super) fn pair(
        &self,
        name: &str,
        make: impl FnOnce() -> anyhow::Result<Pair>,
    ) -> anyhow::Result<Pair> {
        if let Some(found) = self.found(name)? {
            return Ok(found);
        }
        if self.place(name, &make()?)? {
            tracing::info!(folder = %self.0.display(), "certificate of {name} made");
        }
        self.found(name)?
            .with_context(|| format!("{}: the certificate of {name} has vanished", self.0.display()))
    }

    fn found(&self, name: &str) -> anyhow::Result<Option<Pair>> {
        let files = [self.key(name), self.certificate(name)];
        match files.each_ref().map(|path| read(path)) {
            [Ok(Some(key)), Ok(Some(certificate))] => Ok(Some(Pair { key, certificate })),
            [Ok(None), Ok(None)] if !self.0.join(name).exists() => Ok(None),
            [Err(error), _] | [_, Err(error)] => Err(error),
            [key, _] => {
                let missing = if matches!(key, Ok(None)) { &files[0] } else { &files[1] };
                bail!(
                    "hub.internal_certs_location: {} is missing; bring it back, or have all certificates made anew by \
                     hub.recreate_internal_certs = true for one start, after which all servers have to be started again",
                    missing.display()
                )
            }
        }
    }

    /// Puts a pair into its place; `false` when another process was first.
    fn place(&self, name: &str, pair: &Pair) -> anyhow::Result<bool> {
        let made = self.0.join(format!(".{name}.{}", random_hex32()));
        let placed = (|| {
            DirBuilder::new().mode(0o755).create(&made)?;
            write(&made.join(format!("{name}.key")), &pair.key, 0o600)?;
            write(&made.join(format!("{name}.crt")), &pair.certificate, 0o644)?;
            // A folder that is not empty is never replaced.
            match fs::rename(&made, self.0.join(name)) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) =>
                {
                    Ok(false)
                }
                renamed => renamed.map(|()| true),
            }
        })();
        if !matches!(placed, Ok(true)) && made.exists() {
            fs::remove_dir_all(&made).with_context(|| format!("cannot remove {}", made.display()))?;
        }
        placed.with_context(|| format!("hub.internal_certs_location: cannot write to {}", self.0.display()))
    }

    /// What the side of an authority believes.
    pub(super) fn read_trust(&self, authority: &str) -> anyhow::Result<String> {
        let path = self.trust(authority);
        read(&path)?.with_context(|| format!("{} is missing", path.display()))
    }

    /// Writes a certificate of a service, a fresh one each time, and tells where key and certificate are.
    pub(super) fn of_service(
        &self,
        service: &str,
        pair: &Pair,
        owner: Option<(u32, u32)>,
    ) -> anyhow::Result<[PathBuf; 2]> {
        // A folder of that name is one folder.
        let name = format!("service-{}", service.replace('/', "%2F"));
        DirBuilder::new().recursive(true).mode(0o755).create(self.0.join(&name))?;
        let files =
            [(self.key(&name), &pair.key, 0o600), (self.certificate(&name), &pair.certificate, 0o644)];
        for (path, text, mode) in &files {
            self.put(path, text, *mode, owner)?;
        }
        let [key, certificate] = files.map(|(path, ..)| std::path::absolute(path));
        Ok([key?, certificate?])
    }

    /// Writes what the side of an authority believes.
    pub(super) fn bundle(&self, authority: &str, certificates: &str) -> anyhow::Result<()> {
        self.replace(&self.trust(authority), certificates)
    }

    /// Writes certipy's records of these pairs, each with its authority, so that JupyterHub finds them; records that
    /// are there stay.
    pub(super) fn record(&self, authorities: &[&str], signed: &[(&str, &str)]) -> anyhow::Result<()> {
        let path = self.0.join(RECORDS);
        if path.exists() {
            return Ok(());
        }
        let file = |path: PathBuf| Value::from(path.display().to_string());
        let record = |name: &str, parent: &str, signees: Value| {
            json!({
                "serial": 0, "is_ca": parent.is_empty(), "parent_ca": parent, "signees": signees,
                "files": {
                    "key": file(self.key(name)), "cert": file(self.certificate(name)),
                    "ca": if parent.is_empty() { "".into() } else { file(self.certificate(parent)) },
                },
            })
        };
        let mut records = Map::new();
        for name in authorities {
            let signees = signed.iter().filter(|(_, parent)| parent == name).map(|(name, _)| *name);
            let signees: Map<String, Value> = signees.map(|name| (name.to_owned(), 1.into())).collect();
            let signees = if signees.is_empty() { Value::Null } else { signees.into() };
            records.insert((*name).to_owned(), record(name, "", signees));
        }
        for (name, parent) in signed {
            records.insert((*name).to_owned(), record(name, parent, Value::Null));
        }
        self.replace(&path, &format!("{:#}\n", Value::Object(records)))
    }

    fn replace(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        self.put(path, text, 0o644, None)
    }

    fn put(&self, path: &Path, text: &str, mode: u32, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
        let made = self.0.join(format!(".{}", random_hex32()));
        let given = || owner.map_or(Ok(()), |(uid, gid)| chown(&made, Some(uid), Some(gid)));
        let replaced = write(&made, text, mode).and_then(|()| given()).and_then(|()| fs::rename(&made, path));
        replaced.with_context(|| format!("hub.internal_certs_location: cannot write {}", path.display()))
    }
}

/// The text of a file; none when it is missing.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn pair(number: usize) -> Pair {
        Pair { key: format!("key {number}"), certificate: format!("certificate {number}") }
    }

    #[test]
    fn of_many_who_begin_at_once_all_use_the_pair_of_the_first() {
        let place = tempfile::tempdir().unwrap();
        let found: Vec<Pair> = std::thread::scope(|scope| {
            let begun: Vec<_> = (0..16)
                .map(|number| {
                    let folder = Folder::open(place.path()).unwrap();
                    scope.spawn(move || folder.pair("hub-ca", || Ok(pair(number))).unwrap())
                })
                .collect();
            begun.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let first = found.first().unwrap();
        assert!(found.iter().all(|pair| pair.key == first.key && pair.certificate == first.certificate));
        assert_eq!(first.key.replace("key", "certificate"), first.certificate);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_key_is_for_nobody_else_and_half_a_pair_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("new")).unwrap();
        folder.pair("hub-ca", || Ok(pair(1))).unwrap();
        assert_eq!(fs::metadata(folder.key("hub-ca")).unwrap().mode() & 0o777, 0o600);
        fs::remove_file(folder.certificate("hub-ca")).unwrap();
        let error = folder.pair("hub-ca", || Ok(pair(2))).err().unwrap().to_string();
        assert!(error.contains("hub-ca.crt is missing"), "{error}");
        folder.clear(&["hub-ca", "never-made"]).unwrap();
        assert_eq!(folder.pair("hub-ca", || Ok(pair(2))).unwrap().key, "key 2");
    }

    #[test]
    fn a_service_gets_a_fresh_certificate_each_time_and_records_stay() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        for number in 1..3 {
            let [key, certificate] = folder.of_service("a/b", &pair(number), None).unwrap();
            assert_eq!(key, place.path().join("service-a%2Fb/service-a%2Fb.key"));
            assert_eq!(fs::read_to_string(key).unwrap(), format!("key {number}"));
            assert_eq!(fs::read_to_string(certificate).unwrap(), format!("certificate {number}"));
        }
        folder.record(&["hub-ca"], &[("hub-internal", "hub-ca")]).unwrap();
        let text = fs::read_to_string(place.path().join(RECORDS)).unwrap();
        let records: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(records["hub-ca"]["is_ca"], true);
        assert_eq!(records["hub-ca"]["signees"], json!({ "hub-internal": 1 }));
        assert_eq!(records["hub-internal"]["parent_ca"], "hub-ca");
        folder.record(&[], &[]).unwrap();
        assert_eq!(fs::read_to_string(place.path().join(RECORDS)).unwrap(), text);
    }
}
