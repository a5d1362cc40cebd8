//! A folder that the helper sees in place of `/etc/pam.d`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, HookContext, Identity, LoginRequest, LoginStep,
    ServerKey, ServerName, SpawnHook, StartJob, SystemClock, UserName,
};
use tempfile::TempDir;

/// Programs that the services of the tests run.
const PROGRAMS: [(&str, &str); 3] = [
    // pam_exec ends the password with a zero byte.
    (
        "check",
        "#!/bin/sh\nread -r given\n[ \"$PAM_USER\" = root ] && [ \"$(printf %s \"$given\" | tr -d '\\000')\" = r1ght ]\n",
    ),
    ("hang", "#!/bin/sh\nexec tail -f /dev/null --pid=$PPID\n"),
    ("note", "#!/bin/sh\necho \"$PAM_TYPE $PAM_USER\" >> FOLDER/notes\n"),
];

pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    /// A machine whose PAM knows one service; none where that cannot be had, which with `CI` set is a failure.
    pub(crate) fn new(service: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        std::fs::create_dir(folder.path().join("pam.d")).unwrap();
        std::fs::write(folder.path().join("pam.d/lab"), service.replace("{folder}", &path)).unwrap();
        let helper = env!("CARGO_BIN_EXE_himalia-pam");
        let wrapper = format!(
            "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {path}/pam.d /etc/pam.d && exec {helper}'\n"
        );
        let programs = PROGRAMS.iter().map(|(name, text)| (*name, text.replace("FOLDER", &path)));
        for (name, text) in programs.chain([("helper", wrapper)]) {
            write_program(&folder.path().join(name), &text);
        }
        let bench = Self { folder };
        let answer = bench.asks(r#"{"action": "close", "service": "lab", "user": "root"}"#);
        if answer.is_empty() || answer.contains("without libpam") {
            let why = "not run: real PAM needs root, unshare, /etc/pam.d and libpam on this machine";
            let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
            assert!(!in_ci, "{why} ({answer:?})");
            // Written past the test runner, which shows nothing that a passing test prints.
            std::io::stderr().write_all(format!("{why} ({answer:?})\n").as_bytes()).unwrap();
            return None;
        }
        // The question noted that a session is closed, where that is noted.
        let notes = bench.folder.path().join("notes");
        if notes.exists() {
            std::fs::remove_file(notes).unwrap();
        }
        Some(bench)
    }

    /// What the helper answers to a text.
    pub(crate) fn asks(&self, question: &str) -> String {
        let mut helper = Command::new(self.folder.path().join("helper"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A helper that cannot run does not read.
        let _ = helper.stdin.take().unwrap().write_all(question.as_bytes());
        String::from_utf8(helper.wait_with_output().unwrap().stdout).unwrap()
    }

    pub(crate) fn hub(&self, options: &str) -> Arc<dyn Authenticator> {
        let mut all = serde_json::json!({
            "service": "lab", "helper": self.folder.path().join("helper"), "timeout": "30s",
        });
        if !options.is_empty() {
            let more: serde_json::Map<_, _> = serde_json::from_str(options).unwrap();
            all.as_object_mut().unwrap().extend(more);
        }
        (hub_auth_pam::plugin().build)(all, &AuthenticatorContext::new(Arc::new(SystemClock))).unwrap()
    }

    pub(crate) async fn logs_in(
        &self,
        hub: &Arc<dyn Authenticator>,
        user: &str,
        password: &str,
    ) -> Result<Identity, AuthError> {
        let form = [("username", user), ("password", password)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let request =
            LoginRequest { method: "POST".to_owned(), form: form.into(), ..LoginRequest::default() };
        match hub.finish(&request).await? {
            LoginStep::Identity(who) => Ok(*who),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn starts_and_stops(&self, hook: &dyn SpawnHook, user: &str) {
        let key = ServerKey::new(UserName::stored(user), ServerName::stored(""));
        let mut job = StartJob::new(key.clone(), "own".to_owned().into());
        hook.before_start(&HookContext::default(), &mut job).await.unwrap();
        hook.after_stop(&key).await.unwrap();
    }

    /// What the modules noted.
    pub(crate) fn notes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn write_program(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
