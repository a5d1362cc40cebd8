//! From flags to the sources of a configuration.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hub_config::{ConfigErrors, FileSource, Loaded, Override, QUICK_START, Sources};

use super::failure::Failure;

/// The plugins of the quick-start profile.
const FIRST_ADMIN: &str = himalia::app::first_admin::KIND;
const LOCAL: &str = "local";
/// The file that is read when none is named.
const DEFAULT_FILE: &str = "himalia.toml";

/// What holds when there is no configuration file at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// The defaults alone.
    Plain,
    /// The quick-start profile over the defaults.
    QuickStart,
}

/// What a command line says about the configuration.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) files: Vec<PathBuf>,
    pub(super) overrides: Vec<Override>,
    pub(super) profile: Profile,
}

impl Settings {
    /// One key from a flag.
    pub(super) fn put(&mut self, key: impl Into<String>, value: impl Into<String>, flag: impl Into<String>) {
        self.overrides.push(Override { key: key.into(), value: value.into(), flag: flag.into() });
    }

    /// Reads everything.
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        for file in &self.files {
            refuse_python(file)?;
        }
        let files = if !self.files.is_empty() {
            self.files.iter().cloned().map(FileSource::Path).collect()
        } else if Path::new(DEFAULT_FILE).exists() {
            vec![FileSource::Path(PathBuf::from(DEFAULT_FILE))]
        } else if self.profile == Profile::QuickStart {
            let plain = load(vec![quick_start("")], self.overrides.clone())?;
            // What only the first administrator on this machine may have must not go to whoever logs in otherwise.
            let (authenticator, spawner) = (&plain.config.authenticator.kind, &plain.config.spawner.kind);
            if authenticator != FIRST_ADMIN || spawner != LOCAL {
                return Ok(plain);
            }
            vec![quick_start(&for_first_admin()?)]
        } else {
            Vec::new()
        };
        Ok(load(files, self.overrides.clone())?)
    }
}

/// The quick-start profile, and more.
fn quick_start(more: &str) -> FileSource {
    FileSource::BuiltIn { name: "quick start".to_owned(), text: format!("{QUICK_START}{more}") }
}

/// What the quick start adds for this place and account: homes below the working directory, since the first
/// administrator has no system account; and Jupyter's consent to run as root, where that is who runs it.
fn for_first_admin() -> Result<String, Failure> {
    let here = std::env::current_dir().context("the working directory cannot be told")?;
    let homes = here.join("himalia-homes").join("{username}");
    let mut text = format!("\n[spawner.local]\nhome_dir_template = {:?}\n", homes.to_string_lossy());
    if nix::unistd::geteuid().is_root() {
        text.push_str("switch_user = \"never\"\n\n[spawner]\nargs = [\"--allow-root\"]\n");
    }
    Ok(text)
}

fn load(files: Vec<FileSource>, overrides: Vec<Override>) -> Result<Loaded, ConfigErrors> {
    hub_config::load(&Sources {
        files,
        env: Sources::process_env(),
        overrides,
        plugins: super::commands::plugins(),
    })
}

/// Files alone, whatever the environment says.
pub(super) fn load_files(files: Vec<PathBuf>) -> Result<Loaded, Failure> {
    for file in &files {
        refuse_python(file)?;
    }
    let files = files.into_iter().map(FileSource::Path).collect();
    Ok(hub_config::load(&Sources { files, plugins: super::commands::plugins(), ..Sources::default() })?)
}

/// JupyterHub's configuration is a Python program, which cannot be run here.
pub(super) fn refuse_python(file: &Path) -> Result<(), Failure> {
    if file.extension().is_some_and(|extension| extension == "py") {
        return Err(Failure::usage(
            format!("{} is a Python configuration, which cannot be read", file.display()),
            "write its settings as TOML and name that file with --config: the names are the same, \
             c.Spawner.start_timeout is start_timeout in [spawner]; `himalia config reference` lists them all",
        ));
    }
    Ok(())
}
