//! How the programs of a hub are called, and with what configuration.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use tokio::process::Command;

use super::{Hub, Kind};
use crate::environment::{Needed, target};
use crate::settings::Spawner;

impl Hub {
    pub(super) fn configuration(&self) -> PathBuf {
        self.folder.path().join(match self.kind {
            Kind::Himalia => "himalia.toml",
            Kind::Stock | Kind::Stock5 => "jupyterhub_config.py",
        })
    }

    /// The text of its configuration file.
    pub fn settings_text(&self) -> String {
        match self.kind {
            Kind::Himalia => self.settings.toml(self.place()),
            Kind::Stock | Kind::Stock5 => self.settings.python(self.place()),
        }
    }

    pub(super) fn write_configuration(&self) -> Result<()> {
        // In one step: a proxy that was started just now may be reading it.
        let fresh = self.folder.path().join("configuration.new");
        fs::write(&fresh, self.settings_text())?;
        Ok(fs::rename(fresh, self.configuration())?)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = match self.kind {
            Kind::Himalia => {
                let mut command = Command::new(Needed::Himalia.path());
                command.arg(if self.settings.separate_proxy { "hub" } else { "serve" });
                command
            }
            Kind::Stock => {
                let venv = match self.settings.spawner {
                    Spawner::Local => Needed::Venv61,
                    Spawner::Kube(_) => Needed::VenvKubespawner,
                };
                Command::new(venv.path().join("bin/jupyterhub"))
            }
            Kind::Stock5 => Command::new(Needed::Venv54.path().join("bin/jupyterhub")),
        };
        command.arg("--config").arg(self.configuration());
        self.surround(&mut command);
        command
    }

    /// A proxy as a process of its own.
    pub(super) fn proxy_command(&self) -> Command {
        let original = (self.kind == Kind::Himalia) == self.settings.foreign_proxy;
        let mut command = match self.kind {
            Kind::Himalia if !original => {
                let mut command = Command::new(Needed::Himalia.path());
                command.arg("proxy").arg("--config").arg(self.configuration());
                command
            }
            _ => {
                let mut command = if original {
                    Command::new(Needed::Chp.path())
                } else {
                    let mut command = Command::new(Needed::Himalia.path());
                    // Its name tells it what to be.
                    command.arg0("configurable-http-proxy");
                    let state = self.folder.path().join("routes");
                    command.args(["--storage-backend", &format!("file:{}", state.display())]);
                    command
                };
                let hub = format!("http://127.0.0.1:{}", self.ports.hub);
                command.args(["--ip", "127.0.0.1", "--port", &self.ports.public.to_string()]);
                command.args(["--api-ip", "127.0.0.1", "--api-port", &self.ports.api.to_string()]);
                command.args(["--default-target", &hub]);
                command.args(["--error-target", &format!("{hub}{}hub/error", self.base_url())]);
                command
            }
        };
        self.surround(&mut command);
        command
    }

    pub(super) fn surround(&self, command: &mut Command) {
        let mut folders = self.settings.path.clone();
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let path = std::env::join_paths(folders).expect("folders of PATH have no colon");
        let log =
            || File::options().create(true).append(true).open(&self.log).map_or(Stdio::null(), Stdio::from);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("LANG", "C.UTF-8")
            .env(crate::processes::VARIABLE, self.mark.value())
            .envs(&self.settings.hub_environment)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .kill_on_drop(true);
        if self.settings.separate_proxy {
            command.env("CONFIGPROXY_AUTH_TOKEN", &self.proxy_token);
        }
    }
}

/// A new file below `target/test-logs`, named after the running test.
pub(super) fn log_file(kind: Kind) -> Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("test").replace("::", ".");
    let folder = target().join("test-logs");
    fs::create_dir_all(&folder)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = folder.join(format!("{test}.{number}.{}.log", kind.name()));
    File::create(&file)?;
    Ok(file)
}
