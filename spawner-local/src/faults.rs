//! Everything that can go wrong with a local server, told once for the person and once for the operator.
//!
//! | Cause | A retry may help |
//! | --- | --- |
//! | `command-not-found`, `not-executable`, `permission-denied`, `cwd-missing`, `storage-unavailable` | no |
//! | `no-such-user`, `root-refused`, `name-unusable`, `bad-environment`, `bad-configuration`, `arguments-too-long` | no |
//! | `exited-at-once` | only after a signal |
//! | `too-many-processes`, `too-many-files`, `out-of-memory`, `port-taken` | yes |
//! | `user-database`, `log-unwritable`, `launch-failed` | yes |
//! | `process-stuck` (at a stop) | yes |

use std::io;
use std::path::Path;

use hub_core::spawner::Exit;
use hub_core::{CertificateError, SpawnError, UserName};
use nix::errno::Errno;

use crate::launcher::{Failure, Step};

const ASK: &str = "Please tell the administrator of this hub.";

pub(crate) fn no_such_user(name: &UserName) -> SpawnError {
    SpawnError::broken(
        "no-such-user",
        format!("There is no account named {name} on this machine, so your server cannot run. {ASK}"),
        format!(
            "no system account named {name:?}: create it (for example with adduser), or set \
             spawner.local.home_dir_template to run servers without system accounts",
            name = name.as_str()
        ),
    )
}

pub(crate) fn root_refused(name: &UserName) -> SpawnError {
    SpawnError::broken(
        "root-refused",
        format!("The account {name} may not run servers here. {ASK}"),
        format!("{:?} is the superuser (uid 0), and servers are never run as root", name.as_str()),
    )
}

pub(crate) fn name_unusable(name: &UserName) -> SpawnError {
    SpawnError::broken(
        "name-unusable",
        format!("Your user name cannot be the name of a directory, so your server cannot run. {ASK}"),
        format!("user name {:?} does not fit into spawner.local.home_dir_template", name.as_str()),
    )
}

pub(crate) fn user_database(name: &UserName, errno: Errno) -> SpawnError {
    SpawnError::broken(
        "user-database",
        format!("Your account could not be looked up. Try again; if it stays, {}", lower(ASK)),
        format!("looking up the system account {:?} failed: {}", name.as_str(), errno.desc()),
    )
    .retryable()
}

pub(crate) fn bind_elsewhere(target: &str) -> SpawnError {
    SpawnError::broken(
        "storage-unavailable",
        format!("The files of your server cannot be put in their place. {ASK}"),
        format!(
            "a directory is to be seen as {target:?}; without a container that is only possible below {}",
            hub_core::spawner::Bind::HOME
        ),
    )
}

pub(crate) fn bad_environment(what: &str) -> SpawnError {
    SpawnError::broken(
        "bad-environment",
        format!("The environment of your server is not set up correctly. {ASK}"),
        format!(
            "{what}: names of variables are not empty and have no '=', and nothing may contain a NUL byte"
        ),
    )
}

pub(crate) fn log_unwritable(path: &Path, error: &io::Error) -> SpawnError {
    SpawnError::broken(
        "log-unwritable",
        format!("The log of your server cannot be written. {ASK}"),
        format!("cannot write the server's log {}: {error}", path.display()),
    )
    .retryable()
}

pub(crate) fn port(ip: &str, port: u16, error: &io::Error) -> SpawnError {
    let operator = match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!("{ip} is no address of this machine: correct spawner.ip")
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} may only be bound by root: choose one above 1023 in spawner.port, or 0")
        }
        _ if port == 0 => format!("no free port on {ip}: {error}"),
        _ => format!(
            "port {port} on {ip} cannot be bound ({error}): free it, or set spawner.port to 0 to take a free \
             port for each server"
        ),
    };
    SpawnError::broken(
        "port-taken",
        "There is no free network port for your server. Try again in a moment.".to_owned(),
        operator,
    )
    .retryable()
}

pub(crate) fn port_lost(port: u16, log: Vec<String>) -> SpawnError {
    SpawnError::broken(
        "port-taken",
        "The network port for your server was taken by another program. Try again in a moment.",
        format!("the server ended because port {port} was in use, on every try"),
    )
    .retryable()
    .with_log(log)
}

pub(crate) fn spawn_failed(program: &Path, error: &io::Error) -> SpawnError {
    out_of(error.raw_os_error()).unwrap_or_else(|| {
        SpawnError::broken(
            "launch-failed",
            format!("No process could be started for your server. {ASK}"),
            format!("cannot start {} for a server: {error}", program.display()),
        )
        .retryable()
    })
}

