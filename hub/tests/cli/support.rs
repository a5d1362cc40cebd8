use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

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

    pub(crate) fn himalia(&self, arguments: &[&str]) -> Done {
        self.named("himalia", arguments)
    }

    /// Runs the program under another name, to its end.
    pub(crate) fn named(&self, name: &str, arguments: &[&str]) -> Done {
        let output = self.command(name).args(arguments).output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        let programs = self.directory.path().join("programs");
        fs::create_dir_all(&programs).unwrap();
        let program: PathBuf = programs.join(name);
        if !program.exists() {
            symlink(env!("CARGO_BIN_EXE_himalia"), &program).unwrap();
        }
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).env_clear().envs(&self.env);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}
