//! The proxies to be measured, each with a configuration that does the same.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{
    load::{Connection, get, spread},
    upstream::{LARGE, SMALL, Upstream},
};
use crate::{
    cache::Cache,
    command::{find_program, free_port, pause, target, wait_for, workspace},
    environments, packages,
};

const TOKEN: &str = "bench";
/// Ticks of a process's CPU time in a second: what every Linux tells user space.
const TICKS: f64 = 100.0;

type Build = fn(PathBuf) -> Kind;

/// A proxy program.
#[derive(Debug)]
pub(super) enum Kind {
    Ours(PathBuf),
    Original(PathBuf),
    Nginx(PathBuf),
    Haproxy(PathBuf),
}

impl Kind {
    /// Ours first; nginx and HAProxy where they are installed or can be.
    pub(super) fn available() -> Result<Vec<Self>> {
        if let Err(error) = packages::install_measured() {
            eprintln!("{error:#}");
        }
        let original = environments::configurable_http_proxy(&Cache::open()?)?;
        let mut all = vec![Self::Ours(Self::own_program()), Self::Original(original)];
        let others: [(&str, Build); 2] = [("nginx", Self::Nginx), ("haproxy", Self::Haproxy)];
        for (name, kind) in others {
            match find_program(name) {
                Some(program) => all.push(kind(program)),
                None => eprintln!("{name} is not installed and left out"),
            }
        }
        Ok(all)
    }

    fn own_program() -> PathBuf {
        target().join("release/examples/configurable-http-proxy")
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "ours",
            Self::Original(_) => "CHP",
            Self::Nginx(_) => "nginx",
            Self::Haproxy(_) => "HAProxy",
        }
    }

    /// Whether routes are added while it runs.
    pub(super) fn has_table(&self) -> bool {
        matches!(self, Self::Ours(_) | Self::Original(_))
    }
}

/// How a proxy is to be set up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// Routes beside the one that is measured, for the proxies that have a table.
    pub(super) routes: u32,
    /// Clients come over TLS.
    pub(super) tls: bool,
    /// Routes are kept in a file, which only ours can do.
    pub(super) saved: bool,
}

/// A large prime: its multiples lie all over the routes.
const SPREAD: u64 = 2_654_435_761;
/// When a killed proxy has failed to come back.
const BACK: Duration = Duration::from_secs(20);

