//! A hub under test: ours or stock, in a folder of its own, on ports of its own.

mod command;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use self::command::log_file;
use crate::client::{Api, Person};
use crate::environment::Needed;
use crate::ports::free_port;
use crate::processes::Mark;
use crate::settings::{HOST, Place, Settings};
use crate::wait::eventually;

/// A start of stock takes some seconds, and tests share the machine.
const HEALTHY_WITHIN: Duration = Duration::from_secs(90);
const STOPPED_WITHIN: Duration = Duration::from_mins(1);

/// Which hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Himalia,
    /// JupyterHub 6.1.1 with configurable-http-proxy.
    Stock,
    /// JupyterHub 5.4 with configurable-http-proxy.
    Stock5,
}

impl Kind {
    /// What must be installed for it.
    pub fn needs(self) -> &'static [Needed] {
        match self {
            Self::Himalia => &[Needed::Himalia],
            Self::Stock => &[Needed::Venv61, Needed::Chp],
            Self::Stock5 => &[Needed::Venv54, Needed::Chp],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Himalia => "himalia",
            Self::Stock => "stock",
            Self::Stock5 => "stock5",
        }
    }
}

/// The ports of one hub; a restart has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Where people connect.
    pub public: u16,
    /// Where servers connect.
    pub hub: u16,
    /// The proxy's REST API.
    pub api: u16,
}

/// A hub, running or stopped. Dropping it ends all its processes and removes its folder.
#[derive(Debug)]
pub struct Hub {
    /// Which hub this is.
    pub kind: Kind,
    /// What it was asked to be. Changes hold from the next start on.
    pub settings: Settings,
    /// Its ports.
    pub ports: Ports,
    /// The mark of its processes.
    pub mark: Mark,
    process: Option<Child>,
    proxy: Option<Child>,
    proxy_token: String,
    log: PathBuf,
    folder: TempDir,
}

impl Hub {
    /// Starts a hub and waits until it answers through its proxy.
    ///
    /// # Errors
    /// When it ends, or does not answer in time; with its log.
    pub async fn start(kind: Kind, settings: Settings) -> Result<Self> {
        let mut hub = Self::prepare(kind, settings)?;
        hub.start_again().await?;
        Ok(hub)
    }

