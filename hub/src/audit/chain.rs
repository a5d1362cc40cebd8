//! Lines that are chained: each holds the hash of the one before and its own.
//!
//! `hash` is the SHA-256 of the line as it is without `hash`, so that whoever has a line can check it with a few lines
//! of any language. `prev` is the `hash` of the line before, 64 zeros in the very first. A line that a crash cut off is
//! ended by a record that names its digest; the chain goes on from the last whole line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::Record;

/// What stands for the line before the first.
pub const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Longest line, in bytes: what is read from the end of a file to find the last one.
pub const LONGEST_LINE: usize = 64 * 1024;

/// Why there is no audit log.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The file cannot be used.
    #[error("audit.file: cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("audit.file: another process writes to {}; give every hub a file of its own", .0.display())]
    Shared(PathBuf),
    /// Its end is no record.
    #[error("audit.file: the end of {} is no record of an audit log; move the file away", .0.display())]
    Foreign(PathBuf),
}

/// What a line holds beside its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Number of the line, 1 first, going on over files.
    pub seq: u64,
    /// Hash of the line before.
    pub prev: String,
}

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of the last line, 0 without any.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Head {
    /// Before the first line.
    pub fn none() -> Self {
        Self { seq: 0, hash: NOTHING_BEFORE.to_owned() }
    }
}

/// SHA-256 in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Makes the line after `head`, without its newline, and the head that it is.
fn link(head: &Head, record: Map<String, Value>) -> (String, Head) {
    let mut line = Map::new();
    line.insert("seq".to_owned(), (head.seq + 1).into());
    line.insert("prev".to_owned(), head.hash.clone().into());
    line.extend(record);
    let hash = digest(Value::Object(line.clone()).to_string().as_bytes());
    line.insert("hash".to_owned(), hash.clone().into());
    (Value::Object(line).to_string(), Head { seq: head.seq + 1, hash })
}

/// Reads a whole line: its link and its hash, if the hash is right.
pub fn read(line: &str) -> Option<(Link, String)> {
    let Value::Object(mut map) = serde_json::from_str(line).ok()? else { return None };
    let hash = map.shift_remove("hash")?.as_str()?.to_owned();
    let link = Link { seq: map.get("seq")?.as_u64()?, prev: map.get("prev")?.as_str()?.to_owned() };
    // As the line was written, not as it would be written from what was understood of it.
    let bare = line.strip_suffix('}')?.strip_suffix(&format!(",\"hash\":\"{hash}\""))?;
    (digest(format!("{bare}}}").as_bytes()) == hash).then_some((link, hash))
}

/// A file that is written.
#[derive(Debug)]
pub struct Chain {
    path: PathBuf,
    file: Flock<File>,
    head: Head,
    size: u64,
    max_size: u64,
    dirty: bool,
}

fn open(path: &Path) -> Result<Flock<File>, AuditError> {
    let failed = |source| AuditError::File { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.create(true).read(true).append(true);
    // Records tell who did what: nobody else need read them.
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| AuditError::Shared(path.to_owned()))
}

impl Chain {
    /// Opens a file and finds the end of its chain.
    pub fn open(path: &Path, max_size: u64, now: DateTime<Utc>) -> Result<Self, AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        let mut file = open(path)?;
        let size = file.metadata().map_err(failed)?.len();
        let (head, torn) =
            end_of(&mut file, size).map_err(failed)?.ok_or_else(|| AuditError::Foreign(path.to_owned()))?;
        let mut chain = Self { path: path.to_owned(), file, head, size, max_size, dirty: false };
        if let Some(torn) = torn {
            chain.write(b"\n").map_err(failed)?;
            chain.put(mark(now, "torn", &torn)).map_err(failed)?;
        }
        Ok(chain)
    }

    /// Appends a record.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        if self.size >= self.max_size {
            self.rotate(record.time.0)?;
        }
        let Value::Object(record) = serde_json::to_value(record)? else {
            return Err(io::Error::other("a record is an object"));
        };
        self.put(record)
    }

    fn put(&mut self, record: Map<String, Value>) -> io::Result<()> {
        let (line, head) = link(&self.head, record);
        self.write(format!("{line}\n").as_bytes())?;
        self.head = head;
        Ok(())
    }

    /// In one piece; what was written of a piece that did not fit, on a full disk, is taken back.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size += bytes.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Brings what was written to the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Puts the file aside under its name and the moment, and begins a new one whose chain goes on.
    fn rotate(&mut self, now: DateTime<Utc>) -> io::Result<()> {
        self.sync()?;
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".{}", now.format("%Y%m%dT%H%M%S%6fZ")));
        std::fs::rename(&self.path, &aside)?;
        self.file = open(&self.path).map_err(io::Error::other)?;
        self.size = 0;
        // The first line tells where the chain comes from, for whoever looks at this file alone.
        let before = PathBuf::from(&aside);
        let name = before.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.put(mark(now, "continues", &name))
    }
}

/// A record that is about the file itself.
fn mark(now: DateTime<Utc>, what: &str, value: &str) -> Map<String, Value> {
    let time = jupyterhub_api_compat::Timestamp(now).to_string();
    match json!({"time": time, what: value}) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The head of a file, and the digest of a line that was cut off at its end; none if its last whole line is no link.
fn end_of(file: &mut File, size: u64) -> io::Result<Option<(Head, Option<String>)>> {
    let from = size.saturating_sub(2 * LONGEST_LINE as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(2 * LONGEST_LINE as u64).read_to_end(&mut bytes)?;
    let (whole, torn) = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => bytes.split_at(at + 1),
        None => (&[][..], bytes.as_slice()),
    };
    let torn = (!torn.is_empty()).then(|| digest(torn));
    let whole = whole.strip_suffix(b"\n").unwrap_or_default();
    if whole.is_empty() {
        return Ok((from == 0).then(|| (Head::none(), torn)));
    }
    let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let read = std::str::from_utf8(last).ok().and_then(read);
    Ok(read.map(|(link, hash)| (Head { seq: link.seq, hash }, torn)))
}
