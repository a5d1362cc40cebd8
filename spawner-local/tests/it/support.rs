//! A spawner in a directory of its own, jobs for it, and a guard that ends whatever a failed test leaves behind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use hub_core::{
    Progress, ServerKey, ServerName, ServerRef, SpawnError, SpawnerContext, StartJob, StartSink, Started,
    UserName,
};
use hub_spawner_local::{LocalOptions, LocalSpawner};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// A small HTTP server that answers every request with its environment, directory and ids as JSON.
pub(crate) const SERVER: &str = r#"
import http.server, json, os, signal, sys, urllib.parse
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        facts = {"env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid(), "sid": os.getsid(0),
                 "pgid": os.getpgid(0), "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
                 "stdin": os.readlink("/proc/self/fd/0"), "argv0": sys.argv[0]}
        body = json.dumps(facts).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
url = urllib.parse.urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
server = http.server.HTTPServer((url.hostname or "", url.port), Handler)
print("listening", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"#;

/// A spawner with its directory.
pub(crate) struct Bench {
    pub(crate) spawner: LocalSpawner,
    pub(crate) directory: tempfile::TempDir,
    launches: Mutex<Vec<String>>,
}

/// Options that do not need system accounts and do not wait for long.
pub(crate) fn quick_options(directory: &Path) -> LocalOptions {
    LocalOptions {
        home_dir_template: Some(format!("{}/home/{{username}}", directory.display())),
        interrupt_timeout: Duration::from_secs(10),
        term_timeout: Duration::from_secs(10),
        ..LocalOptions::default()
    }
}

pub(crate) fn context(directory: &Path, root: bool) -> SpawnerContext {
    let path = std::env::var("PATH").unwrap();
    SpawnerContext {
        section: "spawner".to_owned(),
        ip: "127.0.0.1".to_owned(),
        port: 0,
        shared: serde_json::Map::new(),
        env_keep: None,
        state_dir: directory.to_owned(),
        environment: BTreeMap::from([
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), directory.display().to_string()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("HUB_SECRET".to_owned(), "stays with the hub".to_owned()),
        ]),
        certificates: None,
        root,
        reenter: vec![OsString::from(env!("CARGO_BIN_EXE_local-launch"))],
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut LocalOptions)) -> Self {
        Self::as_root(false, change)
    }

    pub(crate) fn as_root(root: bool, change: impl FnOnce(&mut LocalOptions)) -> Self {
        Self::made(|options, cx| {
            cx.root = root;
            change(options);
        })
    }

    pub(crate) fn made(change: impl FnOnce(&mut LocalOptions, &mut SpawnerContext)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = quick_options(directory.path());
        let mut cx = context(directory.path(), false);
        change(&mut options, &mut cx);
        let spawner = LocalSpawner::new(options, &cx).unwrap();
        Self { spawner, directory, launches: Mutex::default() }
    }

    /// Another hub over the same directory.
    pub(crate) fn restarted(&self) -> LocalSpawner {
        LocalSpawner::new(quick_options(self.directory.path()), &context(self.directory.path(), false))
            .unwrap()
    }

    pub(crate) fn job(&self, user: &str, command: &[&str]) -> StartJob {
        let job = job(user, command);
        self.guard(&job.launch);
        job
    }

    pub(crate) fn python(&self, user: &str, code: &str) -> StartJob {
        self.job(user, &["python3", "-c", code])
    }

    /// Ends all processes of this launch when the test is over.
    pub(crate) fn guard(&self, launch: &str) {
        self.launches.lock().unwrap().push(launch.to_owned());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for launch in self.launches.lock().unwrap().iter() {
            for pid in marked(launch) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

pub(crate) fn job(user: &str, command: &[&str]) -> StartJob {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let launch = format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut job = StartJob::new(key(user), "a-token".to_owned().into());
    job.launch = launch;
    job.env.insert("JUPYTERHUB_USER".to_owned(), user.to_owned());
    job.env.insert("JUPYTERHUB_SERVER_NAME".to_owned(), String::new());
    job.command = command.iter().map(|word| (*word).to_owned()).collect();
    job
}

pub(crate) fn key(user: &str) -> ServerKey {
    ServerKey::new(UserName::stored(user), ServerName::default())
}

pub(crate) fn server(user: &str, state: Value) -> ServerRef {
    ServerRef { key: key(user), state, address: None }
}

pub(crate) fn started(user: &str, started: &Started) -> ServerRef {
    ServerRef { key: key(user), state: started.state.clone(), address: Some(started.address.clone()) }
}

pub(crate) fn pid_of(state: &Value) -> i32 {
    i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
}

/// Keeps what a start reports; can hang at the n-th save, as a database that does not answer.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) saved: Mutex<Vec<Value>>,
    pub(crate) shown: Mutex<Vec<Progress>>,
    pub(crate) hang_at: Option<usize>,
}

impl Sink {
    pub(crate) fn hanging_at(save: usize) -> Self {
        Self { hang_at: Some(save), ..Self::default() }
    }

    pub(crate) fn last(&self) -> Value {
        self.saved.lock().unwrap().last().cloned().unwrap_or(json!({}))
    }
}

#[async_trait]
impl StartSink for Sink {
    fn progress(&self, progress: Progress) {
        self.shown.lock().unwrap().push(progress);
    }

    async fn save_state(&self, state: Value) -> Result<(), SpawnError> {
        let count = {
            let mut saved = self.saved.lock().unwrap();
            saved.push(state);
            saved.len()
        };
        if self.hang_at == Some(count) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// Whether a process has ended. One that was killed loses its environment, and with it the mark, a moment before.
pub(crate) fn has_ended(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.starts_with(['Z', 'X'])
    })
}

/// Processes, zombies left out, that carry the mark of a launch.
pub(crate) fn marked(launch: &str) -> Vec<i32> {
    let mark = format!("HIMALIA_LAUNCH={launch}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Waits until `condition` holds, ten seconds at most.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_async(what, async || condition()).await;
}

pub(crate) async fn until_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What the test server says about itself.
pub(crate) async fn facts(started: &Started) -> Value {
    let address = SocketAddr::new(
        started.address.host_str().unwrap().parse().unwrap(),
        started.address.port_or_known_default().unwrap(),
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