pub(crate) fn helper_failed(what: &str) -> SpawnError {
    SpawnError::broken(
        "launch-failed",
        "The process of your server ended before it could begin. Try again.",
        format!("the helper that starts servers failed: {what}"),
    )
    .retryable()
}

pub(crate) fn cannot_tell(error: &io::Error) -> SpawnError {
    SpawnError::broken(
        "cannot-tell",
        "It is not known at the moment whether your server runs.",
        format!("reading /proc failed: {error}"),
    )
    .retryable()
}

pub(crate) fn signal_refused(pid: i32, errno: Errno) -> SpawnError {
    SpawnError::broken(
        "permission-denied",
        format!("Your server could not be stopped. {ASK}"),
        format!(
            "process {pid} may not be signalled ({}): it runs under another account than the hub",
            errno.desc()
        ),
    )
}

pub(crate) fn stuck(pids: &[i32]) -> SpawnError {
    SpawnError::broken(
        "process-stuck",
        "A process of your server does not end. It may be waiting for a disk or a network drive; try again later.",
        format!("still there after SIGKILL: {pids:?}; a process in uninterruptible sleep waits for its device"),
    )
    .retryable()
}

/// The server ran, and ended before it listened.
pub(crate) fn exited_at_once(exit: &Exit, log: Vec<String>) -> SpawnError {
    let how = match exit.code {
        Some(code) if code < 0 => format!("was ended by signal {}", -code),
        Some(code) => format!("ended with exit code {code}"),
        None => "ended".to_owned(),
    };
    let hint = if log.is_empty() { " It wrote nothing." } else { " Its last lines may tell why." };
    let mut error = SpawnError::broken(
        "exited-at-once",
        format!("Your server {how} right after its start.{hint}"),
        format!(
            "the server {how} before it listened; last line: {}",
            log.last().map_or("none", String::as_str)
        ),
    );
    error.retry = exit.code.is_some_and(|code| code < 0);
    error.with_log(log)
}

pub(crate) fn no_certificate(error: &CertificateError) -> SpawnError {
    SpawnError::broken(
        "bad-configuration",
        format!("Your server is not set up correctly. {ASK}"),
        format!("hub.internal_ssl: {error}"),
    )
}

/// What the helper told about a command, an account or a directory.
pub(crate) fn launch_failure(failure: &Failure, command: &str, person: &UserName) -> SpawnError {
    let subject = &failure.subject;
    let errno = Errno::from_raw(failure.errno.unwrap_or_default());
    let why = errno.desc();
    match failure.step {
        Step::Find => not_found(command, subject),
        Step::Executable => SpawnError::broken(
            "not-executable",
            format!("The program for your server cannot be executed. {ASK}"),
            format!("{subject} cannot be executed ({why}): check its permissions, or correct spawner.cmd"),
        ),
        Step::Reach => SpawnError::broken(
            "permission-denied",
            format!("Your account may not reach the program for your server. {ASK}"),
            format!(
                "{person} may not enter a directory on the way to {subject}: install the command where every account \
                 can read it, or correct spawner.cmd or PATH"
            ),
        ),
        Step::Home => SpawnError::broken(
            "cwd-missing",
            format!("Your home directory cannot be made or entered. {ASK}"),
            format!("home directory {subject} cannot be made or entered: {why}"),
        ),
        Step::Certificates => SpawnError::broken(
            "storage-unavailable",
            format!("The files of your server cannot be put in their place. {ASK}"),
            format!(
                "the server's certificate cannot be written to {subject} ({why}): with hub.internal_ssl every person \
                 needs a home that is theirs"
            ),
        ),
        Step::Link => SpawnError::broken(
            "storage-unavailable",
            format!("The files of your server cannot be put in their place. {ASK}"),
            format!("the link {subject} cannot be made: {why}"),
        ),
        Step::SwitchUser => out_of(failure.errno).unwrap_or_else(|| {
            SpawnError::broken(
                "permission-denied",
                format!("The server could not be started under your account. {ASK}"),
                format!(
                    "becoming {person} (uid {subject}) failed: {why}; run the hub as root, or set \
                     spawner.local.switch_user = \"never\""
                ),
            )
        }),
        Step::Exec => out_of(failure.errno).unwrap_or_else(|| exec_failed(errno, subject)),
        Step::Streams => helper_failed(&format!("{subject}: {why}")),
    }
}

