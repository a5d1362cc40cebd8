//! The helper process that becomes a server, or a service of another account ([`crate::RunAs`]).
//!
//! Rust's standard library has no safe way to leave a session or set groups between fork and exec, so the hub
//! enters its own program again: [`intercept`] at the very top of `main` recognises the call. The helper
//!
//! 1. leaves the hub's session (`setsid`), so that neither a terminal nor the hub's end reaches it,
//! 2. waits on its standard input for what to run; a hub that dies first closes it, and the helper ends,
//! 3. makes the home directory, becomes the user, changes directory, finds the command, and executes it.
//!
//! Standard output is the line back to the hub: closed by a successful exec, or one JSON `Failure` before that.
//! Standard error is the server's log and becomes its standard output too.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::unistd::{self, AccessFlags, Gid, Uid};
use serde::{Deserialize, Serialize};

use crate::certificates::CertificateFiles;

/// The first argument that asks for the helper.
pub const HELPER_ARGUMENT: &str = "__run-singleuser";

/// The variable that carries the id of the start in every process of a run.
pub const LAUNCH_VARIABLE: &str = "HIMALIA_LAUNCH";

/// Longest description of a server that is read: environment and arguments have less room in the kernel.
const MAX_SPEC: u64 = 4 * 1024 * 1024;

/// What the helper is to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Command and arguments, at least one.
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Whom to become.
    pub(crate) switch: Option<Switch>,
    /// Directory to start in; empty stays in the helper's.
    pub(crate) home: String,
    /// Whether to make it, and to insist on it.
    pub(crate) make_home: bool,
    /// A directory below the home directory that stands in for it; made when the user has been switched to.
    #[serde(default)]
    pub(crate) below: Option<String>,
    /// Links below the home directory, made when the user has been switched to.
    #[serde(default)]
    pub(crate) links: Vec<Link>,
    /// The server's certificate, written below `home` when the user has been switched to.
    #[serde(default)]
    pub(crate) certificates: Option<CertificateFiles>,
}

/// A link below the home directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// Relative path of the link, without `..`.
    pub(crate) name: String,
    /// Absolute path that it leads to.
    pub(crate) to: String,
}

/// The account to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Switch {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the first one included.
    pub(crate) groups: Vec<u32>,
}

/// Why the helper could not become the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    /// Path or command that the step was about.
    pub(crate) subject: String,
    /// The system's error number, where there was one.
    pub(crate) errno: Option<i32>,
}

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Redirecting standard streams.
    Streams,
    /// Making a link to a directory of the machine.
    Link,
    /// Making the home directory or entering it.
    Home,
    /// Writing the server's certificate.
    Certificates,
    /// Becoming the user.
    SwitchUser,
    /// No such command.
    Find,
    /// A file of that name exists, but cannot be executed.
    Executable,
    /// A directory on the way to the command may not be entered.
    Reach,
    /// Executing the file that was found.
    Exec,
}

/// Runs the helper if these arguments of the program (its name first) ask for it. Call this before anything else
/// in `main`, before any thread is started.
pub fn intercept(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let asked = args.into_iter().nth(1)? == OsStr::new(HELPER_ARGUMENT);
    asked.then(run)
}

fn run() -> ExitCode {
    // Fails only for a leader of a group, which already has what this is for.
    let _ = unistd::setsid();
    let Some(spec) = receive() else { return ExitCode::from(3) };
    // The copy closes itself on exec, which is how the hub learns of success.
    let Ok(report) = io::stdout().as_fd().try_clone_to_owned() else { return ExitCode::from(3) };
    let failure = become_server(&spec);
    tell(report, &failure);
    ExitCode::from(4)
}

/// The description of the server; none when the hub ended before it was complete.
fn receive() -> Option<Spec> {
    let mut text = Vec::new();
    io::stdin().take(MAX_SPEC).read_to_end(&mut text).ok()?;
    serde_json::from_slice::<Spec>(&text).ok().filter(|spec| !spec.argv.is_empty())
}

/// Nobody is left to be told when even this fails.
fn tell(report: OwnedFd, failure: &Failure) {
    if let Ok(text) = serde_json::to_vec(failure) {
        let _ = File::from(report).write_all(&text);
    }
}

