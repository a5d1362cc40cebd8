//! A database with many users, some of whose servers run, and how long a hub takes to serve with it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::api::TOKEN;
use super::client::Client;
use super::hubs::{Peer, Settings};
use crate::command::{pause, run, wait_for};

/// Writes the rows; run with the stock hub's interpreter.
const FILL: &str = include_str!("fill.py");
const DATABASE: &str = "jupyterhub.sqlite";
/// What a server takes to answer, so that a hub has a reason to ask several at once.
const ANSWER_TIME: Duration = Duration::from_millis(20);

/// The database, once as it is when all servers are stopped and once with running ones.
#[derive(Debug)]
pub(super) struct Town {
    folder: TempDir,
    servers: u32,
    doors: Doors,
}

impl Town {
    /// Tables and roles are made by the stock hub, so that both hubs meet what a deployment would give them.
    pub(super) fn build(stock: &Peer, settings: &Settings, users: u32, servers: u32) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("himalia-bench-").tempdir()?;
        drop(stock.launch(folder.path(), settings)?);
        let doors = Doors::open()?;
        let root = folder.path().to_path_buf();
        let script = root.join("fill.py");
        fs::write(&script, FILL)?;
        let fill = |arguments: &[String]| {
            run(Command::new(stock.python())
                .arg(&script)
                .arg(root.join(DATABASE))
                .args(arguments)
                .stdin(Stdio::null()))
        };
        fill(&["users".to_owned(), users.to_string()])?;
        fs::copy(root.join(DATABASE), root.join("stopped.sqlite"))?;
        fill(&[
            "servers".to_owned(),
            servers.to_string(),
            doors.port.to_string(),
            doors.process.id().to_string(),
            start_time(doors.process.id())?.to_string(),
        ])?;
        Ok(Self { folder, servers, doors })
    }

    /// A folder with a copy of the database of its own.
    pub(super) fn copy(&self, running: bool) -> Result<TempDir> {
        let copy = tempfile::Builder::new().prefix("himalia-bench-").tempdir()?;
        let from = if running { DATABASE } else { "stopped.sqlite" };
        fs::copy(self.folder.path().join(from), copy.path().join(DATABASE))?;
        Ok(copy)
    }
}

/// What the start showed, in milliseconds unless it says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    healthy: f64,
    answers: f64,
    checked: f64,
    at_once: u32,
}

/// The first answer that needs the database.
pub(super) const ANSWERS: &str = "first GET /user ms";

type Quantity = fn(&Started) -> f64;

/// What a start showed, as it is named in the table and in the file.
pub(super) const QUANTITIES: [(&str, Quantity); 4] = [
    ("first healthy answer ms", |start| start.healthy),
    (ANSWERS, |start| start.answers),
    ("all servers looked at ms", |start| start.checked),
    ("most looks at once", |start| f64::from(start.at_once)),
];

/// Starts a hub whose database says that servers run.
pub(super) fn start(peer: &Peer, town: &Town, settings: &Settings) -> Result<Started> {
    let folder = town.copy(true)?;
    town.doors.reset();
    let running = peer.launch(folder.path(), settings)?;
    let mut client = Client::connect(running.port, TOKEN)?;
    let (status, _) = client.ask("GET", "/user", "")?;
    ensure!(status == 200, "{}: GET /user answers {status}", peer.name());
    let answers = running.began.elapsed();
    wait_for("a look at every server", Duration::from_mins(5), || {
        Ok((town.doors.looks.load(Ordering::Relaxed) >= town.servers).then_some(()))
    })?;
    Ok(Started {
        healthy: running.milliseconds,
        answers: answers.as_secs_f64() * 1000.0,
        checked: running.began.elapsed().as_secs_f64() * 1000.0,
        at_once: town.doors.most.load(Ordering::Relaxed),
    })
}

/// Stands for all servers: a process that does nothing, whose number is in their states, and one port that answers
/// for all of them.
#[derive(Debug)]
struct Doors {
    port: u16,
    process: Child,
    looks: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
}

impl Doors {
    fn open() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let process = Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn()?;
        let (looks, most, now) =
            (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let doors = Self { port, process, looks: Arc::clone(&looks), most: Arc::clone(&most) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (looks, most, now) = (Arc::clone(&looks), Arc::clone(&most), Arc::clone(&now));
                std::thread::spawn(move || {
                    most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    // A hub that goes away in between asks again or does not.
                    let _ = answer(stream);
                    now.fetch_sub(1, Ordering::Relaxed);
                    looks.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Ok(doors)
    }

    fn reset(&self) {
        self.looks.store(0, Ordering::Relaxed);
        self.most.store(0, Ordering::Relaxed);
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    pause(ANSWER_TIME);
    reader.get_mut().write_all(
        b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    )
}

/// When a process started, as `/proc` counts: by this and its number a hub knows it again.
fn start_time(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in the process's status")?;
    let field = fields.split_whitespace().nth(19).context("no start time in the process's status")?;
    Ok(field.parse()?)
}