/// A running process; told to end when dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            // Its number may be somebody else's by now.
            return;
        }
        // nginx's workers end with their master only when it can tell them.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let ended = wait_for("the proxy's end", Duration::from_secs(2), || Ok(self.0.try_wait()?));
        if ended.is_err() {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// A running proxy.
#[derive(Debug)]
pub(super) struct Peer {
    child: Running,
    command: Command,
    routes: u32,
    /// Where clients connect: the proxy itself, or what speaks TLS to it for them.
    pub(super) address: SocketAddr,
    api: Option<SocketAddr>,
    _tls: Option<Running>,
    _folder: TempDir,
}

impl Peer {
    /// Starts a proxy with `/` leading to the target.
    pub(super) fn start(kind: &Kind, upstream: &Upstream, setup: Setup) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("himalia-bench-").tempdir()?;
        let (port, api_port) = (free_port()?, free_port()?);
        let place = Place { folder: folder.path(), target: upstream.address, port, api_port, setup };
        let mut command = place.command(kind)?;
        let child = running(&mut command, kind.name())?;
        let api = kind.has_table().then(|| SocketAddr::from(([127, 0, 0, 1], api_port)));
        let (address, tls) = if setup.tls {
            let (tls, address) = tls_client(port)?;
            (address, Some(tls))
        } else {
            (SocketAddr::from(([127, 0, 0, 1], port)), None)
        };
        let peer = Self { child, command, routes: setup.routes, address, api, _tls: tls, _folder: folder };
        for address in [Some(SocketAddr::from(([127, 0, 0, 1], port))), Some(address), api] {
            let Some(address) = address else { continue };
            wait_for(kind.name(), Duration::from_secs(20), || Ok(TcpStream::connect(address).ok()))?;
        }
        let mut api = None;
        for number in 0..setup.routes {
            let api = match &mut api {
                Some(api) => api,
                none => none.insert(peer.api()?),
            };
            add_route(api, &format!("/user/somebody-{number}"), upstream.address)?;
        }
        Ok(peer)
    }

    fn api(&self) -> Result<Connection> {
        let Some(api) = self.api else { bail!("this proxy has no table of routes") };
        Connection::small(api)
    }

    pub(super) fn add_route(&self, path: &str, target: SocketAddr) -> Result<()> {
        add_route(&mut self.api()?, path, target)
    }

    fn processes(&self) -> Vec<u32> {
        let mut found = vec![self.child.0.id()];
        let Ok(entries) = fs::read_dir("/proc") else { return found };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let parents: Vec<(u32, u32)> =
            ids.filter_map(|id| Some((id, field(id, 3)?.try_into().ok()?))).collect();
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
            at += 1;
        }
        found
    }

    /// CPU seconds used so far, workers included.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a bench fit easily")]
    fn cpu(&self) -> f64 {
        let ticks: u64 =
            self.processes().into_iter().filter_map(|id| Some(field(id, 13)? + field(id, 14)?)).sum();
        ticks as f64 / TICKS
    }

    /// Resident memory in KiB, workers included.
    pub(super) fn memory(&self) -> u64 {
        self.processes().into_iter().filter_map(resident).sum()
    }

    /// Open descriptors, workers included.
    pub(super) fn descriptors(&self) -> usize {
        let count = |id: u32| fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
        self.processes().into_iter().map(count).sum()
    }

    /// CPU milliseconds for 1,000 small answers.
    pub(super) fn small(&self, connections: u32, requests: u32) -> Result<f64> {
        // Of many routes each request takes another one, so that no look-up is that of the request before.
        let turn = AtomicU32::new(0);
        let user = || match self.routes {
            0 => "bench".to_owned(),
            routes => {
                format!("somebody-{}", u64::from(turn.fetch_add(1, Relaxed)) * SPREAD % u64::from(routes))
            }
        };
        let request = || get(&format!("/user/{}/api/contents?content=0", user()));
        let work = |connection: &mut Connection| match connection.ask(&request())? {
            (200, SMALL) => Ok(()),
            (status, size) => bail!("{size} bytes with status {status}"),
        };
        let (before, after) =
            spread(self.address, connections, requests, |_| Ok(()), work, || Ok(self.cpu()))?;
        Ok((after - before) / f64::from(requests) * 1e6)
    }

    /// CPU seconds for a GiB towards the client.
    pub(super) fn download(&self, bodies: u32) -> Result<f64> {
        let request = get("/large");
        let work = |connection: &mut Connection| match connection.ask(&request)? {
            (200, LARGE) => Ok(()),
            (status, size) => bail!("{size} bytes with status {status}"),
        };
        let (before, after) = spread(self.address, 4, bodies, |_| Ok(()), work, || Ok(self.cpu()))?;
        Ok((after - before) / f64::from(bodies) * 16.0)
    }

    /// CPU seconds for a GiB from the client.
    pub(super) fn upload(&self, bodies: u32) -> Result<f64> {
        let work = |connection: &mut Connection| match connection.send_large("/up", LARGE)? {
            200 => Ok(()),
            status => bail!("an upload was answered {status}"),
        };
        let (before, after) = spread(self.address, 4, bodies, |_| Ok(()), work, || Ok(self.cpu()))?;
        Ok((after - before) / f64::from(bodies) * 16.0)
    }

    /// MiB of memory that the proxy takes more while it passes on a body of more than 4 GiB than after a small one.
    #[expect(clippy::cast_precision_loss, reason = "KiB of a process fit easily")]
    pub(super) fn huge_upload(&self, chunked: bool) -> Result<f64> {
        let mut connection = Connection::open(self.address)?;
        connection.send_huge(0, chunked, || ())?;
        let before = self.memory();
        let mut most = before;
        connection.send_huge(4, chunked, || most = most.max(self.memory()))?;
        Ok((most - before) as f64 / 1024.0)
    }

    /// CPU milliseconds for 1,000 small messages there and back.
    pub(super) fn echoes(&self, websockets: u32, messages: u32) -> Result<f64> {
        let message = [b'm'; 120];
        let prepare = |connection: &mut Connection| connection.upgrade("/ws");
        let work = |connection: &mut Connection| connection.echo(&message);
        let (before, after) = spread(self.address, websockets, messages, prepare, work, || Ok(self.cpu()))?;
        Ok((after - before) / f64::from(messages) * 1e6)
    }

    /// Seconds from the end by SIGKILL to the first answer by the last route, of a process that is started at once.
    pub(super) fn killed_and_back(&mut self) -> Result<f64> {
        let request = get(&format!("/user/somebody-{}/x", self.routes.saturating_sub(1)));
        self.child.0.kill()?;
        let start = Instant::now();
        self.child.0.wait()?;
        self.child = running(&mut self.command, "the killed proxy")?;
        loop {
            let asked = Connection::small(self.address).and_then(|mut connection| connection.ask(&request));
            match asked {
                Ok((200, SMALL)) => return Ok(start.elapsed().as_secs_f64()),
                Ok((status, _)) => bail!("the route was answered {status} after the restart"),
                Err(error) if start.elapsed() > BACK => return Err(error),
                Err(_) => pause(Duration::from_millis(1)),
            }
        }
    }

    /// KiB of memory that one open websocket takes.
    #[expect(clippy::cast_precision_loss, reason = "KiB of a process fit easily")]
    pub(super) fn websocket_memory(&self, count: u32) -> Result<f64> {
        let mut first = Connection::open(self.address)?;
        first.upgrade("/ws")?;
        first.echo(b"warm")?;
        let before = self.memory();
        let mut open = Vec::new();
        for _ in 0..count {
            let mut connection = Connection::small(self.address)?;
            connection.upgrade("/ws")?;
            connection.echo(b"one message")?;
            open.push(connection);
        }
        let after = self.memory();
        Ok(after.saturating_sub(before) as f64 / f64::from(count))
    }
}

