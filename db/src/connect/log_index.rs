//! The head of a write-ahead log's index: whether anybody has committed anything since it was last read.
//!
//! SQLite keeps the index in a file beside the database, `-shm`, which all processes that use the database share; its
//! head is written with every commit, after the commit is on the disk and before anybody can see it
//! (<https://www.sqlite.org/walformat.html>). Reading it takes a microsecond. `PRAGMA data_version` would tell the same
//! by way of a connection's thread, which takes longer than all else that a request by a known token needs, and would
//! not tell commits of this process from those of others.

use std::ffi::OsString;
use std::fs::{self, File};
use std::mem::ManuallyDrop;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// Bytes of one copy of the head; there are two, one behind the other.
const COPY: usize = 48;
/// The only format there has been, since 2010. Anything else is not understood, and then nothing is remembered.
const FORMAT: u32 = 3_007_000;

/// The index of an open database.
#[derive(Debug)]
pub(crate) struct LogIndex {
    /// Not closed when it is dropped: that would end the locks of SQLite, which POSIX gives to a process and takes
    /// from it with the first of its handles of a file that is closed.
    file: ManuallyDrop<File>,
}

impl LogIndex {
    /// Of a database that has a write-ahead log and is kept open by somebody in this process until
    /// [`LogIndex::close`]: SQLite deletes the index with the last connection. `None` where there is none that can be
    /// read.
    pub(super) fn open(database: &Path) -> Option<Self> {
        let mut name: OsString = fs::canonicalize(database).ok()?.into();
        name.push("-shm");
        let index = Self { file: ManuallyDrop::new(File::open(name).ok()?) };
        index.head().map(|_| index)
    }

    /// The head as it is now. `None` while it is written, which whoever asks may take for a change.
    pub(crate) fn head(&self) -> Option<Head> {
        // A file that was deleted with the last connection tells nothing any more.
        if self.file.metadata().ok()?.nlink() == 0 {
            return None;
        }
        let mut both = [0; 2 * COPY];
        self.file.read_exact_at(&mut both, 0).ok()?;
        let (one, other) = both.split_at(COPY);
        let head = Head(<[u8; COPY]>::try_from(one).ok().filter(|one| one == other)?);
        (head.number(0) == FORMAT).then_some(head)
    }

    /// Once every connection of this database is closed.
    pub(crate) fn close(self) {
        drop(ManuallyDrop::into_inner(self.file));
    }
}

/// What the head says: another one after each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head([u8; COPY]);

impl Head {
    /// Whether there was exactly one commit between the two.
    pub(crate) fn follows(self, before: Self) -> bool {
        self.commits() == before.commits().wrapping_add(1)
    }

    /// Counts commits.
    fn commits(self) -> u32 {
        self.number(8)
    }

    /// Processes on one machine agree on the order of bytes.
    fn number(self, at: usize) -> u32 {
        let bytes = self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).unwrap_or_default()
    }
}
