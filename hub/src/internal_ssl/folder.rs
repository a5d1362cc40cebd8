//! The folder of authorities and certificates, as certipy lays it out for JupyterHub: for each name `NAME/NAME.key` and
//! `NAME/NAME.crt`, for each authority `NAME_trust.crt` with those whom its side believes, and `certipy.json`, by which
//! certipy finds them.
//!
//! Several processes may begin with it at once. A pair appears whole, by a rename, or not at all; who comes second uses
//! what is there.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use hub_core::certificates::file_stem;
use hub_core::secret::random_hex32;
use serde_json::{Map, Value, json};

use super::authority::Pair;

/// Where certipy keeps its records.
const RECORDS: &str = "certipy.json";
/// Begins the name of what is being made.
const MAKING: &str = ".himalia-";
/// After so long nobody makes it any more: it was left by a process that was killed.
const LEFT: Duration = Duration::from_hours(1);

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// What there is of a pair.
#[derive(Debug)]
pub(super) enum Kept {
    /// Key and certificate.
    Whole(Pair),
    /// One of them; this file is missing.
    Half(PathBuf),
    /// Nothing.
    Nothing,
}

impl Folder {
    /// The folder as it is, which may be not at all.
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder, made where it is missing: others may go through it to what is theirs, and see nothing else. What a
    /// killed process has left half done is taken away.
    pub(super) fn open(path: &Path, now: SystemTime) -> anyhow::Result<Self> {
        let making = || -> io::Result<()> {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs::create_dir_all(parent)?;
            }
            match fs::create_dir(path) {
                Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o711)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error),
            }
        };
        making().with_context(|| {
            format!("hub.internal_certs_location: the folder {} cannot be made", path.display())
        })?;
        let folder = Self(path.to_owned());
        folder.sweep(now).with_context(|| {
            format!("hub.internal_certs_location: {} cannot be tidied up", path.display())
        })?;
        Ok(folder)
    }

    fn sweep(&self, now: SystemTime) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(MAKING) {
                continue;
            }
            // What is gone by now was another process's, which goes on.
            let Some(found) = present(entry.metadata())? else { continue };
            if now.duration_since(found.modified()?).is_ok_and(|age| age > LEFT) {
                remove(&entry.path())?;
            }
        }
        Ok(())
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
        let own = names.iter().flat_map(|name| [self.0.join(name), self.trust(name)]);
        for path in own.chain([self.0.join(RECORDS)]) {
            remove(&path)
                .with_context(|| format!("hub.recreate_internal_certs: cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    /// The pair of `name`, as far as it is there.
    pub(super) fn kept(&self, name: &str) -> anyhow::Result<Kept> {
        let look = || -> anyhow::Result<Kept> {
            let (key, certificate) = (self.key(name), self.certificate(name));
            Ok(match (read_closed(&key)?, read(&certificate)?) {
                (Some(key), Some(certificate)) => Kept::Whole(Pair { key, certificate }),
                (None, None) => Kept::Nothing,
                (None, _) => Kept::Half(key),
                (_, None) => Kept::Half(certificate),
            })
        };
        match look()? {
            // It was put there, or taken away, between the two looks.
            Kept::Half(_) => look(),
            kept => Ok(kept),
        }
    }

    /// Puts a pair into its place, where nothing is, and tells which pair is there now: another process may have been
    /// first.
    pub(super) fn put_first(&self, name: &str, pair: Pair) -> anyhow::Result<Pair> {
        let made = self.make(name, &pair)?;
        // A folder that is not empty is never replaced.
        match fs::rename(&made, self.0.join(name)) {
            Ok(()) => {
                tracing::info!(folder = %self.0.display(), "certificate of {name} made");
                return Ok(pair);
            }
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                remove(&made).with_context(|| self.cannot_write(name))?;
            }
            Err(error) => {
                remove(&made).with_context(|| self.cannot_write(name))?;
                return Err(error).with_context(|| self.cannot_write(name));
            }
        }
        match self.kept(name)? {
            Kept::Whole(first) => Ok(first),
            Kept::Half(_) | Kept::Nothing => anyhow::bail!(
                "hub.internal_certs_location: {} holds other files than {name}.key and {name}.crt; take them away",
                self.0.join(name).display()
            ),
        }
    }

    /// Puts a pair into the place of what is there.
    pub(super) fn put_anew(&self, name: &str, pair: Pair) -> anyhow::Result<Pair> {
        let aside = self.making();
        let moved = fs::rename(self.0.join(name), &aside);
        present(moved).with_context(|| self.cannot_write(name))?;
        let placed = self.put_first(name, pair);
        remove(&aside).with_context(|| self.cannot_write(name))?;
        placed
    }

    fn cannot_write(&self, name: &str) -> String {
        format!("hub.internal_certs_location: cannot write {}", self.0.join(name).display())
    }

    fn making(&self) -> PathBuf {
        self.0.join(format!("{MAKING}{}", random_hex32()))
    }

    /// Writes a pair into a folder that nobody knows yet.
    fn make(&self, name: &str, pair: &Pair) -> anyhow::Result<PathBuf> {
        let made = self.making();
        let written = make_private(&made)
            .and_then(|()| write(&made.join(format!("{name}.key")), &pair.key, 0o600))
            .and_then(|()| write(&made.join(format!("{name}.crt")), &pair.certificate, 0o644));
        if let Err(error) = written {
            remove(&made).with_context(|| self.cannot_write(name))?;
            return Err(error).with_context(|| self.cannot_write(name));
        }
        Ok(made)
    }

    /// What the side of an authority believes.
    pub(super) fn read_trust(&self, authority: &str) -> anyhow::Result<Option<String>> {
        read(&self.trust(authority))
    }

    /// Writes key and certificate of a service into one file, a fresh one each time, and tells where it is. One file is
    /// replaced whole: nobody reads the key of one and the certificate of another.
    pub(super) fn of_service(
        &self,
        service: &str,
        pair: &Pair,
        owner: Option<(u32, u32)>,
    ) -> anyhow::Result<PathBuf> {
        // A folder of that name is one folder.
        let name = file_stem(&format!("service-{}", service.replace('/', "%2F")));
        let own = self.0.join(&name);
        let given = |path: &Path| owner.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)));
        present(match make_private(&own) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        })
        .and_then(|_| given(&own))
        .with_context(|| self.cannot_write(&name))?;
        let path = own.join(format!("{name}.pem"));
        self.put(&path, &format!("{}\n{}", pair.key.trim_end(), pair.certificate), 0o600, owner)?;
        Ok(std::path::absolute(path)?)
    }

    /// Writes what the side of an authority believes, where something else is there.
    pub(super) fn bundle(&self, authority: &str, certificates: &str) -> anyhow::Result<()> {
        if self.read_trust(authority)?.as_deref() == Some(certificates) {
            return Ok(());
        }
        self.put(&self.trust(authority), certificates, 0o644, None)
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
        self.put(&path, &format!("{:#}\n", Value::Object(records)), 0o644, None)
    }

    fn put(&self, path: &Path, text: &str, mode: u32, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
        let made = self.making();
        let given = || owner.map_or(Ok(()), |(uid, gid)| chown(&made, Some(uid), Some(gid)));
        let placed = write(&made, text, mode).and_then(|()| given()).and_then(|()| fs::rename(&made, path));
        let cannot = || format!("hub.internal_certs_location: cannot write {}", path.display());
        if placed.is_err() {
            remove(&made).with_context(cannot)?;
        }
        placed.with_context(cannot)
    }
}

