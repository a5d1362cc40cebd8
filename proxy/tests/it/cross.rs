//! The stock hub with our proxy in configurable-http-proxy's place, real JupyterLab behind it.
//!
//! Runs when `HIMALIA_TEST_VENV_61` names a virtual environment with JupyterHub 6.1; in CI (`CI` is set) it must.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::process::{Child, Command};

use super::support::{Message, Raw, dead_address};

/// Starting a hub and a JupyterLab takes a while on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const TOKEN: &str = "an-admin-token-of-the-test";

struct Hub {
    process: Child,
    folder: tempfile::TempDir,
    public: SocketAddr,
}

impl Drop for Hub {
    fn drop(&mut self) {
        // The hub stops its proxy and its servers when it is told to end, and not when it is killed.
        if let Some(id) = self.process.id() {
            let _ = std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status();
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while matches!(self.process.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
    }
}

fn environment() -> Option<PathBuf> {
    let venv = std::env::var_os("HIMALIA_TEST_VENV_61");
    assert!(
        venv.is_some() || std::env::var_os("CI").is_none(),
        "HIMALIA_TEST_VENV_61 must name an environment with JupyterHub 6.1 in CI"
    );
    venv.map(PathBuf::from)
}

async fn within<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, search).await;
    found.unwrap_or_else(|_| panic!("{what} did not happen"))
}

impl Hub {
    async fn start(venv: &std::path::Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (public, api, hub) = (dead_address().await, dead_address().await, dead_address().await);
        // The hub's command line of the proxy, passed on to this test program.
        let wrapper = folder.path().join("proxy.sh");
        let this = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nHIMALIA_TEST_PROXY_FLAGS=$(printf '%s\\n' \"$@\")\nexport HIMALIA_TEST_PROXY_FLAGS\n\
             exec {} --exact program::this_program_is_a_proxy_when_asked --nocapture\n",
            this.display()
        );
        std::fs::write(&wrapper, script).unwrap();
        let config = format!(
            "c.JupyterHub.bind_url = 'http://127.0.0.1:{public}'\n\
             c.JupyterHub.hub_port = {hub}\n\
             c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{api}'\n\
             c.ConfigurableHTTPProxy.command = ['sh', '{wrapper}']\n\
             c.ConfigurableHTTPProxy.check_running_interval = 1\n\
             c.JupyterHub.authenticator_class = 'dummy'\n\
             c.Authenticator.allow_all = True\n\
             c.JupyterHub.spawner_class = 'simple'\n\
             c.SimpleLocalProcessSpawner.home_dir_template = '{folder}/home/{{username}}'\n\
             c.Spawner.args = ['--allow-root']\n\
             c.Spawner.http_timeout = 100\n\
             c.Spawner.start_timeout = 100\n\
             c.JupyterHub.services = [{{'name': 'test', 'api_token': '{TOKEN}'}}]\n\
             c.JupyterHub.load_roles = [{{'name': 'all', 'services': ['test'],\n\
             'scopes': ['admin:users', 'admin:servers', 'access:servers', 'proxy']}}]\n",
            public = public.port(),
            hub = hub.port(),
            api = api.port(),
            wrapper = wrapper.display(),
            folder = folder.path().display(),
        );
        std::fs::write(folder.path().join("jupyterhub_config.py"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let path = std::env::join_paths(
            std::iter::once(venv.join("bin"))
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let process = Command::new(venv.join("bin/jupyterhub"))
            .current_dir(folder.path())
            .env("PATH", path.unwrap())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let hub = Self { process, folder, public };
        within("the hub's first answer", async || {
            let answer = hub.ask("GET", "/hub/api/", "").await?;
            (answer.status() == 200).then_some(())
        })
        .await;
        hub
    }

    /// `None` when nobody answers.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Option<Message> {
        let stream = tokio::net::TcpStream::connect(self.public).await.ok()?;
        let mut raw = Raw::new(stream);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.public,
            body.len()
        );
        raw.try_send(request).await.ok()?;
        raw.response_if_any(method).await
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "").await.unwrap();
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{path}: {answer:?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_hub_works_with_our_proxy_and_survives_its_death() {
    let Some(venv) = environment() else { return };
    let hub = Hub::start(&venv).await;
    assert_eq!(hub.ask("POST", "/hub/api/users/ada", "").await.unwrap().status(), 201);
    let started = hub.ask("POST", "/hub/api/users/ada/server", "{}").await.unwrap().status();
    assert!(matches!(started, 201 | 202), "{started}");
    within("JupyterLab's start", async || {
        let user = hub.json("/hub/api/users/ada").await;
        (user["servers"][""]["ready"] == true).then_some(())
    })
    .await;
    let through = async || hub.ask("GET", "/user/ada/api/status", "").await;
    let status = through().await.unwrap();
    assert_eq!(status.status(), 200, "{status:?}");
    let lab = hub.ask("GET", "/user/ada/lab", "").await.unwrap();
    assert!(lab.status() == 200 && lab.text().contains("JupyterLab"), "{}", lab.status());

    // JupyterLab's own websocket.
    let mut raw = Raw::connect(hub.public).await;
    raw.send(format!(
        "GET /user/ada/api/events/subscribe HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
         Authorization: token {TOKEN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        host = hub.public
    ))
    .await;
    let opened = raw.head().await.unwrap();
    assert_eq!(opened.status(), 101, "{opened:?}");
    assert_eq!(opened.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));

    let routes = hub.json("/hub/api/proxy").await;
    assert_eq!(routes["/user/ada/"]["data"]["user"], "ada", "{routes}");
    assert!(routes["/"]["data"]["hub"] == true, "{routes}");

    // The hub notices that its proxy died, starts another one and gives it the routes.
    let pid = std::fs::read_to_string(hub.folder.path().join("jupyterhub-proxy.pid")).unwrap();
    let pid = pid.lines().next().unwrap().trim().to_owned();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().await.unwrap().success());
    assert!(raw.is_closed().await);
    within("the routes' return", async || {
        let answer = through().await?;
        (answer.status() == 200).then_some(())
    })
    .await;
    assert_eq!(hub.ask("DELETE", "/hub/api/users/ada/server", "").await.unwrap().status() / 100, 2);
}
