//! Throw-away PostgreSQL and MariaDB servers on the loopback interface for the time of a test run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::command::{find_program, free_port, is_root, output, run, wait_for};

const READY_WITHIN: Duration = Duration::from_mins(1);

/// Both servers; dropping stops them and removes their files.
#[derive(Debug)]
pub(crate) struct Databases {
    postgres: Server,
    mariadb: Server,
}

#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
    stop: StopSignal,
    folder: TempDir,
}

/// How a server is stopped: PostgreSQL cleans up its shared memory at SIGINT; MariaDB ignores that, and its files are
/// thrown away, so it is killed.
#[derive(Debug, Clone, Copy)]
enum StopSignal {
    Int,
    Kill,
}

impl StopSignal {
    fn name(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Kill => "KILL",
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", self.stop.name(), &self.child.id().to_string()]).status();
        let gone = wait_for("the server ends", Duration::from_secs(5), || Ok(self.child.try_wait()?));
        if gone.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Databases {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { postgres: start_postgres()?, mariadb: start_mariadb()? })
    }

    /// The account may create databases, so each test can have its own, and accounts that may less.
    pub(crate) fn variables(&self) -> [(&'static str, String); 2] {
        [
            (
                "HIMALIA_TEST_POSTGRES_URL",
                format!("postgresql://hub:hub@127.0.0.1:{}/hub", self.postgres.port),
            ),
            ("HIMALIA_TEST_MARIADB_URL", format!("mysql://hub:hub@127.0.0.1:{}/hub", self.mariadb.port)),
        ]
    }
}

/// The folder of `initdb` and `postgres`: the newest below `/usr/lib/postgresql`, where Debian keeps them off PATH.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").exists())
        .collect();
    versions.sort();
    let newest = versions.pop().map(|(_, folder)| folder);
    newest.or_else(|| Some(find_program("initdb")?.parent()?.to_path_buf()))
}

fn start_postgres() -> Result<Server> {
    let programs = postgres_programs().context("PostgreSQL is not installed")?;
    let account = Account::new("postgres")?;
    let folder = account.folder()?;
    let data = folder.path().join("data");
    let password = folder.path().join("password");
    fs::write(&password, "hub")?;
    account.own(&password)?;
    run(account
        .command(&programs.join("initdb"), folder.path(), StopSignal::Kill)
        .args(["--username=hub", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"])
        .arg(format!("--pwfile={}", password.display()))
        .arg(&data)
        .stdout(Stdio::null()))?;
    let port = free_port()?;
    let mut server = account.command(&programs.join("postgres"), folder.path(), StopSignal::Int);
    server.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-p", &port.to_string()]);
    for setting in ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "max_connections=200"]
    {
        server.args(["-c", setting]);
    }
    let mut server =
        Server { child: logged(&mut server, folder.path())?.spawn()?, port, stop: StopSignal::Int, folder };
    wait_for("PostgreSQL accepts connections", READY_WITHIN, || {
        still_running(&mut server)?;
        let asked = Command::new(programs.join("psql"))
            .args(["--host=127.0.0.1", "--username=hub", "--dbname=postgres", &format!("--port={port}")])
            .args(["--no-psqlrc", "--quiet", "--command=CREATE DATABASE hub"])
            .env("PGPASSWORD", "hub")
            .stderr(Stdio::null())
            .status()?;
        Ok(asked.success().then_some(()))
    })?;
    Ok(server)
}

fn start_mariadb() -> Result<Server> {
    let program = find_program("mariadbd").context("MariaDB is not installed")?;
    let install = find_program("mariadb-install-db").context("mariadb-install-db is not on PATH")?;
    let account = Account::new("mysql")?;
    let folder = account.folder()?;
    let data = folder.path().join("data");
    run(account
        .command(&install, folder.path(), StopSignal::Kill)
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ])
        .arg(format!("--datadir={}", data.display()))
        .stdout(Stdio::null()))?;
    let init = folder.path().join("init.sql");
    fs::write(
        &init,
        "CREATE DATABASE hub CHARACTER SET utf8mb4;\n\
         CREATE USER 'hub'@'%' IDENTIFIED BY 'hub';\n\
         GRANT ALL ON *.* TO 'hub'@'%' WITH GRANT OPTION;\n",
    )?;
    account.own(&init)?;
    let port = free_port()?;
    let mut server = account.command(&program, folder.path(), StopSignal::Kill);
    server
        .args([
            "--no-defaults",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
        ])
        .args(["--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M"])
        .arg(format!("--port={port}"))
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", folder.path().join("mariadb.sock").display()))
        .arg(format!("--init-file={}", init.display()));
    let mut server =
        Server { child: logged(&mut server, folder.path())?.spawn()?, port, stop: StopSignal::Kill, folder };
    // The file of first statements is carried out before the port is opened.
    wait_for("MariaDB accepts connections", READY_WITHIN, || {
        still_running(&mut server)?;
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
    })?;
    Ok(server)
}

fn still_running(server: &mut Server) -> Result<()> {
    if let Some(status) = server.child.try_wait()? {
        let log = fs::read_to_string(server.folder.path().join("server.log")).unwrap_or_default();
        bail!("the database server ended with {status}:\n{log}");
    }
    Ok(())
}

fn logged<'a>(command: &'a mut Command, folder: &Path) -> Result<&'a mut Command> {
    let log = fs::File::create(folder.join("server.log"))?;
    Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))
}

/// Whom a server runs as: its package's own account when this is root (database servers refuse root), else this user.
#[derive(Debug)]
struct Account {
    ids: Option<(u32, u32)>,
}

impl Account {
    fn new(name: &str) -> Result<Self> {
        if !is_root() {
            return Ok(Self { ids: None });
        }
        let id = |flag: &str| -> Result<u32> { Ok(output(Command::new("id").args([flag, name]))?.parse()?) };
        Ok(Self { ids: Some((id("-u")?, id("-g")?)) })
    }

    fn own(&self, path: &Path) -> Result<()> {
        if let Some((uid, gid)) = self.ids {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn folder(&self) -> Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("himalia-db-").tempdir()?;
        self.own(folder.path())?;
        Ok(folder)
    }

    /// The program as this account, sent `at_death` by the kernel when the task that started it dies.
    fn command(&self, program: &Path, folder: &Path, at_death: StopSignal) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", at_death.name()]).arg(program).current_dir(folder).env("HOME", folder);
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
        command
    }
}