/// What there is; none where nothing is.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes away a file or a folder with all that is in it, where it is there.
fn remove(path: &Path) -> io::Result<()> {
    let Some(found) = present(fs::symlink_metadata(path))? else { return Ok(()) };
    present(if found.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }).map(drop)
}

/// The text of a file; none when it is missing.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    present(fs::read_to_string(path)).with_context(|| {
        format!(
            "hub.internal_certs_location: cannot read {}; let the account of this process read it",
            path.display()
        )
    })
}

/// The text of a file that must not be open to others; none when it is missing.
fn read_closed(path: &Path) -> anyhow::Result<Option<String>> {
    let text = read(path)?;
    let mode = present(fs::metadata(path))?.map_or(0, |found| found.permissions().mode() & 0o7777);
    let open_to_others = mode & 0o007 != 0;
    anyhow::ensure!(
        !open_to_others,
        "hub.internal_certs_location: {} has the mode {mode:04o}, so that others can use the key; run: chmod o= {0}",
        path.display()
    );
    Ok(text)
}

/// Makes a folder for nobody else.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Writes a new file of just this mode, whatever the mask of the process says.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn pair(number: usize) -> Pair {
        Pair { key: format!("key {number}"), certificate: format!("certificate {number}") }
    }

    fn open(path: &Path) -> Folder {
        Folder::open(path, SystemTime::now()).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn of_many_who_begin_at_once_all_have_the_pair_of_the_first() {
        let place = tempfile::tempdir().unwrap();
        let barrier = Barrier::new(8);
        for round in 0..50 {
            let path = place.path().join(round.to_string());
            let found: Vec<Pair> = std::thread::scope(|scope| {
                let begin = |number| {
                    let (path, barrier) = (&path, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let folder = open(path);
                        match folder.kept("hub-ca").unwrap() {
                            Kept::Whole(found) => found,
                            Kept::Nothing => folder.put_first("hub-ca", pair(number)).unwrap(),
                            Kept::Half(missing) => panic!("half a pair: {missing:?}"),
                        }
                    })
                };
                let begun: Vec<_> = (0..8).map(begin).collect();
                begun.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let first = found.first().unwrap();
            assert!(found.iter().all(|pair| pair.key == first.key && pair.certificate == first.certificate));
            assert_eq!(first.key.replace("key", "certificate"), first.certificate);
            assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing is left beside it");
        }
    }

    #[test]
    fn who_looks_while_another_process_begins_sees_nothing_or_all() {
        let place = tempfile::tempdir().unwrap();
        let folder = open(place.path());
        let (round, last) = (AtomicUsize::new(0), 500);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    let number = round.load(Ordering::Relaxed);
                    let kept = folder.kept(&format!("ca-{number}")).unwrap();
                    assert!(!matches!(kept, Kept::Half(_)), "{kept:?}");
                    if number == last && matches!(kept, Kept::Whole(_)) {
                        break;
                    }
                }
            });
            for number in 0..=last {
                round.store(number, Ordering::Relaxed);
                folder.put_first(&format!("ca-{number}"), pair(number)).unwrap();
            }
        });
    }

    #[test]
    fn a_key_is_for_nobody_else_and_half_a_pair_is_told() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new");
        let folder = open(&path);
        folder.put_first("hub-ca", pair(1)).unwrap();
        assert_eq!((mode(&path), mode(&path.join("hub-ca"))), (0o711, 0o700));
        assert_eq!(mode(&folder.key("hub-ca")), 0o600);
        fs::remove_file(folder.certificate("hub-ca")).unwrap();
        let kept = folder.kept("hub-ca").unwrap();
        assert!(matches!(&kept, Kept::Half(path) if path.ends_with("hub-ca/hub-ca.crt")), "{kept:?}");
        folder.clear(&["hub-ca", "never-made"]).unwrap();
        assert!(matches!(folder.kept("hub-ca").unwrap(), Kept::Nothing));
        assert_eq!(folder.put_first("hub-ca", pair(2)).unwrap().key, "key 2");
        assert_eq!(folder.put_first("hub-ca", pair(3)).unwrap().key, "key 2");
        assert_eq!(folder.put_anew("hub-ca", pair(4)).unwrap().key, "key 4");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_key_that_is_open_to_others_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let folder = open(place.path());
        folder.put_first("hub-ca", pair(1)).unwrap();
        fs::set_permissions(folder.key("hub-ca"), Permissions::from_mode(0o644)).unwrap();
        let error = folder.kept("hub-ca").unwrap_err().to_string();
        for part in ["hub.internal_certs_location", "hub-ca.key has the mode 0644", "chmod o= "] {
            assert!(error.contains(part), "{part}: {error}");
        }
        fs::set_permissions(folder.key("hub-ca"), Permissions::from_mode(0o640)).unwrap();
        folder.kept("hub-ca").unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_with_its_key() {
        let place = tempfile::tempdir().unwrap();
        let folder = open(place.path());
        fs::create_dir_all(folder.key("hub-ca")).unwrap();
        let error = format!("{:#}", folder.kept("hub-ca").unwrap_err());
        assert!(error.contains("hub.internal_certs_location: cannot read"), "{error}");
    }

    #[test]
    fn what_a_killed_process_left_is_taken_away_once_it_is_old() {
        let place = tempfile::tempdir().unwrap();
        let folder = open(place.path());
        let left = folder.make("hub-ca", &pair(1)).unwrap();
        fs::write(place.path().join(".mine"), "stays").unwrap();
        open(place.path());
        assert!(left.exists(), "somebody may be making it");
        Folder::open(place.path(), SystemTime::now() + 2 * LEFT).unwrap();
        assert!(!left.exists() && place.path().join(".mine").exists());
    }

    #[test]
    fn a_service_gets_key_and_certificate_in_one_file_each_time_and_records_stay() {
        let place = tempfile::tempdir().unwrap();
        let folder = open(place.path());
        for number in 1..3 {
            let file = folder.of_service("a/b", &pair(number), None).unwrap();
            assert_eq!(file, place.path().join("service-a%2Fb/service-a%2Fb.pem"));
            let text = format!("key {number}\ncertificate {number}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        }
        let long = folder.of_service(&"n".repeat(255), &pair(1), None).unwrap();
        assert!(long.file_name().unwrap().len() <= 255, "{long:?}");
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
