//! The server as a process, and a browser for it.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Response, Url};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use crate::PATIENCE;
use crate::fake_hub::FakeHub;

/// A running server, ended with the test.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts one for `ann` and waits until it answers.
    pub(crate) async fn start(hub: &FakeHub, more: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut env = environment(hub, port);
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let server = Self { child: command(&env).spawn().unwrap(), port };
        let mut browser = Browser::new();
        let deadline = Instant::now() + PATIENCE;
        while browser.try_get(&server.url("api")).await.is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            sleep(Duration::from_millis(10)).await;
        }
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/base/user/ann/{path}", self.port)
    }

    /// Sends a signal and returns the exit code.
    pub(crate) async fn end(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        let mut status = None;
        eventually("the end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn environment(hub: &FakeHub, port: u16) -> BTreeMap<String, String> {
    let api = hub.api();
    let activity = format!("{api}/users/ann/activity");
    let service = format!("http://127.0.0.1:{port}/base/user/ann/");
    [
        ("JUPYTERHUB_API_TOKEN", "server-token"),
        ("JPY_API_TOKEN", "server-token"),
        ("JUPYTERHUB_API_URL", &api),
        ("JUPYTERHUB_ACTIVITY_URL", &activity),
        ("JUPYTERHUB_BASE_URL", "/base/"),
        ("JUPYTERHUB_HOST", ""),
        ("JUPYTERHUB_SERVICE_PREFIX", "/base/user/ann/"),
        ("JUPYTERHUB_SERVICE_URL", &service),
        ("JUPYTERHUB_CLIENT_ID", "jupyterhub-user-ann"),
        ("JUPYTERHUB_OAUTH_CALLBACK_URL", "/base/user/ann/oauth_callback"),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", r#"["access:servers!server=ann/","access:servers!user=ann"]"#),
        ("JUPYTERHUB_USER", "ann"),
        ("JUPYTERHUB_SERVER_NAME", ""),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn command(env: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_light-singleuser"));
    command.arg("--allow-root").env_clear().envs(env).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs the program to its end with one variable changed.
pub(crate) async fn fails(hub: &FakeHub, name: &str, value: &str) -> Output {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut env = environment(hub, port);
    env.insert(name.to_owned(), value.to_owned());
    let mut command = command(&env);
    command.stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Keeps cookies, follows nothing.
pub(crate) struct Browser {
    client: reqwest::Client,
    cookies: HashMap<String, String>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        Self { client: client.build().unwrap(), cookies: HashMap::new() }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.get(name).cloned()
    }

    pub(crate) async fn get(&mut self, url: &str) -> Response {
        self.try_get(url).await.unwrap()
    }

    async fn try_get(&mut self, url: &str) -> reqwest::Result<Response> {
        let sent: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = self.client.get(url).header("cookie", sent.join("; ")).send().await?;
        for line in answer.headers().get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.set(name, value);
            }
        }
        Ok(answer)
    }

    pub(crate) async fn with_token(&mut self, url: &str, token: &str) -> Response {
        self.client.get(url).header("authorization", format!("token {token}")).send().await.unwrap()
    }

    /// Begins a login and returns its state.
    pub(crate) async fn begin(&mut self, server: &Server) -> String {
        let away = self.get(&server.url("")).await;
        query(&location(&away))["state"].clone()
    }

    /// A whole login that ends with this token.
    pub(crate) async fn log_in(&mut self, server: &Server, hub: &FakeHub, token: &str) {
        let state = self.begin(server).await;
        hub.expect_code("the-code", token);
        let back = self.get(&server.url(&format!("oauth_callback?code=the-code&state={state}"))).await;
        assert_eq!(back.status(), 302, "{}", back.text().await.unwrap());
    }
}

pub(crate) fn location(answer: &Response) -> Url {
    answer.url().join(answer.headers()["location"].to_str().unwrap()).unwrap()
}

pub(crate) fn query(url: &Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

pub(crate) async fn body(answer: Response) -> Value {
    answer.json().await.unwrap()
}

/// Waits until it holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
