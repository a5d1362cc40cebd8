use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hub_config::{ConfigErrors, FileSource, KnownPlugins, Loaded, Override, Sources, load};

/// A directory with configuration files, and the sources made of them.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    pub(crate) sources: Sources,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let plugins = KnownPlugins {
            authenticators: [
                "first-admin",
                "shared-password",
                "dummy",
                "null",
                "oidc",
                "keycloak",
                "openhexa",
            ]
            .map(str::to_owned)
            .to_vec(),
            spawners: ["local", "kube"].map(str::to_owned).to_vec(),
        };
        Self { directory: tempfile::tempdir().unwrap(), sources: Sources { plugins, ..Sources::default() } }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds a configuration file.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).unwrap();
        self.sources.files.push(FileSource::Path(self.path(name)));
        self
    }

    /// Writes a file that is not a configuration.
    pub(crate) fn beside(self, name: &str, text: &str, mode: u32) -> Self {
        write_with_mode(&self.path(name), text, mode);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        let (flag, key, value) = (flag.to_owned(), key.to_owned(), value.to_owned());
        self.sources.overrides.push(Override { key, value, flag });
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(&self.sources)
    }

    /// The problems, each on one line, with the directory left out.
    pub(crate) fn problems(&self) -> Vec<String> {
        let errors = self.load().expect_err("this configuration is wrong");
        let directory = format!("{}/", self.directory.path().display());
        errors.0.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
    }
}

pub(crate) fn write_with_mode(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// One file, loaded.
pub(crate) fn toml(text: &str) -> Result<Loaded, ConfigErrors> {
    Bench::new().file("hub.toml", text).load()
}

/// The problems of one file.
pub(crate) fn problems(text: &str) -> Vec<String> {
    Bench::new().file("hub.toml", text).problems()
}

pub(crate) fn no_env() -> BTreeMap<String, String> {
    BTreeMap::new()
}
