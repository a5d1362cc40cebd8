//! An application server that speaks to a hub as OpenHEXA's backend does (`services/openhexa_app.py`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::client::Person;
use crate::environment::Needed;
use crate::ports::free_port;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// Editor and administrator of workspaces; the name is one that must be quoted with care.
pub const EDITOR: &str = "ad.min+o'hexa@example.org";
/// Viewer of [`PLAIN`].
pub const VIEWER: &str = "viewer@example.org";
/// A workspace with a name of 63 characters.
pub const LONG: &str = "suivi-des-maladies-a-declaration-obligatoire-region-centre-nord";
/// A workspace.
pub const PLAIN: &str = "malaria";
/// A workspace whose servers the application starts with `{"profile": "large"}`.
pub const PROFILED: &str = "large-machines";

/// The application. Dropping it ends it.
#[derive(Debug)]
pub struct App {
    port: u16,
    storage: TempDir,
    _process: Child,
}

impl App {
    /// Starts it for a hub and waits until it listens.
    ///
    /// # Errors
    /// When it ends or does not listen in time.
    pub async fn start(hub: &str, token: &str) -> Result<Self> {
        let storage = tempfile::Builder::new().prefix("himalia-openhexa-").tempdir()?;
        for workspace in [LONG, PLAIN, PROFILED] {
            std::fs::create_dir(storage.path().join(workspace))?;
        }
        let port = free_port();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/openhexa_app.py");
        let mut process = Command::new(Needed::Venv61.path().join("bin/python"))
            .arg(program)
            .args([&port.to_string(), hub, token])
            .arg(storage.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the application")?;
        let output = process.stdout.take().context("the application has no output")?;
        let mut lines = BufReader::new(output).lines();
        let first = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        let first = first.context("the application is not ready in time")??;
        ensure!(first.as_deref() == Some("ready"), "the application says {first:?}");
        Ok(Self { port, storage, _process: process })
    }

    /// The address of a path: of the site that the hub belongs to, and of another origin.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Where the files of a workspace are.
    pub fn files(&self, workspace: &str) -> PathBuf {
        self.storage.path().join(workspace)
    }

    /// The section `authenticator` for a hub that belongs to it.
    pub fn authenticator(&self) -> Value {
        json!({
            "kind": "openhexa",
            "allow_all": true,
            "enable_auth_state": true,
            "refresh_pre_spawn": true,
            "openhexa": {
                "authentication_url": self.url("/notebooks/authenticate/"),
                "default_credentials_url": self.url("/notebooks/default-credentials/"),
                "workspace_credentials_url": self.url("/workspaces/credentials/"),
                "logout_redirect_url": self.url("/front"),
                "server_url": self.url(""),
                "app_url": self.url("/front"),
            },
        })
    }

    /// Somebody logs in to the application.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn lets_in(&self, person: &Person, email: &str) -> Result<()> {
        let request = person.absolute(Method::GET, &self.url("/enter")).query(&[("email", email)]);
        let status = request.send().await?.status();
        ensure!(status == 200, "the application's login answers {status}");
        Ok(())
    }

    /// A script of the application's page asks for something.
    ///
    /// # Errors
    /// When the answer is no JSON.
    pub async fn asks(&self, person: &Person, path: &str) -> Result<Value> {
        let url = self.url(path);
        let token = person.cookie(&url.parse()?, "csrftoken").unwrap_or_default();
        let request = person.absolute(Method::POST, &url).header("X-CSRFToken", token);
        Ok(request.send().await?.json().await?)
    }

    /// What the hub has asked since the last look.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn calls(&self) -> Result<Vec<Value>> {
        let answer: Value = reqwest::get(self.url("/_calls")).await?.json().await?;
        Ok(answer.as_array().context("no list of calls")?.clone())
    }
}
