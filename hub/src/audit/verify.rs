//! Checks the chain of audit logs.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::chain::{Head, LONGEST_LINE, digest, read};

/// What is wrong with an audit log.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what was written.
    #[error("{}:{line}: {what}", path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Which line, 1 first.
        line: u64,
        /// What is wrong.
        what: String,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Number of the first line.
    pub first: u64,
    /// How many lines.
    pub lines: u64,
    /// The end of the chain. Kept elsewhere, it shows later whether lines were cut off at the end.
    pub head: Head,
    /// Lines that a crash cut off, and that the chain tells about.
    pub torn: u64,
}

/// Checks files in order, as one chain. The first line of the first file may continue a file that is not there.
///
/// # Errors
/// With the first line that is wrong.
pub fn verify(files: &[PathBuf]) -> Result<Verified, VerifyError> {
    let mut found = Verified { first: 0, lines: 0, head: Head::none(), torn: 0 };
    for path in files {
        verify_file(path, &mut found)?;
    }
    Ok(found)
}

fn verify_file(path: &Path, found: &mut Verified) -> Result<(), VerifyError> {
    let unreadable = |source| VerifyError::Read { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut number = 0;
    // The digest of a line that is no link: the next one must name it.
    let mut torn: Option<String> = None;
    let broken =
        |line: u64, what: &str| VerifyError::Broken { path: path.to_owned(), line, what: what.to_owned() };
    loop {
        let mut bytes = Vec::new();
        let most = LONGEST_LINE as u64;
        file.by_ref().take(most).read_until(b'\n', &mut bytes).map_err(unreadable)?;
        if bytes.is_empty() {
            break;
        }
        number += 1;
        let whole = bytes.strip_suffix(b"\n");
        let text = std::str::from_utf8(whole.unwrap_or(&bytes)).unwrap_or_default();
        let Some((link, hash)) = read(text).filter(|_| whole.is_some()) else {
            if torn.is_some() || whole.is_none() && bytes.len() as u64 >= most {
                return Err(broken(number, "this is no record, or it was changed"));
            }
            torn = Some(digest(whole.unwrap_or(&bytes)));
            continue;
        };
        if let Some(expected) = torn.take() {
            let named = serde_json::from_str::<Value>(text).ok();
            let named = named.as_ref().and_then(|record| record.get("torn")?.as_str());
            if named != Some(expected.as_str()) {
                return Err(broken(number - 1, "this is no record, or it was changed"));
            }
            found.torn += 1;
        }
        if found.lines == 0 {
            if link.seq == 1 && link.prev != Head::none().hash {
                return Err(broken(number, "the first line names one before it"));
            }
            found.first = link.seq;
        } else if link.prev != found.head.hash || link.seq != found.head.seq + 1 {
            let what =
                format!("line {} follows line {}: lines are missing, or moved", link.seq, found.head.seq);
            return Err(broken(number, &what));
        }
        found.lines += 1;
        found.head = Head { seq: link.seq, hash };
    }
    if torn.is_some() {
        return Err(broken(
            number,
            "the last line is not whole; if no hub writes to this file, a crash cut it off or somebody changed it",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use jupyterhub_api_compat::Timestamp;

    use super::*;
    use crate::audit::Record;
    use crate::audit::chain::{AuditError, Chain};

    fn record(path: &str) -> Record {
        Record {
            time: Timestamp::parse("2026-01-01T00:00:00.5").unwrap(),
            actor: None,
            subject: None,
            from: None,
            request: "1".to_owned(),
            method: "POST".to_owned(),
            path: path.to_owned(),
            handler: "h".to_owned(),
            status: 201,
        }
    }

    fn open(path: &Path, max_size: u64) -> Result<Chain, AuditError> {
        Chain::open(path, max_size, DateTime::UNIX_EPOCH)
    }

    fn fill(path: &Path, count: usize) {
        let mut chain = open(path, u64::MAX).unwrap();
        for i in 0..count {
            chain.append(&record(&format!("/hub/api/users/{i}"))).unwrap();
        }
    }

    #[test]
    fn a_chain_goes_on_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        fill(&path, 3);
        fill(&path, 2);
        let found = verify(&[path]).unwrap();
        assert_eq!((found.first, found.lines, found.head.seq, found.torn), (1, 5, 5, 0));
    }

    #[test]
    fn every_change_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        fill(&path, 4);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replacen("users/2", "users/9", 1);
        let removed = [lines[0], lines[1], lines[3], ""].join("\n");
        let moved = [lines[0], lines[2], lines[1], lines[3], ""].join("\n");
        let doubled = [lines[0], lines[1], lines[1], lines[2], lines[3], ""].join("\n");
        let cut = text[..text.len() - 9].to_owned();
        let added = text.clone() + "{\"seq\":5}\n";
        let spaced = text.replacen("\"seq\":", "\"seq\": ", 1);
        let line = |text: &str| -> u64 {
            std::fs::write(&path, text).unwrap();
            match verify(std::slice::from_ref(&path)) {
                Err(VerifyError::Broken { line, .. }) => line,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            [&changed, &removed, &moved, &doubled, &cut, &added, &spaced].map(|text| line(text)),
            [3, 3, 2, 3, 4, 5, 1]
        );
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_told_about() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        fill(&path, 2);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 20]).unwrap();
        fill(&path, 1);
        let found = verify(std::slice::from_ref(&path)).unwrap();
        assert_eq!((found.lines, found.head.seq, found.torn), (3, 3, 1));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("users/1", "users/7", 1)).unwrap();
        assert!(verify(&[path]).is_err(), "what was cut off cannot be changed either");
    }

    #[test]
    fn a_large_file_is_put_aside_and_the_chain_goes_on_in_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let mut chain = open(&path, 300).unwrap();
        for i in 0..3 {
            let mut record = record(&"x".repeat(300));
            record.time = Timestamp::parse(&format!("2026-01-01T00:00:0{i}")).unwrap();
            chain.append(&record).unwrap();
        }
        drop(chain);
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.rotate_left(1);
        assert_eq!(files.len(), 3, "{files:?}");
        assert_eq!(files.last(), Some(&path));
        let found = verify(&files).unwrap();
        assert_eq!((found.first, found.lines), (1, 5), "two lines tell of the files before");
        assert_eq!(verify(&files[1..]).unwrap().first, 2);
        assert!(verify(&[files[0].clone(), files[2].clone()]).is_err());
    }

    #[test]
    fn a_file_has_one_writer_and_is_none_of_somebody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let _first = open(&path, u64::MAX).unwrap();
        assert!(matches!(open(&path, u64::MAX), Err(AuditError::Shared(_))));
        let other = dir.path().join("notes.txt");
        std::fs::write(&other, "not a log\n").unwrap();
        assert!(matches!(open(&other, u64::MAX), Err(AuditError::Foreign(_))));
    }
}
