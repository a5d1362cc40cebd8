//! The proxy as a process of its own: this test program, started again with a command line of the proxy.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
};

use clap::{Args, Command as Cli, FromArgMatches};
use hub_proxy::{ChpArgs, run_chp};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::process::{Child, Command};

use super::support::{dead_address, patiently};

/// Holds the flags, one a line, for a test program that is to be a proxy.
const FLAGS: &str = "HIMALIA_TEST_PROXY_FLAGS";
/// How many descriptors such a test program may have.
pub(crate) const DESCRIPTORS: &str = "HIMALIA_TEST_PROXY_DESCRIPTORS";
pub(crate) const TOKEN: &str = "a-test-token";

/// Which program to run.
#[derive(Debug, Clone)]
pub(crate) enum Which {
    Ours,
    /// configurable-http-proxy's executable.
    Original(std::ffi::OsString),
}

/// The original, if `HIMALIA_TEST_CHP_BIN` names it; in CI (`CI` is set) it must.
pub(crate) fn original() -> Option<Which> {
    let program = std::env::var_os("HIMALIA_TEST_CHP_BIN");
    assert!(
        program.is_some() || std::env::var_os("CI").is_none(),
        "HIMALIA_TEST_CHP_BIN must name configurable-http-proxy in CI"
    );
    program.map(Which::Original)
}

/// A running proxy process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) api: SocketAddr,
}

impl Process {
    /// Starts a proxy on free ports, and waits until it listens.
    pub(crate) async fn start(which: &Which, flags: &[&str]) -> Self {
        let (public, api) = (dead_address().await, dead_address().await);
        Self::start_at(which, public, api, flags, &[]).await
    }

    pub(crate) async fn start_at(
        which: &Which,
        public: SocketAddr,
        api: SocketAddr,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut process = Self::spawn(which, public, api, flags, variables);
        process.listening(flags).await;
        process
    }

    /// Waits until it listens.
    async fn listening(&mut self, flags: &[&str]) {
        patiently(async {
            for address in [self.api, self.public] {
                while tokio::net::TcpStream::connect(address).await.is_err() {
                    if let Some(status) = self.has_ended() {
                        panic!("the proxy with {flags:?} ended with {status}");
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        })
        .await;
    }

    /// Starts a proxy on free ports that logs to a file, and waits until it listens.
    pub(crate) async fn start_logging(which: &Which, flags: &[&str], log: &Path) -> Self {
        let (public, api) = (dead_address().await, dead_address().await);
        let log = Some(File::create(log).expect("the log can be written"));
        let mut process = Self::spawn_to(which, &addressed(public, api, flags), &[], log);
        (process.public, process.api) = (public, api);
        process.listening(flags).await;
        process
    }

    /// Starts a proxy without waiting.
    pub(crate) fn spawn(
        which: &Which,
        public: SocketAddr,
        api: SocketAddr,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut process = Self::spawn_to(which, &addressed(public, api, flags), variables, None);
        (process.public, process.api) = (public, api);
        process
    }

    /// Starts a proxy with nothing but these flags.
    pub(crate) fn spawn_bare(which: &Which, all: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn_to(which, all, variables, None)
    }

    /// The log file takes both outputs.
    fn spawn_to<F: AsRef<str>>(
        which: &Which,
        all: &[F],
        variables: &[(&str, &str)],
        log: Option<File>,
    ) -> Self {
        let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
        let mut command = match which {
            Which::Original(program) => {
                let mut command = Command::new(program);
                command.args(&all);
                command
            }
            Which::Ours => {
                let mut command = Command::new(std::env::current_exe().expect("the test program has a path"));
                command.args(["--exact", "program::this_program_is_a_proxy_when_asked", "--nocapture"]);
                command.env(FLAGS, all.join("\n"));
                command
            }
        };
        command.env("CONFIGPROXY_AUTH_TOKEN", TOKEN).envs(variables.iter().copied());
        let output = match log {
            Some(log) => {
                command.stderr(log.try_clone().expect("a descriptor is free"));
                log.into()
            }
            None => {
                if std::env::var_os("HIMALIA_TEST_SHOW").is_none() {
                    command.stderr(Stdio::null());
                }
                if all.contains(&"--access-log") { Stdio::piped() } else { Stdio::null() }
            }
        };
        let child = command.stdin(Stdio::null()).stdout(output).kill_on_drop(true).spawn();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { child: child.expect("the proxy can be run"), public: nowhere, api: nowhere }
    }

    /// Standard output, of a proxy with an access log.
    pub(crate) fn output(&mut self) -> tokio::process::ChildStdout {
        self.child.stdout.take().expect("the output is captured once")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the proxy runs")
    }

    pub(crate) async fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.id().to_string()]).status().await;
        assert!(status.expect("kill can be run").success());
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        patiently(self.child.wait()).await.expect("a child can be waited for")
    }

    /// Adds a route by the API.
    pub(crate) async fn route(&self, path: &str, target: &str) {
        let body = serde_json::json!({ "target": target }).to_string();
        let (status, text) = self.ask_api("POST", &format!("/api/routes{path}"), &body).await;
        assert_eq!(status, 201, "{text}");
    }

    pub(crate) async fn ask_api(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut raw = super::support::Raw::connect(self.api).await;
        let length = body.len();
        raw.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        let answer = raw.response_to(method).await;
        (answer.status(), answer.text())
    }
}

/// The flags of a proxy at these addresses.
fn addressed(public: SocketAddr, api: SocketAddr, flags: &[&str]) -> Vec<String> {
    let ports = [public.port().to_string(), api.port().to_string()];
    let own = ["--ip", "127.0.0.1", "--port", &ports[0], "--api-ip", "127.0.0.1", "--api-port", &ports[1]];
    own.iter().chain(flags).map(|&flag| flag.to_owned()).collect()
}

/// Not a test by itself: other tests start it as a process.
#[tokio::test(flavor = "multi_thread")]
async fn this_program_is_a_proxy_when_asked() {
    let Ok(flags) = std::env::var(FLAGS) else { return };
    if let Ok(count) = std::env::var(DESCRIPTORS) {
        let count = Some(count.parse().expect("a number of descriptors"));
        setrlimit(Resource::Nofile, Rlimit { current: count, maximum: count })
            .expect("fewer are always granted");
    }
    let cli = ChpArgs::augment_args(Cli::new("proxy").version("test").no_binary_name(true));
    let args =
        cli.try_get_matches_from(flags.split('\n')).and_then(|found| ChpArgs::from_arg_matches(&found));
    let code = match args {
        Ok(args) => run_chp(args).await.map_err(|error| error.to_string()),
        Err(error) if error.exit_code() == 0 => Ok(std::process::ExitCode::SUCCESS),
        Err(error) => Err(error.to_string()),
    };
    match code {
        Ok(code) if code == std::process::ExitCode::SUCCESS => std::process::exit(0),
        Ok(_) => std::process::exit(2),
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "{error}");
            std::process::exit(1)
        }
    }
}
