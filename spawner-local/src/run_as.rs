//! Commands of the hub's own, such as its services, under another account. They take the way of servers: the helper
//! (see [`crate::launcher`]) becomes the account, with all its groups, and then the command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use nix::errno::Errno;
use nix::unistd::{User, geteuid};
use thiserror::Error;
use tokio::process::{Child, Command};

use crate::launch::{self, Refusal};
use crate::launcher::{Failure, Spec, Step, Switch};

/// An account of this machine that the hub runs under, or may become.
#[derive(Debug, Clone)]
pub struct RunAs {
    name: String,
    home: String,
    shell: String,
    switch: Option<Switch>,
}

/// What to run.
#[derive(Debug)]
pub struct CommandOf<'a> {
    /// Command and arguments, at least one. A command without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Directory to start in, which the hub enters before it becomes the account; none is the hub's own.
    pub directory: Option<&'a Path>,
}

/// Why a command does not run under an account.
#[derive(Debug, Error)]
pub enum RunAsError {
    /// There is no such account.
    #[error("user: there is no system user {0:?}")]
    Unknown(String),
    /// The system's databases of users and groups did not answer.
    #[error("user: cannot look up {name:?} and its groups: {}", .errno.desc())]
    LookUp {
        /// The account.
        name: String,
        /// The system's error.
        errno: Errno,
    },
    /// The hub has no right to become anybody.
    #[error("user: only a hub that runs as root can run a service as {0:?}")]
    NotRoot(String),
    /// The helper cannot be started or broke.
    #[error("the process that runs the command could not begin: {0}")]
    Helper(String),
    /// The account was refused by the system.
    #[error("user: cannot become {name:?}: {}", .errno.desc())]
    Switch {
        /// The account.
        name: String,
        /// The system's error.
        errno: Errno,
    },
    /// The command cannot be executed.
    #[error(
        "command: {name:?} cannot run {subject:?} ({}); check that it exists and that this account may execute it",
        .errno.desc()
    )]
    Command {
        /// The account.
        name: String,
        /// Command or path.
        subject: String,
        /// The system's error.
        errno: Errno,
    },
}

impl RunAs {
    /// Looks an account up, with all its groups as `initgroups` finds them. Asks the system's databases, which may be
    /// far away.
    ///
    /// # Errors
    /// When there is no such account, or the hub may not become it.
    pub fn account(name: &str) -> Result<Self, RunAsError> {
        let failed = |errno| RunAsError::LookUp { name: name.to_owned(), errno };
        let found = if name.contains('\0') { None } else { User::from_name(name).map_err(failed)? };
        let Some(user) = found else { return Err(RunAsError::Unknown(name.to_owned())) };
        let own = geteuid();
        if user.uid != own && !own.is_root() {
            return Err(RunAsError::NotRoot(name.to_owned()));
        }
        let switch = if user.uid == own { None } else { Some(Switch::to(&user).map_err(failed)?) };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(Self { name: name.to_owned(), home: text(&user.dir), shell: text(&user.shell), switch })
    }

    /// Whether it is another account than the hub's own, so that a command must be [`run`](Self::run) to become it.
    pub fn is_another(&self) -> bool {
        self.switch.is_some()
    }

    /// User and group of the account, where it is another than the hub's own.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.switch.as_ref().map(|switch| (switch.uid, switch.gid))
    }

    /// `USER`, `HOME` and `SHELL`, the last two where the account has them.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let all = [("USER", &self.name), ("HOME", &self.home), ("SHELL", &self.shell)];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.clone()))
    }

    /// Runs a command, in a session of its own and with the hub's standard error for both outputs. `reenter` is the
    /// program that [`crate::launcher::intercept`]s, with its first arguments.
    ///
    /// # Errors
    /// When the command was not executed; nothing of it is left then.
    pub async fn run(&self, reenter: &[OsString], command: CommandOf<'_>) -> Result<Child, RunAsError> {
        let CommandOf { argv, env, directory } = command;
        let helper = RunAsError::Helper;
        let (program, first) = reenter.split_first().ok_or_else(|| helper("no program".to_owned()))?;
        let mut entered = Command::new(program);
        entered.args(first).env_clear().stderr(Stdio::inherit());
        if let Some(directory) = directory {
            entered.current_dir(directory);
        }
        crate::signals::restore();
        let (mut child, pipes) = launch::enter(entered).map_err(|error| match directory {
            Some(directory) => helper(format!("{error} (in {})", directory.display())),
            None => helper(error.to_string()),
        })?;
        let spec = Spec {
            argv,
            env,
            switch: self.switch.clone(),
            home: String::new(),
            make_home: false,
            below: None,
            links: Vec::new(),
            certificates: None,
        };
        let refusal = match pipes {
            Some(pipes) => pipes.become_it(&spec).await.err(),
            None => Some(Refusal::Broken("no pipes".to_owned())),
        };
        let Some(refusal) = refusal else { return Ok(child) };
        // It has ended or is about to: its input is closed.
        if let Err(error) = child.wait().await {
            tracing::warn!(%error, "cannot wait for the end of a helper");
        }
        Err(match refusal {
            Refusal::Failed(failure) => self.failed(failure),
            Refusal::Broken(what) => helper(what),
        })
    }

    fn failed(&self, failure: Failure) -> RunAsError {
        let (name, errno) = (self.name.clone(), Errno::from_raw(failure.errno.unwrap_or_default()));
        match failure.step {
            Step::SwitchUser => RunAsError::Switch { name, errno },
            Step::Find | Step::Executable | Step::Reach | Step::Exec => {
                RunAsError::Command { name, subject: failure.subject, errno }
            }
            Step::Streams | Step::Link | Step::Home | Step::Certificates => {
                RunAsError::Helper(format!("{}: {}", failure.subject, errno.desc()))
            }
        }
    }
}
