//! The two hubs that are compared: how each is configured, started and ended.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::{cargo, free_port, release_build, run, target, wait_for};
use crate::environments;

/// Longest wait for a hub: the stock one needs half a minute for ten thousand users on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// A hub to be measured.
#[derive(Debug)]
pub(super) struct Peer {
    start: Start,
    venv: PathBuf,
}

#[derive(Debug)]
enum Start {
    Himalia(PathBuf),
    Stock { chp: PathBuf },
}

/// What a hub is told beside its addresses and that everybody may log in.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Lines for the end of the TOML file.
    pub(super) himalia: String,
    /// Lines for the end of the Python file.
    pub(super) stock: String,
}

impl Peer {
    /// Ours, built for release unless there is a program already, and the stock hub with its own proxy.
    pub(super) fn both(binary: Option<&Path>) -> Result<[Self; 2]> {
        let cache = Cache::open()?;
        let venv = environments::jupyterhub(&cache)?;
        let chp = environments::configurable_http_proxy(&cache)?;
        let binary = match binary {
            Some(binary) => std::path::absolute(binary)?,
            None => {
                run(release_build(&mut cargo()))?;
                target().join("release/himalia")
            }
        };
        Ok([
            Self { start: Start::Himalia(binary), venv: venv.clone() },
            Self { start: Start::Stock { chp }, venv },
        ])
    }

    pub(super) fn name(&self) -> &'static str {
        match self.start {
            Start::Himalia(_) => "himalia",
            Start::Stock { .. } => "jupyterhub 6.1.1",
        }
    }

    /// The interpreter that runs the stock hub.
    pub(super) fn python(&self) -> PathBuf {
        self.venv.join("bin/python")
    }

    /// Starts on free ports and waits for the first healthy answer. The database is `jupyterhub.sqlite` in `folder`.
    pub(super) fn launch(&self, folder: &Path, settings: &Settings) -> Result<Running> {
        let (public, hub, api) = (free_port()?, free_port()?, free_port()?);
        let log = fs::File::options().create(true).append(true).open(folder.join("log"))?;
        let mut command = self.command(folder, settings, [public, hub, api])?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.venv.join("bin")).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders)?);
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name()))?;
        let mut running = Running { child, port: public, hub_port: hub, began, milliseconds: 0.0 };
        wait_for("a healthy answer", PATIENCE, || {
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name(), fs::read_to_string(folder.join("log"))?);
            }
            Ok(healthy(public).then_some(()))
        })?;
        running.milliseconds = began.elapsed().as_secs_f64() * 1000.0;
        Ok(running)
    }

    fn command(&self, folder: &Path, settings: &Settings, [public, hub, api]: [u16; 3]) -> Result<Command> {
        match &self.start {
            Start::Himalia(binary) => {
                let config = folder.join("himalia.toml");
                let text = format!(
                    "[hub]\nhub_bind_url = \"http://127.0.0.1:{hub}\"\ncleanup_servers = false\n\
                     [proxy]\nport = {public}\n\
                     [authenticator]\nkind = \"dummy\"\nallow_all = true\n{}",
                    settings.himalia
                );
                fs::write(&config, text)?;
                let mut command = Command::new(binary);
                command.args(["serve", "--config"]).arg(config);
                Ok(command)
            }
            Start::Stock { chp } => {
                let config = folder.join("jupyterhub_config.py");
                let text = format!(
                    "c.JupyterHub.bind_url = 'http://127.0.0.1:{public}/'\n\
                     c.JupyterHub.hub_bind_url = 'http://127.0.0.1:{hub}/'\n\
                     c.JupyterHub.cleanup_servers = False\n\
                     c.JupyterHub.authenticator_class = 'dummy'\n\
                     c.Authenticator.allow_all = True\n\
                     c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{api}'\n\
                     c.ConfigurableHTTPProxy.command = ['{}']\n{}",
                    chp.display(),
                    settings.stock
                );
                fs::write(&config, text)?;
                let mut command = Command::new(self.venv.join("bin/jupyterhub"));
                command.arg("--config").arg(config);
                Ok(command)
            }
        }
    }
}

/// A started hub, ended with its children when dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// The public port.
    pub(super) port: u16,
    /// The hub's own port, which servers ask.
    pub(super) hub_port: u16,
    /// When it was started.
    pub(super) began: Instant,
    /// From the start to the first healthy answer.
    pub(super) milliseconds: f64,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let gone = wait_for("the hub ends", Duration::from_mins(1), || Ok(self.child.try_wait()?));
        if gone.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn healthy(port: u16) -> bool {
    let asked = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /hub/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start.ends_with(b"200"))
    };
    asked().unwrap_or(false)
}