    /// A hub that is not started yet: its folder, ports and log.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn prepare(kind: Kind, settings: Settings) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("himalia-test-").tempdir()?;
        fs::create_dir(folder.path().join("homes"))?;
        let ports = Ports { public: free_port(), hub: free_port(), api: free_port() };
        let mark = Mark::new();
        let proxy_token = mark.value().to_owned();
        let log = log_file(kind)?;
        Ok(Self { kind, settings, ports, mark, process: None, proxy: None, proxy_token, log, folder })
    }

    /// Starts it on its old state, the proxy too if that is a process of its own and does not run.
    ///
    /// # Errors
    /// As [`Hub::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        if self.settings.separate_proxy && self.proxy.is_none() {
            self.write_configuration()?;
            self.proxy = Some(self.proxy_command().spawn().context("cannot start the proxy")?);
        }
        self.spawn()?;
        self.healthy().await
    }

    /// Starts it without waiting for anything.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        self.write_configuration()?;
        self.process = Some(self.command().spawn().context("cannot start the hub")?);
        Ok(())
    }

    /// Waits until it answers through its proxy.
    ///
    /// # Errors
    /// When it ends, or does not answer in time; with its log.
    pub async fn healthy(&mut self) -> Result<()> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let url = self.url("hub/health");
        let process = std::cell::RefCell::new(self.process.as_mut().context("the hub is not started")?);
        let (http, url, process) = (&http, &url, &process);
        let healthy = eventually("the hub answers", HEALTHY_WITHIN, || async move {
            if let Some(status) = process.borrow_mut().try_wait()? {
                bail!("the hub ended with {status}");
            }
            let answer = http.get(url).send().await;
            Ok(answer.is_ok_and(|answer| answer.status() == 200).then_some(()))
        });
        let healthy = healthy.await;
        healthy.with_context(|| format!("log:\n{}", self.log()))
    }

    /// Runs it to its end, for starts that must fail. Its output is what it printed.
    ///
    /// # Errors
    /// When it goes on for too long.
    pub async fn run_to_end(&mut self) -> Result<Output> {
        self.write_configuration()?;
        let child = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let ended = tokio::time::timeout(STOPPED_WITHIN, child.wait_with_output());
        ended.await.context("the hub goes on although it should have ended")?.context("no output")
    }

    /// Brings the database to the newest schema with the hub's own command, the hub not running.
    ///
    /// # Errors
    /// When the command fails; with what it printed.
    pub async fn upgrade_database(&self) -> Result<()> {
        self.write_configuration()?;
        let mut command = match self.kind {
            Kind::Himalia => {
                let mut command = Command::new(Needed::Himalia.path());
                command.arg("upgrade-db");
                command
            }
            Kind::Stock => {
                let mut command = Command::new(Needed::Venv61.path().join("bin/jupyterhub"));
                command.arg("upgrade-db");
                command
            }
            Kind::Stock5 => bail!("the old version upgrades nothing"),
        };
        command.arg("--config").arg(self.configuration());
        self.surround(&mut command);
        let ended = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output =
            tokio::time::timeout(STOPPED_WITHIN, ended).await.context("the upgrade goes on and on")??;
        let printed = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the upgrade ends with {}: {printed}", output.status);
        Ok(())
    }

    /// The hub's process gets SIGKILL; servers and a separate proxy go on.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL).await.map(drop)
    }

    /// The hub's process gets SIGTERM.
    ///
    /// # Errors
    /// When it does not run, or does not end in time.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM).await
    }

    /// Waits until it has ended by itself, as it does when it was asked to.
    ///
    /// # Errors
    /// When it does not run, or does not end in time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the hub does not run")?;
        let ended = tokio::time::timeout(STOPPED_WITHIN, process.wait()).await;
        Ok(ended.with_context(|| format!("the hub does not end; log:\n{}", self.log()))??)
    }

    /// The separate proxy gets SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill_proxy(&mut self) -> Result<()> {
        let mut proxy = self.proxy.take().context("the proxy does not run")?;
        Ok(proxy.kill().await?)
    }

    /// Starts the separate proxy again, without waiting for anything.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_proxy(&mut self) -> Result<()> {
        self.proxy = Some(self.proxy_command().spawn().context("cannot start the proxy")?);
        Ok(())
    }

    /// Starts the next process of our hub, waits until it has taken over and returns the one before.
    ///
    /// # Errors
    /// When the process ends, or does not take over in time; with its log.
    pub async fn replace(&mut self) -> Result<Child> {
        use std::os::unix::fs::MetadataExt as _;
        let socket = self.place().handover_socket();
        let inode = || fs::metadata(&socket).map(|data| data.ino()).ok();
        let before =
            eventually("the process offers its place", HEALTHY_WITHIN, || async { Ok(inode()) }).await?;
        self.write_configuration()?;
        let mut next = self.command().spawn().context("cannot start the next process")?;
        let taken = eventually("the next process has taken over", HEALTHY_WITHIN, || {
            let ended = next.try_wait();
            let done = inode().is_some_and(|now| now != before);
            async move {
                match ended? {
                    Some(status) => bail!("the next process ended with {status}"),
                    None => Ok(done.then_some(())),
                }
            }
        });
        taken.await.with_context(|| format!("log:\n{}", self.log()))?;
        self.process.replace(next).context("the hub did not run before")
    }

    async fn signal(&mut self, signal: Signal) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the hub does not run")?;
        let pid = process.id().context("the hub has ended")?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal)?;
        let ended = tokio::time::timeout(STOPPED_WITHIN, process.wait()).await;
        let status =
            ended.with_context(|| format!("the hub does not end after {signal}; log:\n{}", self.log()))??;
        if signal == Signal::SIGKILL && self.kind != Kind::Himalia && !self.settings.separate_proxy {
            // Stock's next start looks for the proxy of the last one by its file; here it would find the port taken.
            for process in self.mark.with_command("configurable-http-proxy") {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
        }
        Ok(status)
    }

    /// The number of the hub's process.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// What it has logged, all starts together.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its folder: configuration, database, homes of the users.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The home of a user's servers.
    pub fn home(&self, user: &str) -> PathBuf {
        self.folder.path().join("homes").join(user)
    }

    /// Its base URL in the encoded form, with slashes at both ends.
    pub fn base_url(&self) -> String {
        self.settings.base_url.replace(' ', "%20")
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.public)
    }

    /// The address of `path`, which is below the base URL and has no slash at its beginning.
    pub fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin(), self.base_url())
    }

    /// The same for a browser, which finds the hub by its name where users have hosts of their own.
    pub fn browser_url(&self, path: &str) -> String {
        let host = if self.settings.subdomains { HOST } else { "127.0.0.1" };
        format!("http://{host}:{}{}{path}", self.ports.public, self.base_url())
    }

    /// The database's URL as SQLAlchemy writes it.
    pub fn database_url(&self) -> String {
        self.settings.database_url(self.place())
    }

    /// A person with an empty cookie jar.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn person(&self) -> Result<Person> {
        Person::new(&self.url(""))
    }

    /// A person who has logged in.
    ///
    /// # Errors
    /// When the login fails.
    pub async fn logged_in(&self, name: &str) -> Result<Person> {
        let person = self.person()?;
        person.log_in(name, self.settings.password.as_deref().unwrap_or("any")).await?;
        Ok(person)
    }

    /// The REST API with a token.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn api(&self, token: &str) -> Result<Api> {
        Api::new(&self.url(""), token)
    }

    /// The REST API with the rights of an administrator.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn administrator(&self) -> Result<Api> {
        self.api(&self.settings.administrator().token)
    }

    fn place(&self) -> Place<'_> {
        Place { folder: self.folder.path(), ports: self.ports, mark: self.mark.value() }
    }
}