fn become_server(spec: &Spec) -> Failure {
    match prepare(spec) {
        Ok(program) => execute(spec, &program),
        Err(failure) => failure,
    }
}

fn prepare(spec: &Spec) -> Result<PathBuf, Failure> {
    redirect().map_err(|errno| failure(Step::Streams, "standard streams", errno))?;
    if spec.home.is_empty() {
        become_user_of(spec)?;
        return find(&spec.argv[0], spec.env.get("PATH").map(String::as_str));
    }
    let home = Path::new(&spec.home);
    if spec.make_home {
        make_home(home, spec.switch.as_ref()).map_err(|error| io_failure(Step::Home, home, &error))?;
    }
    become_user_of(spec)?;
    if let Some(certificates) = &spec.certificates {
        certificates
            .write(home)
            .map_err(|error| io_failure(Step::Certificates, &CertificateFiles::folder(home), &error))?;
    }
    let own = spec.below.as_ref().map(|below| home.join(below));
    if let Some(own) = &own {
        DirBuilder::new().recursive(true).create(own).map_err(|error| io_failure(Step::Home, own, &error))?;
    }
    let insist = spec.make_home || own.is_some();
    let home = own.as_deref().unwrap_or(home);
    enter(home, insist).map_err(|error| io_failure(Step::Home, home, &error))?;
    for link in &spec.links {
        make_link(home, link).map_err(|error| io_failure(Step::Link, &home.join(&link.name), &error))?;
    }
    find(&spec.argv[0], spec.env.get("PATH").map(String::as_str))
}

fn redirect() -> Result<(), Errno> {
    let null =
        File::open("/dev/null").map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    unistd::dup2_stdin(null)?;
    unistd::dup2_stdout(io::stderr())
}

/// Makes the directory and those above it, and gives the last one to the user if it is new.
fn make_home(home: &Path, switch: Option<&Switch>) -> io::Result<()> {
    if let Some(parent) = home.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(home) {
        Ok(()) => switch.map_or(Ok(()), |switch| chown(home, Some(switch.uid), Some(switch.gid))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a link, or points one that is there to the right place. What is no link is left alone.
fn make_link(home: &Path, link: &Link) -> io::Result<()> {
    let path = home.join(&link.name);
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
        if fs::read_link(&path)? == Path::new(&link.to) {
            return Ok(());
        }
        fs::remove_file(&path)?;
    } else if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).create(parent)?;
    }
    std::os::unix::fs::symlink(&link.to, &path)
}

fn become_user_of(spec: &Spec) -> Result<(), Failure> {
    let Some(switch) = &spec.switch else { return Ok(()) };
    become_user(switch).map_err(|errno| failure(Step::SwitchUser, &switch.uid.to_string(), errno))
}

/// Groups first, user last: the other way round the right to change groups is gone.
fn become_user(switch: &Switch) -> Result<(), Errno> {
    let wanted: Vec<Gid> = switch.groups.iter().copied().map(Gid::from_raw).collect();
    unistd::setgid(Gid::from_raw(switch.gid))?;
    let groups = unistd::setgroups(&wanted);
    if groups.is_err() {
        // Some user namespaces forbid it. Dropping all may be allowed, and is checked below in any case.
        let _ = unistd::setgroups(&[]);
    }
    unistd::setuid(Uid::from_raw(switch.uid))?;
    if let Err(errno) = groups {
        let own = Gid::from_raw(switch.gid);
        let extra = unistd::getgroups()?.into_iter().any(|gid| gid != own && !wanted.contains(&gid));
        if extra {
            return Err(errno);
        }
        eprintln!("The groups of the user could not be set ({errno}); it runs with fewer groups.");
    }
    Ok(())
}

