use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// By when a program must have ended or said what it should.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A directory of its own to run the program in, with nothing of the environment but the search path.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), env: BTreeMap::new() }
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn himalia(&self, arguments: &[&str]) -> Done {
        self.named("himalia", arguments)
    }

    /// Runs the program under another name, to its end.
    pub(crate) fn named(&self, name: &str, arguments: &[&str]) -> Done {
        let mut command = self.command(name);
        let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let id = child.id().to_string();
        let (send, ended) = mpsc::channel();
        std::thread::spawn(move || send.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(DEADLINE) else {
            let killed = Command::new("kill").args(["-9", &id]).status();
            panic!("{name} {arguments:?} did not end in {DEADLINE:?}; killed: {killed:?}");
        };
        let output = output.unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The program under this name.
    fn program(&self, name: &str) -> PathBuf {
        let programs = self.directory.path().join("programs");
        fs::create_dir_all(&programs).unwrap();
        let program: PathBuf = programs.join(name);
        if !program.exists() {
            symlink(env!("CARGO_BIN_EXE_himalia"), &program).unwrap();
        }
        program
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        self.run(self.program(name))
    }

    fn run(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).env_clear().envs(&self.env);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}

/// Ends the process when the test does.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(place: &Place, name: &str, arguments: &[&str]) -> Self {
        Self::spawn(place.command(name).args(arguments))
    }

    /// Starts it as a service manager does: somebody listens on two sockets, and passes them as descriptors 3 and 4.
    pub(crate) fn start_with_sockets(place: &Place, sockets: [TcpListener; 2], arguments: &[&str]) -> Self {
        let script =
            "export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" \"$@\" 3<&0 4<&1 0</dev/null 1>/dev/null";
        let [one, two] = sockets.map(|socket| Stdio::from(OwnedFd::from(socket)));
        let mut command = place.run("sh");
        command.args(["-c", script]).arg(place.program("himalia"));
        Self::spawn(command.args(arguments).stdin(one).stdout(two))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    /// The next line of the log that has this in it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen = format!("{seen}{line}\n"),
                Err(end) => panic!("no {text:?} ({end}) in\n{seen}"),
            }
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn tell_to_end(&self) {
        let done = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(done.success());
    }

    pub(crate) fn terminate(mut self) -> i32 {
        self.tell_to_end();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // it has usually ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two ports that nobody uses at the moment: the program prints none that the system chose.
pub(crate) fn free_ports() -> (u16, u16) {
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let two = TcpListener::bind("127.0.0.1:0").unwrap();
    (one.local_addr().unwrap().port(), two.local_addr().unwrap().port())
}