fn add_route(api: &mut Connection, path: &str, target: SocketAddr) -> Result<()> {
    let body = format!(r#"{{"target": "http://{target}"}}"#);
    let request = format!(
        "POST /api/routes{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: token {TOKEN}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    match api.ask(request.as_bytes())?.0 {
        201 => Ok(()),
        status => bail!("a route was answered {status}"),
    }
}

fn running(command: &mut Command, name: &str) -> Result<Running> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Running(child.with_context(|| format!("{name} cannot be started"))?))
}

/// A file with a key or certificate of the proxy's tests.
fn fixture(name: &str) -> PathBuf {
    workspace().join("proxy/tests/it/fixtures").join(name)
}

/// What speaks TLS for the clients, which cannot: another one of our proxies. Its CPU time is not counted.
fn tls_client(port: u16) -> Result<(Running, SocketAddr)> {
    let (public, api) = (free_port()?, free_port()?);
    let mut command = Command::new(Kind::own_program());
    command
        .args(["--ip", "127.0.0.1", "--port", &public.to_string()])
        .args(["--api-ip", "127.0.0.1", "--api-port", &api.to_string(), "--log-level", "error"])
        .args(["--default-target", &format!("https://localhost:{port}"), "--client-ssl-ca"])
        .arg(fixture("ca.pem"))
        .env("CONFIGPROXY_AUTH_TOKEN", TOKEN);
    Ok((running(&mut command, "the client's side of TLS")?, SocketAddr::from(([127, 0, 0, 1], public))))
}

/// Where a proxy runs and where it leads.
#[derive(Debug)]
struct Place<'a> {
    folder: &'a Path,
    target: SocketAddr,
    port: u16,
    api_port: u16,
    setup: Setup,
}