/// Starts in the home directory. One that cannot be entered is replaced by the nearest directory above it that
/// can, and at last by a directory for temporary files, unless it was promised to exist.
fn enter(home: &Path, insist: bool) -> io::Result<()> {
    let Err(first) = std::env::set_current_dir(home) else { return Ok(()) };
    if insist {
        return Err(first);
    }
    eprintln!("Cannot enter the home directory {}: {first}", home.display());
    for above in home.ancestors().skip(1) {
        let is_root = above.parent().is_none();
        if !is_root && !above.as_os_str().is_empty() && std::env::set_current_dir(above).is_ok() {
            eprintln!("Starting in {} instead.", above.display());
            return Ok(());
        }
    }
    let temporary = temporary_home()?;
    eprintln!("Starting in {} instead.", temporary.display());
    std::env::set_current_dir(&temporary)
}

/// A private directory for temporary files, the same for every start of this account when nobody else took the name.
fn temporary_home() -> io::Result<PathBuf> {
    let account = Uid::effective();
    let usual = std::env::temp_dir().join(format!("home-{account}"));
    match DirBuilder::new().mode(0o700).create(&usual) {
        Ok(()) => return Ok(usual),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    let found = fs::symlink_metadata(&usual)?;
    if found.is_dir() && found.uid() == account.as_raw() && found.mode() & 0o777 == 0o700 {
        return Ok(usual);
    }
    let other = std::env::temp_dir().join(format!("home-{account}-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&other)?;
    Ok(other)
}

/// Looks the command up as the user, in the server's `PATH`, and tells the ways to fail apart.
fn find(command: &str, path: Option<&str>) -> Result<PathBuf, Failure> {
    if command.contains('/') {
        return check(Path::new(command)).map(|()| PathBuf::from(command));
    }
    let mut best = failure(Step::Find, command, Errno::ENOENT);
    for directory in path.unwrap_or("/usr/local/bin:/usr/bin:/bin").split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(command);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            // a file that cannot be run says more than its absence from the other directories
            Err(failure) if best.step == Step::Find && failure.step != Step::Find => best = failure,
            Err(_) => {}
        }
    }
    Err(best)
}

fn check(path: &Path) -> Result<(), Failure> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(failure(Step::Executable, &path.to_string_lossy(), Errno::EISDIR))
        }
        Ok(_) => unistd::access(path, AccessFlags::X_OK)
            .map_err(|errno| failure(Step::Executable, &path.to_string_lossy(), errno)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(io_failure(Step::Reach, path, &error))
        }
        Err(error) => Err(io_failure(Step::Find, path, &error)),
    }
}

/// Returns only when it fails. The command sees its own name as it was configured.
fn execute(spec: &Spec, program: &Path) -> Failure {
    let error =
        Command::new(program).arg0(&spec.argv[0]).args(&spec.argv[1..]).env_clear().envs(&spec.env).exec();
    let text = CString::new(program.as_os_str().as_encoded_bytes());
    let subject = text.map_or_else(|_| spec.argv[0].clone(), |path| path.to_string_lossy().into_owned());
    Failure { step: Step::Exec, subject, errno: error.raw_os_error() }
}

fn failure(step: Step, subject: &str, errno: Errno) -> Failure {
    Failure { step, subject: subject.to_owned(), errno: Some(errno as i32) }
}

fn io_failure(step: Step, subject: &Path, error: &io::Error) -> Failure {
    Failure { step, subject: subject.display().to_string(), errno: error.raw_os_error() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_helper_argument_is_intercepted() {
        for args in [vec!["himalia"], vec!["himalia", "serve"], vec!["himalia", "serve", HELPER_ARGUMENT]] {
            assert!(intercept(args.into_iter().map(OsString::from)).is_none());
        }
    }

    #[test]
    fn the_path_is_searched_in_order_and_failures_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("a"), directory.path().join("b"));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        fs::write(first.join("tool"), "").unwrap();
        let path = format!("{}:{}", first.display(), second.display());
        let failure = find("tool", Some(&path)).unwrap_err();
        assert_eq!(
            (failure.step, failure.subject),
            (Step::Executable, first.join("tool").display().to_string())
        );
        fs::write(second.join("tool"), "").unwrap();
        fs::set_permissions(second.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("tool", Some(&path)), Ok(second.join("tool")));
        assert_eq!(find("nothing", Some(&path)).unwrap_err().step, Step::Find);
        assert_eq!(find("/no/such/tool", None).unwrap_err().step, Step::Find);
    }
}
