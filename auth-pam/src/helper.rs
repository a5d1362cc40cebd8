//! Asking the program `himalia-pam`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::protocol::{Answer, LARGEST, Question};

/// Most questions at a time; the others wait.
const AT_ONCE: usize = 16;

/// Why PAM could not be asked. The texts are for the log and hold no password.
#[derive(Debug, Error)]
pub(crate) enum HelperError {
    #[error("{} cannot be run: {error}", path.display())]
    Run { path: PathBuf, error: std::io::Error },
    #[error("no answer within {0:?}; a module hangs, or authenticator.pam.timeout is too short for it")]
    Slow(Duration),
    #[error("himalia-pam ended without an answer: {0}")]
    Silent(String),
}

/// The program, and how often it runs at a time.
#[derive(Debug)]
pub(crate) struct Helper {
    path: PathBuf,
    timeout: Duration,
    running: Semaphore,
}

impl Helper {
    pub(crate) fn new(path: PathBuf, timeout: Duration) -> Self {
        Self { path, timeout, running: Semaphore::new(AT_ONCE) }
    }

    /// One question. Waiting for a turn counts, so that many who guess do not keep others waiting for long.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, HelperError> {
        match timeout(self.timeout, self.converse(question)).await {
            Ok(answer) => answer,
            // The process is killed with its handle.
            Err(_) => Err(HelperError::Slow(self.timeout)),
        }
    }

    async fn converse(&self, question: &Question) -> Result<Answer, HelperError> {
        let _turn = self.running.acquire().await.expect("the semaphore is never closed");
        let broken = |error| HelperError::Run { path: self.path.clone(), error };
        let mut process = self.start().map_err(broken)?;
        let mut input = process.stdin.take().expect("standard input is a pipe");
        let text = serde_json::to_vec(question).expect("texts and truth values are always JSON");
        // A program that ends at once does not read; its answer tells why, or there is none.
        let written = input.write_all(&text).await;
        drop(input);
        let mut answer = Vec::new();
        let output = process.stdout.take().expect("standard output is a pipe");
        let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX);
        output.take(limit).read_to_end(&mut answer).await.map_err(broken)?;
        let status = process.wait().await.map_err(broken)?;
        serde_json::from_slice(&answer).map_err(|_| {
            let why = written.err().map(|error| format!(", {error}")).unwrap_or_default();
            HelperError::Silent(format!("{status}{why}"))
        })
    }

    fn start(&self) -> std::io::Result<Child> {
        Command::new(&self.path)
            // Nothing of the hub's environment is for modules: it may hold secrets.
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    }
}
