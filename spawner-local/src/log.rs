//! The file that a server's output goes to.
//!
//! The server writes it without the hub's help, so the hub cannot refuse a byte; it looks at the size while it
//! runs, and puts the older part aside when the file is too long. The server appends, so truncating is safe.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hub_core::ServerKey;
use hub_core::names::escape_client_part;
use sha2::{Digest as _, Sha256};

/// Most lines that a report shows.
const TAIL_LINES: usize = 100;
/// Most bytes that are read for them.
const TAIL_BYTES: u64 = 64 * 1024;
/// Most characters of one line.
const LINE_CHARS: usize = 1_000;

/// One server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerLog {
    path: PathBuf,
    limit: u64,
}

impl ServerLog {
    /// The log of this server below `directory`, at most about `limit` bytes long.
    pub(crate) fn new(directory: &Path, key: &ServerKey, limit: u64) -> Self {
        Self { path: directory.join(file_name(key)), limit }
    }

    /// The log that a stored state names, if it can be this server's: a hub that was moved to another directory
    /// still follows the servers that it started before.
    pub(crate) fn stored(path: &str, key: &ServerKey, limit: u64) -> Option<Self> {
        let path = PathBuf::from(path);
        let right = path.is_absolute() && path.file_name().is_some_and(|name| *name == *file_name(key));
        right.then_some(Self { path, limit })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn older(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }

    fn previous(&self) -> PathBuf {
        self.path.with_extension("log.previous")
    }

    /// Begins the log of a new run and keeps that of the run before.
    pub(crate) fn begin(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        ignore_missing(fs::remove_file(self.older()))?;
        ignore_missing(fs::rename(&self.path, self.previous()))?;
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)
    }

    /// Whether it has grown too long.
    pub(crate) fn is_too_long(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| found.len() > self.limit)
    }

    /// Puts the end of it aside and empties it. A line written in between may be lost.
    pub(crate) fn shorten(&self) -> io::Result<()> {
        let aside = self.path.with_extension("log.new");
        let kept = read_end(&self.path, self.limit)?;
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?
            .write_all(&kept)?;
        OpenOptions::new().write(true).open(&self.path)?.set_len(0)?;
        fs::rename(&aside, self.older())
    }

    /// The last lines of this run, oldest first, fit to be shown: no control characters, no tokens in addresses.
    pub(crate) fn tail(&self) -> Vec<String> {
        let mut bytes = read_end(&self.path, TAIL_BYTES).unwrap_or_default();
        if (bytes.len() as u64) < TAIL_BYTES {
            let mut older = read_end(&self.older(), TAIL_BYTES - bytes.len() as u64).unwrap_or_default();
            older.append(&mut bytes);
            bytes = older;
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| presentable(line)).collect()
    }

    /// Moves all files to the log of a server with a new name.
    pub(crate) fn rename(&self, to: &Self) -> io::Result<()> {
        ignore_missing(fs::rename(&self.path, &to.path))?;
        ignore_missing(fs::rename(self.older(), to.older()))?;
        ignore_missing(fs::rename(self.previous(), to.previous()))
    }

    /// Removes all files.
    pub(crate) fn remove(&self) -> io::Result<()> {
        ignore_missing(fs::remove_file(&self.path))?;
        ignore_missing(fs::remove_file(self.older()))?;
        ignore_missing(fs::remove_file(self.previous()))
    }
}

/// Readable for people, and different for every server however long its name is.
fn file_name(key: &ServerKey) -> String {
    let readable = escape_client_part(&key.to_string());
    let readable: String = readable.chars().take(80).collect();
    let digest = hex::encode(Sha256::digest(key.scope_value()));
    format!("{readable}-{}.log", digest.get(..12).unwrap_or_default())
}

fn read_end(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn presentable(line: &str) -> String {
    let plain = without_escapes(line);
    let mut shown = String::new();
    let mut rest = plain.as_str();
    while let Some(at) = rest.find("token=") {
        let (before, after) = rest.split_at(at + "token=".len());
        shown.push_str(before);
        let end =
            after.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.~%".contains(c)).unwrap_or(after.len());
        if end > 0 {
            shown.push_str("...");
        }
        rest = after.get(end..).unwrap_or_default();
    }
    shown.push_str(rest);
    match shown.char_indices().nth(LINE_CHARS) {
        Some((at, _)) => format!("{}...", shown.get(..at).unwrap_or_default()),
        None => shown,
    }
}

/// Without terminal colours and other control characters.
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // parameters of the sequence, up to the letter that ends it
            while chars.next_if(|c| !('@'..='~').contains(c)).is_some() {}
            chars.next();
        } else if c == '\t' || !c.is_control() {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use hub_core::{ServerName, UserName};

    use super::*;

    fn key(user: &str, server: &str) -> ServerKey {
        ServerKey::new(UserName::stored(user), ServerName::stored(server))
    }

    #[test]
    fn names_of_files_are_short_and_different_for_every_server() {
        let long = "ü".repeat(255);
        for name in [file_name(&key(&long, "")), file_name(&key("a", &long))] {
            assert!(name.len() < 120, "{name}");
        }
        assert_ne!(file_name(&key("a", "b")), file_name(&key("a:b", "")));
        assert!(file_name(&key("../x", "")).starts_with("..%2Fx-"));
    }

    #[test]
    fn a_long_log_is_cut_and_its_end_stays_readable() {
        let directory = tempfile::tempdir().unwrap();
        let log = ServerLog::new(directory.path(), &key("ann", ""), 1_000);
        let mut file = log.begin().unwrap();
        for line in 0..500 {
            writeln!(file, "line {line}").unwrap();
        }
        assert!(log.is_too_long());
        log.shorten().unwrap();
        writeln!(file, "the last line").unwrap();
        assert!(!log.is_too_long());
        let sizes: u64 = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(sizes <= 1_000 + 14, "{sizes}");
        let tail = log.tail();
        assert_eq!(tail.last().map(String::as_str), Some("the last line"));
        assert_eq!(tail.get(tail.len() - 2).map(String::as_str), Some("line 499"));
        assert!(tail.len() <= TAIL_LINES);
    }

    #[test]
    fn a_new_run_shows_only_its_own_lines() {
        let directory = tempfile::tempdir().unwrap();
        let log = ServerLog::new(directory.path(), &key("ann", "x"), 1_000);
        writeln!(log.begin().unwrap(), "first run").unwrap();
        writeln!(log.begin().unwrap(), "second run").unwrap();
        assert_eq!(log.tail(), ["second run"]);
        assert_eq!(fs::read_to_string(log.previous()).unwrap(), "first run\n");
        log.remove().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn lines_are_fit_to_be_shown() {
        assert_eq!(
            presentable("\u{1b}[32mok\u{1b}[0m\u{7} http://x/?token=ab12&y=1"),
            "ok http://x/?token=...&y=1"
        );
        assert_eq!(presentable(&"x".repeat(5_000)).len(), LINE_CHARS + 3);
    }

    #[test]
    fn a_stored_path_must_be_the_log_of_this_server() {
        let log = ServerLog::new(Path::new("/old"), &key("ann", ""), 1_000);
        let path = log.path().to_string_lossy().into_owned();
        assert_eq!(ServerLog::stored(&path, &key("ann", ""), 1_000), Some(log));
        assert_eq!(ServerLog::stored(&path, &key("bob", ""), 1_000), None);
        assert_eq!(ServerLog::stored("/etc/shadow", &key("ann", ""), 1_000), None);
    }
}
