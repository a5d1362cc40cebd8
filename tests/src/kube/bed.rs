//! The cluster's process, and what a test can do to it as a whole.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::environment::Needed;

/// The token that may do everything.
const ADMINISTRATOR: &str = "kubebed-admin";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster. It ends with its last owner, or with the process of the test, however that ends.
#[derive(Debug)]
pub struct Bed {
    folder: PathBuf,
    /// Port of the API server on 127.0.0.1.
    pub port: u16,
    control: Mutex<Control>,
    process: Mutex<Child>,
}

#[derive(Debug)]
struct Control {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Bed {
    /// The one that tests share, started at the first call.
    ///
    /// # Panics
    /// When it does not start.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Bed>> = OnceLock::new();
        SHARED.get_or_init(|| Arc::new(Self::start().expect("the shared cluster starts"))).clone()
    }

    /// A new cluster of two nodes, ready to run pods. This blocks for some seconds.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn start() -> Result<Self> {
        Self::with_room_for(500)
    }

    /// The same with room for so many pods on each of its nodes.
    ///
    /// # Errors
    /// When it does not become ready; with what it said.
    pub fn with_room_for(pods: u32) -> Result<Self> {
        // Beds that run side by side have address ranges of their own.
        static NUMBER: AtomicU8 = AtomicU8::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) % 8;
        let process_number = u8::try_from(std::process::id() % 4)?;
        let range = process_number * 8 + number;
        let singleuser = Needed::Venv61.path().join("bin");
        let light = Needed::LightSingleuser.path();
        let light = light.parent().context("a program lies in a folder")?;
        let path = std::env::join_paths([singleuser.as_path(), light])?;
        let mut process = Command::new(Needed::Kubebed.path())
            .args(["--control", "--uid", "1000", "--nodes", "2"])
            .args(["--pods-per-node", &pods.to_string()])
            .args(["--pod-cidr", &format!("127.{}.0.0/16", 64 + range)])
            .args(["--service-cidr", &format!("127.{}.0.0/16", 96 + range)])
            .arg("--path")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the cluster")?;
        let commands = process.stdin.take().context("no input")?;
        let mut answers = BufReader::new(process.stdout.take().context("no output")?);
        let mut said = String::new();
        while !said.contains("kubebed ready") {
            if answers.read_line(&mut said)? == 0 {
                bail!("the cluster ends at its start: {said}");
            }
        }
        let kubeconfig = said.trim_end().rsplit_once("KUBECONFIG=").context("no kubeconfig is named")?.1;
        let text = fs::read_to_string(kubeconfig)?;
        let port = text.split_once("https://127.0.0.1:").and_then(|(_, rest)| rest.split_once('"'));
        let port = port.context("no address in the kubeconfig")?.0.parse()?;
        let folder = Path::new(kubeconfig).parent().context("a file lies in a folder")?.to_path_buf();
        let control = Mutex::new(Control { commands, answers });
        Ok(Self { folder, port, control, process: Mutex::new(process) })
    }

    /// Kills the API server. Pods run on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_api_server(&self) -> Result<()> {
        self.command("apiserver stop")
    }

    /// Starts the API server again and waits until it is ready. It has forgotten all versions but the newest: a watch
    /// that goes on from an older one gets 410.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_api_server(&self) -> Result<()> {
        self.command("apiserver start")
    }

    /// Kills all pods of a namespace and has it deleted; does not wait.
    pub(super) fn forget(&self, namespace: &str) {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        // A bed that has ended has no namespaces.
        let _ = writeln!(control.commands, "namespace forget {namespace}");
    }

    fn command(&self, command: &str) -> Result<()> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(control.commands, "{command}")?;
        let mut answer = String::new();
        control.answers.read_line(&mut answer)?;
        ensure!(answer.trim_end() == "ok", "{command}: {answer}");
        Ok(())
    }

    /// What the API server writes about requests of service accounts.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// The certificate of the authority that the API server's is from.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("pki/ca.crt")
    }

    /// What the first container of a pod has written so far.
    pub fn pod_log(&self, namespace: &str, pod: &str) -> String {
        let folders = fs::read_dir(self.folder.join("pods")).into_iter().flatten().flatten();
        folders
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{namespace}_{pod}_")))
            .flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().flatten())
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
            .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default())
            .collect()
    }

    /// A client with the rights of an administrator.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn administrator(&self) -> Result<Cluster> {
        let authority = Certificate::from_pem(&fs::read(self.authority())?)?;
        let http = Client::builder().tls_certs_only([authority]).timeout(TIMEOUT).build()?;
        Ok(Cluster { http, base: format!("https://127.0.0.1:{}", self.port) })
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = process.kill();
        let _ = process.wait();
        // Killed, it could not remove its folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The API server as an administrator sees it.
#[derive(Debug, Clone)]
pub struct Cluster {
    http: Client,
    base: String,
}

impl Cluster {
    /// Sends a request; the status and the JSON answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let mut request =
            self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(ADMINISTRATOR);
        if !body.is_null() {
            let kind =
                if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
            request = request.header("Content-Type", kind).body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }

    /// Makes an object and returns it as it is.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let (status, answer) = self.send(Method::POST, path, object).await?;
        ensure!(status.is_success(), "creating {object} at {path} answers {status}: {answer}");
        Ok(answer)
    }

    /// An object, if it is there.
    ///
    /// # Errors
    /// When the answer is neither yes nor no.
    pub async fn find(&self, path: &str) -> Result<Option<Value>> {
        let (status, answer) = self.send(Method::GET, path, &Value::Null).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(status.is_success(), "GET {path} answers {status}: {answer}");
        Ok(Some(answer))
    }

    /// The items of a list.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.find(path).await?.with_context(|| format!("no list at {path}"))?;
        Ok(list.get("items").and_then(Value::as_array).context("a list without items")?.clone())
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Value> {
        let (status, answer) = self.send(Method::PATCH, path, patch).await?;
        ensure!(status.is_success(), "changing {path} answers {status}: {answer}");
        Ok(answer)
    }

    /// Asks for an object to be deleted, with this grace in seconds; one that is gone already is fine.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn delete(&self, path: &str, grace: u32) -> Result<()> {
        let (status, answer) =
            self.send(Method::DELETE, path, &json!({ "gracePeriodSeconds": grace })).await?;
        ensure!(
            status.is_success() || status == StatusCode::NOT_FOUND,
            "deleting {path} answers {status}: {answer}"
        );
        Ok(())
    }
}
