//! A server's certificate (`hub.internal_ssl`) in the home of its person. Answers to `LocalProcessSpawner.move_certs`.
//!
//! Beyond stock each server of a person has files of its own, so that a start leaves alone what others run with. They are
//! written by the helper, as the person, and never over a file that another process reads at that moment.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hub_core::certificates::file_stem;
use hub_core::secret::ExposeSecret as _;
use hub_core::{CertificateError, CertificateIssuer, ServerKey};
use serde::{Deserialize, Serialize};

/// Where the files are below the home.
const FOLDER: &str = ".jupyterhub/jupyterhub-certs";
/// Name of the file with the authorities.
const AUTHORITIES: &str = "notebooks-ca_trust.crt";

/// What the helper writes.
#[derive(Serialize, Deserialize)]
pub(crate) struct CertificateFiles {
    /// Name of the files of key and certificate, without ending.
    name: String,
    key: String,
    certificate: String,
    authorities: String,
}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// A fresh certificate for a server that the hub reaches at `ip`.
    pub(crate) fn issue(
        issuer: &dyn CertificateIssuer,
        key: &ServerKey,
        ip: IpAddr,
    ) -> Result<Self, CertificateError> {
        let mut names = vec!["DNS:localhost".to_owned(), "IP:127.0.0.1".to_owned()];
        let own = format!("IP:{ip}");
        if !names.contains(&own) {
            names.push(own);
        }
        names.extend(issuer.trusted_alt_names().iter().cloned());
        let made = issuer.issue(&key.user, &names)?;
        let user = format!("user-{}", key.user.escaped());
        Ok(Self {
            name: file_stem(&if key.server.is_default() {
                user
            } else {
                format!("{user}--{}", key.server.escaped())
            }),
            key: made.key.expose_secret().to_owned(),
            certificate: made.certificate,
            authorities: made.authorities,
        })
    }

    /// The variables that tell the server of its files below `home`.
    pub(crate) fn variables(&self, home: &str) -> [(String, String); 3] {
        let folder = format!("{home}/{FOLDER}");
        [
            ("JUPYTERHUB_SSL_KEYFILE", format!("{folder}/{}.key", self.name)),
            ("JUPYTERHUB_SSL_CERTFILE", format!("{folder}/{}.crt", self.name)),
            ("JUPYTERHUB_SSL_CLIENT_CA", format!("{folder}/{AUTHORITIES}")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    /// Where they are below `home`.
    pub(crate) fn folder(home: &Path) -> PathBuf {
        home.join(FOLDER)
    }

    /// Writes them below `home`, as the account that this process runs under.
    pub(crate) fn write(&self, home: &Path) -> io::Result<()> {
        let folder = Self::folder(home);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // One that was there may be open to others.
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for (name, text) in [
            (format!("{}.key", self.name), &self.key),
            (format!("{}.crt", self.name), &self.certificate),
            (AUTHORITIES.to_owned(), &self.authorities),
        ] {
            // The same name at each start of this server: what a helper left that was killed does not stay.
            let made = folder.join(format!(".{}.new", self.name));
            missing_is_fine(fs::remove_file(&made))?;
            let written = private(&made, text).and_then(|()| fs::rename(&made, folder.join(name)));
            if written.is_err() {
                missing_is_fine(fs::remove_file(&made))?;
            }
            written?;
        }
        Ok(())
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes a new file for nobody else.
fn private(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use hub_core::{ServerCertificate, ServerName, UserName};

    use super::*;

    #[derive(Debug)]
    struct Names;

    impl CertificateIssuer for Names {
        fn issue(&self, _: &UserName, names: &[String]) -> Result<ServerCertificate, CertificateError> {
            let (certificate, authorities) = (names.join(" "), String::new());
            Ok(ServerCertificate { key: "key".into(), certificate, authorities })
        }

        fn trusted_alt_names(&self) -> &[String] {
            &[]
        }
    }

    #[test]
    fn the_longest_names_have_files_each_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let long = "é".repeat(250);
        for server in [String::new(), long.clone(), format!("{long}x")] {
            let key = ServerKey::new(UserName::stored(&long), ServerName::stored(&server));
            let files = CertificateFiles::issue(&Names, &key, [127, 0, 0, 2].into()).unwrap();
            assert_eq!(files.certificate, "DNS:localhost IP:127.0.0.1 IP:127.0.0.2");
            files.write(home.path()).unwrap();
        }
        let found = fs::read_dir(CertificateFiles::folder(home.path())).unwrap();
        assert_eq!(found.count(), 7, "a key and a certificate of each, and one file with whom they believe");
    }

    #[test]
    fn files_are_for_nobody_else_and_are_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let folder = CertificateFiles::folder(home);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join(".user-ann.new"), "of a helper that was killed").unwrap();
        for key in ["first", "second"] {
            let files = CertificateFiles {
                name: "user-ann".to_owned(),
                key: key.to_owned(),
                certificate: "c".to_owned(),
                authorities: "a".to_owned(),
            };
            assert!(!format!("{files:?}").contains(key));
            files.write(home).unwrap();
            let [(_, path), ..] = files.variables(&home.display().to_string());
            assert_eq!(fs::read_to_string(&path).unwrap(), key);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "nothing is left beside them");
    }
}
