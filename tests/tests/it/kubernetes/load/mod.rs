//! Many pods, and many starts at once, for `cargo xtask bench kube`: figures, beside those of KubeSpawner where it can
//! follow. Recorded and not asserted, but for what must hold on any machine.

mod crowd;
mod rush;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hub_tests::hub::Hub;
use hub_tests::kube::{Account, Namespace, kube_settings};
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A container of this image runs no process.
const NO_PROCESS: &str = "registry.test/pause:1";
/// Clock ticks in a second, as `/proc` counts.
const TICKS: f64 = 100.0;

/// One port that answers for the servers of all pods.
struct Doors {
    port: u16,
    task: JoinHandle<()>,
}

impl Doors {
    async fn open() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = vec![0; 8192];
                    // One request a connection; whoever goes away meanwhile needs no answer.
                    if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let answer =
                            b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nConnection: close\r\n\
                                       Content-Length: 2\r\n\r\n{}";
                        let _ = stream.write_all(answer).await;
                    }
                });
            }
        });
        Ok(Self { port, task })
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A hub whose pods run nothing, and whose servers answer at the doors.
fn settings(namespace: &Namespace, account: &Account, doors: &Doors, more: &Value) -> Settings {
    let mut options = json!({
        "image": NO_PROCESS,
        "port": doors.port,
        "pod_connect_ip": "127.0.0.1",
        "storage_pvc_ensure": false,
        "volumes": [],
        "volume_mounts": [],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        options[name] = value.clone();
    }
    Settings { slow_spawn_timeout: Duration::ZERO, ..kube_settings(namespace, account, &options) }
}

/// Seconds of processor time that a process has used, and the MiB of memory that it has.
fn used(pid: u32) -> Result<(f64, f64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in the process's status")?;
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = resident.trim().trim_end_matches("kB").trim().parse()?;
    Ok((ticks.iter().sum::<f64>() / TICKS, kib / 1024.0))
}

/// Waits until so many servers run, by the hub's own count; how long that took.
async fn servers_run(hub: &Hub, count: usize, within: Duration) -> Result<Duration> {
    let began = Instant::now();
    let administrator = &hub.administrator()?;
    let what = format!("{count} servers run");
    let wanted = &format!("jupyterhub_running_servers {:.1}", f64::from(u32::try_from(count)?));
    eventually(&what, within, || async move {
        let text = administrator.request(Method::GET, "../metrics")?.send().await?.text().await?;
        // Python writes 5000.0 and Rust 5000.
        let count = wanted.trim_end_matches(".0");
        Ok(text.lines().any(|line| line == wanted || line == count).then_some(()))
    })
    .await?;
    Ok(began.elapsed())
}
