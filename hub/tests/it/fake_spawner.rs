//! A spawner whose servers are tasks of the test: each answers every request with 200.
//!
//! What it does is told by `user_options`: `fail` (text) breaks the start, `refuse` (text) refuses it, `hold` (name
//! of a gate) makes the start wait for the gate, `hold_stop` likewise the stop, `mute` keeps the server from
//! answering until the gate is open, `dead` (name of a gate) lets the server look
//! evicted once the gate is open. Whoever waits at a gate has opened the gate `NAME reached` before. A server with
//! `hold_adopt` in its state is looked for until that gate is open, one with `runs_at` (a URL) runs there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use hub_core::secret::ExposeSecret as _;
use hub_core::spawner::{Exit, Phase};
use hub_core::{
    Adoption, PluginError, PollStatus, Progress, ServerRef, SpawnError, Spawner, SpawnerContext,
    SpawnerPlugin, StartJob, StartSink, Started, StopMode,
};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The `kind`.
pub(crate) const NAME: &str = "fake";

/// For `spawner.kind = "fake"`.
pub(crate) fn plugin() -> SpawnerPlugin {
    SpawnerPlugin { name: NAME, build, describe: hub_core::plugin::options_schema::<()> }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of plugins")]
fn build(_: Value, _: &SpawnerContext) -> Result<Arc<dyn Spawner>, PluginError> {
    Ok(Arc::new(FakeSpawner::default()))
}

static GATES: LazyLock<Mutex<HashMap<String, CancellationToken>>> = LazyLock::new(Mutex::default);

/// The gate of a name, closed at first; names are shared by all tests.
pub(crate) fn gate(name: &str) -> CancellationToken {
    GATES.lock().unwrap().entry(name.to_owned()).or_default().clone()
}

static TOKENS: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

/// The own token of a server, `USER/SERVER`, as its last start was given it; names are shared by all tests.
pub(crate) fn token(server: &str) -> String {
    TOKENS.lock().unwrap()[server].clone()
}

/// Servers with a `gate` in their state that are being looked for, and the most at once so far.
pub(crate) static ADOPTING: AtomicUsize = AtomicUsize::new(0);
pub(crate) static MOST_ADOPTING: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Running {
    options: Map<String, Value>,
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct FakeSpawner {
    servers: Mutex<HashMap<String, Running>>,
}

/// A text among the options.
fn option<'a>(options: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    // Fields of a form are lists.
    let value = options.get(name)?;
    value.as_str().or_else(|| value.get(0)?.as_str())
}

fn runs_at(server: &ServerRef) -> Option<&str> {
    server.state.get("runs_at").and_then(Value::as_str)
}

async fn wait(options: &Map<String, Value>, name: &str) {
    if let Some(name) = option(options, name) {
        wait_at(name).await;
    }
}

async fn wait_at(name: &str) {
    gate(&format!("{name} reached")).cancel();
    gate(name).cancelled().await;
}

#[async_trait]
impl Spawner for FakeSpawner {
    fn class_name(&self) -> &'static str {
        "tests::FakeSpawner"
    }

    async fn start(&self, job: StartJob, sink: &dyn StartSink) -> Result<Started, SpawnError> {
        sink.progress(Progress::new(50, Phase::Launching, "Spawning server..."));
        if let Some(text) = option(&job.options, "fail") {
            return Err(SpawnError::broken("fake-broken", text, "only for the log"));
        }
        if let Some(text) = option(&job.options, "refuse") {
            return Err(SpawnError::refused("fake-refused", text));
        }
        wait(&job.options, "hold").await;
        let own = job.api_token.expose_secret().to_owned();
        TOKENS.lock().unwrap().insert(format!("{}/{}", job.key.user, job.key.server), own);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let end = CancellationToken::new();
        let mute = option(&job.options, "mute").map(gate);
        let running = Running { options: job.options, end: end.clone() };
        let before = self.servers.lock().unwrap().insert(job.key.to_string(), running);
        assert!(before.is_none(), "two servers at once for {}", job.key);
        tokio::spawn(end.run_until_cancelled_owned(serve(listener, mute)));
        Ok(Started { address, state: json!({ "launch": job.launch }), api_token: None })
    }

    async fn stop(&self, server: &ServerRef, _: StopMode) -> Result<(), SpawnError> {
        let options = self.servers.lock().unwrap().get(&server.key.to_string()).map(|it| it.options.clone());
        wait(&options.unwrap_or_default(), "hold_stop").await;
        if let Some(running) = self.servers.lock().unwrap().remove(&server.key.to_string()) {
            running.end.cancel();
        }
        Ok(())
    }

    fn state_after_stop(&self, mut state: Value) -> Value {
        state
            .get_mut("volume")
            .map(Value::take)
            .map_or_else(|| json!({}), |volume| json!({ "volume": volume }))
    }

    async fn poll(&self, server: &ServerRef) -> Result<PollStatus, SpawnError> {
        if runs_at(server).is_some() {
            return Ok(PollStatus::Running);
        }
        let servers = self.servers.lock().unwrap();
        let Some(running) = servers.get(&server.key.to_string()) else {
            return Ok(PollStatus::Exited(Exit::default()));
        };
        let dead = option(&running.options, "dead").is_some_and(|name| gate(name).is_cancelled());
        Ok(if dead {
            PollStatus::Exited(Exit { code: Some(1), cause: Some("evicted"), ..Exit::default() })
        } else {
            PollStatus::Running
        })
    }

    async fn adopt(&self, server: &ServerRef) -> Result<Adoption, SpawnError> {
        if let Some(name) = server.state.get("gate").and_then(Value::as_str) {
            let at_once = ADOPTING.fetch_add(1, Ordering::SeqCst) + 1;
            MOST_ADOPTING.fetch_max(at_once, Ordering::SeqCst);
            gate(name).cancelled().await;
            ADOPTING.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(name) = server.state.get("hold_adopt").and_then(Value::as_str) {
            wait_at(name).await;
        }
        if let Some(address) = runs_at(server) {
            let (address, state) = (address.parse().unwrap(), server.state.clone());
            return Ok(Adoption::Running(Started { address, state, api_token: None }));
        }
        Ok(Adoption::Gone(Exit::default()))
    }
}

async fn serve(listener: TcpListener, mute: Option<CancellationToken>) {
    if let Some(gate) = mute {
        gate.cancelled().await;
    }
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = [0; 4096];
        let answer = "HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        if stream.read(&mut head).await.is_ok() {
            // The other end may be gone; nobody asks this side about it.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
}