fn not_found(command: &str, subject: &str) -> SpawnError {
    let place = if subject.contains('/') { "does not exist" } else { "was not found in PATH" };
    SpawnError::broken(
        "command-not-found",
        format!("The program for your server is not installed on this machine. {ASK}"),
        format!(
            "command {subject:?} {place}: install it (pip install jupyterhub jupyterlab brings jupyterhub-singleuser) \
             so that the hub's PATH leads to it, or set spawner.cmd to its full path (now {command:?})"
        ),
    )
}

fn exec_failed(errno: Errno, subject: &str) -> SpawnError {
    match errno {
        Errno::ENOENT => SpawnError::broken(
            "command-not-found",
            format!("The program for your server is not installed completely. {ASK}"),
            format!("{subject} exists, but the interpreter in its first line does not: install it again"),
        ),
        Errno::E2BIG => SpawnError::broken(
            "arguments-too-long",
            format!("The settings of your server are too long. {ASK}"),
            format!("environment and arguments for {subject} are longer than the system allows"),
        ),
        Errno::EACCES | Errno::ENOEXEC | Errno::EPERM => SpawnError::broken(
            "not-executable",
            format!("The program for your server cannot be executed. {ASK}"),
            format!("{subject} or its interpreter cannot be executed: {}", errno.desc()),
        ),
        _ => SpawnError::broken(
            "launch-failed",
            format!("The program for your server could not be started. {ASK}"),
            format!("executing {subject} failed: {}", errno.desc()),
        ),
    }
}

/// Shortages of the machine, which pass.
fn out_of(errno: Option<i32>) -> Option<SpawnError> {
    let (cause, what, hint) = match Errno::from_raw(errno?) {
        Errno::EAGAIN => {
            ("too-many-processes", "processes", "raise the limit (ulimit -u, TasksMax) or stop servers")
        }
        Errno::EMFILE | Errno::ENFILE => {
            ("too-many-files", "open files", "raise the limit (ulimit -n, LimitNOFILE)")
        }
        Errno::ENOMEM => ("out-of-memory", "memory", "add memory or stop servers"),
        _ => return None,
    };
    Some(
        SpawnError::broken(
            cause,
            format!("The machine has no room for another server at the moment (too little {what} left). Try later."),
            format!("the system has no {what} left for another server: {hint}"),
        )
        .retryable(),
    )
}

fn lower(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(step: Step, errno: Errno) -> SpawnError {
        let failure = Failure { step, subject: "/opt/lab".to_owned(), errno: Some(errno as i32) };
        launch_failure(&failure, "lab", &UserName::stored("ann"))
    }

    #[test]
    fn each_failure_of_the_helper_has_its_cause_and_says_whether_to_try_again() {
        for (step, errno, code, retry) in [
            (Step::Find, Errno::ENOENT, "command-not-found", false),
            (Step::Executable, Errno::EACCES, "not-executable", false),
            (Step::Reach, Errno::EACCES, "permission-denied", false),
            (Step::Home, Errno::ENOENT, "cwd-missing", false),
            (Step::Link, Errno::EEXIST, "storage-unavailable", false),
            (Step::Certificates, Errno::EACCES, "storage-unavailable", false),
            (Step::SwitchUser, Errno::EPERM, "permission-denied", false),
            (Step::SwitchUser, Errno::EAGAIN, "too-many-processes", true),
            (Step::Exec, Errno::EAGAIN, "too-many-processes", true),
            (Step::Exec, Errno::ENOMEM, "out-of-memory", true),
            (Step::Exec, Errno::ENOENT, "command-not-found", false),
            (Step::Exec, Errno::ENOEXEC, "not-executable", false),
            (Step::Exec, Errno::E2BIG, "arguments-too-long", false),
        ] {
            let error = cause(step, errno);
            assert_eq!((error.cause.as_ref(), error.retry), (code, retry), "{step:?} {errno}");
            assert!(!error.user.contains("/opt/lab"), "the person need not see paths: {}", error.user);
        }
    }

    #[test]
    fn an_exit_code_is_told_with_the_last_lines() {
        let exit = Exit { code: Some(3), ..Exit::default() };
        let error = exited_at_once(&exit, vec!["No module named jupyterhub".to_owned()]);
        assert!(error.user.contains("exit code 3"));
        assert!(error.operator.contains("No module named jupyterhub"));
        assert!(!error.retry);
        assert!(exited_at_once(&Exit { code: Some(-9), ..exit }, Vec::new()).retry);
    }
}