impl Place<'_> {
    fn command(&self, kind: &Kind) -> Result<Command> {
        match kind {
            Kind::Ours(program) | Kind::Original(program) => {
                let mut command = Command::new(program);
                command
                    .args(["--ip", "127.0.0.1", "--port", &self.port.to_string()])
                    .args(["--api-ip", "127.0.0.1", "--api-port", &self.api_port.to_string()])
                    .args(["--default-target", &format!("http://{}", self.target), "--log-level", "error"])
                    .args(["--metrics-ip", "127.0.0.1", "--metrics-port", &free_port()?.to_string()])
                    .env("CONFIGPROXY_AUTH_TOKEN", TOKEN);
                if self.setup.saved {
                    let file = self.folder.join("routes");
                    command.args(["--storage-backend", &format!("file:{}", file.display())]);
                }
                if self.setup.tls {
                    command.arg("--ssl-key").arg(fixture("leaf-key.pem"));
                    command.arg("--ssl-cert").arg(fixture("leaf.pem"));
                }
                Ok(command)
            }
            Kind::Nginx(program) => {
                let file = self.folder.join("nginx.conf");
                fs::write(&file, self.nginx()?)?;
                let mut command = Command::new(program);
                command.arg("-c").arg(file).arg("-p").arg(self.folder);
                Ok(command)
            }
            Kind::Haproxy(program) => {
                let file = self.folder.join("haproxy.cfg");
                fs::write(&file, self.haproxy()?)?;
                let mut command = Command::new(program);
                command.arg("-db").arg("-f").arg(file);
                Ok(command)
            }
        }
    }

    fn nginx(&self) -> Result<String> {
        let Self { folder, target, port, .. } = self;
        let mut text = String::new();
        let (ssl, keys) = if self.setup.tls {
            let [key, certificate] = ["leaf-key.pem", "leaf.pem"].map(fixture);
            let keys = format!(
                "ssl_certificate {};\n ssl_certificate_key {};",
                certificate.display(),
                key.display()
            );
            (" ssl", keys)
        } else {
            ("", String::new())
        };
        write!(
            text,
            "worker_processes {threads};\nworker_rlimit_nofile 16384;\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/errors;\n\
             events {{ worker_connections 8192; }}\n\
             http {{\n access_log off;\n keepalive_requests 1000000000;\n client_max_body_size 0;\n\
             client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n\
             fastcgi_temp_path {folder}/fastcgi;\n uwsgi_temp_path {folder}/uwsgi;\n scgi_temp_path {folder}/scgi;\n\
             map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
             upstream target {{ server {target}; keepalive 512; keepalive_requests 1000000000; }}\n\
             server {{ listen 127.0.0.1:{port}{ssl} backlog=4096;\n {keys}\n location / {{\n proxy_pass http://target;\n\
             proxy_http_version 1.1;\n proxy_buffering off;\n proxy_request_buffering off;\n\
             proxy_set_header Host $http_host;\n proxy_set_header Upgrade $http_upgrade;\n\
             proxy_set_header Connection $connection_upgrade;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             proxy_set_header X-Forwarded-Proto $scheme;\n }}\n }}\n}}\n",
            threads = threads(),
            folder = folder.display()
        )?;
        Ok(text)
    }

    fn haproxy(&self) -> Result<String> {
        let Self { folder, target, port, .. } = self;
        let mut text = String::new();
        let ssl = if self.setup.tls {
            // It wants key and certificate in one file.
            let both = folder.join("both.pem");
            let read = |name: &str| fs::read_to_string(fixture(name));
            fs::write(&both, read("leaf.pem")? + &read("leaf-key.pem")?)?;
            format!(" ssl crt {}", both.display())
        } else {
            String::new()
        };
        write!(
            text,
            "global\n nbthread {threads}\n maxconn 8000\ndefaults\n mode http\n timeout connect 10s\n\
             timeout client 1h\n timeout server 1h\n timeout tunnel 1h\n option http-keep-alive\n\
             option forwardfor\n http-reuse always\nfrontend public\n bind 127.0.0.1:{port}{ssl}\n\
             default_backend target\nbackend target\n server one {target}\n",
            threads = threads()
        )?;
        Ok(text)
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// A number from `/proc/ID/stat`, counted from 0 as in its manual's list, the name being field 1.
fn field(id: u32, index: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may hold blanks and brackets, so counting begins behind it.
    let rest = text.get(text.rfind(')')? + 2..)?;
    rest.split(' ').nth(index.checked_sub(2)?)?.parse().ok()
}

fn resident(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
