//! Routes in a file: a line for each change, written before the change is acknowledged.
//!
//! A line is a JSON object with `key` and `document`; without a document the route was removed. When most lines are
//! out of date the file is written anew. Nothing is forced to the disk: the file is there for the next process, and
//! a machine that lost power has lost the servers behind the routes as well.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::warn;

use super::table::SavedRoute;
use crate::error::ProxyError;

/// Longest line that is read: more than any request to the API can hold.
const MAX_LINE: u64 = 4 * 1024 * 1024;
/// The file is written anew when it has this many lines more than four times the routes.
const SLACK: usize = 1024;
/// End of the name of a file that is being written.
const FRESH: &str = ".new";
/// Nobody writes for that long.
const LEFT_OVER: Duration = Duration::from_hours(1);

#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    key: std::borrow::Cow<'a, str>,
    document: Option<std::borrow::Cow<'a, Map<String, Value>>>,
}

/// The file, open for more lines.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    /// Whether changes are written. Before, the file may be that of another process.
    begun: bool,
    /// The last change may have been written in part.
    torn: bool,
}

impl Journal {
    /// Opens the file and reads the routes in it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<SavedRoute>), ProxyError> {
        let problem = |source| ProxyError::File { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path).map_err(problem)?;
        remove_leftovers(path);
        let routes = read(&file, path).map_err(problem)?;
        let saved =
            routes.into_iter().map(|(key, document)| SavedRoute { key, document, last_activity: None });
        Ok((Self { path: path.to_owned(), file, lines: 0, begun: false, torn: false }, saved.collect()))
    }

    /// Begins to write, with all routes that there are.
    pub(crate) fn begin(&mut self, all: impl FnOnce() -> Vec<SavedRoute>) -> Result<(), ProxyError> {
        self.begun = true;
        self.rewrite(&all())
    }

    /// Replaces the file by one with exactly these routes, in one step.
    pub(crate) fn rewrite(&mut self, routes: &[SavedRoute]) -> Result<(), ProxyError> {
        if !self.begun {
            return Ok(());
        }
        // Of this process and this moment: another process with the same path may be at the same.
        let fresh = self.path.with_added_extension(format!(
            "{}-{:016x}{FRESH}",
            std::process::id(),
            RandomState::new().hash_one(())
        ));
        let write = || -> io::Result<File> {
            let mut options = OpenOptions::new();
            let file = options.append(true).create_new(true).mode(0o600).open(&fresh)?;
            let mut out = BufWriter::new(file);
            for route in routes {
                let line = Line {
                    key: (&*route.key).into(),
                    document: Some(std::borrow::Cow::Borrowed(&route.document)),
                };
                serde_json::to_writer(&mut out, &line)?;
                out.write_all(b"\n")?;
            }
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            std::fs::rename(&fresh, &self.path)?;
            // Not opened by its path: that may lead to another process's file by now.
            Ok(file)
        };
        self.file = write().map_err(|source| {
            // On a full disk it would be in the way, and the next change writes it again.
            let _ = std::fs::remove_file(&fresh);
            self.problem(source)
        })?;
        self.lines = routes.len();
        self.torn = false;
        Ok(())
    }

    /// Notes a route that was added or replaced. There are `count` routes now, and `all` gives them.
    pub(crate) fn added(
        &mut self,
        key: &str,
        document: &Map<String, Value>,
        count: usize,
        all: impl FnOnce() -> Vec<SavedRoute>,
    ) -> Result<(), ProxyError> {
        self.append(
            &Line { key: key.into(), document: Some(std::borrow::Cow::Borrowed(document)) },
            count,
            all,
        )
    }

    /// Notes a route that was removed.
    pub(crate) fn removed(
        &mut self,
        key: &str,
        count: usize,
        all: impl FnOnce() -> Vec<SavedRoute>,
    ) -> Result<(), ProxyError> {
        self.append(&Line { key: key.into(), document: None }, count, all)
    }

    fn append(
        &mut self,
        line: &Line<'_>,
        count: usize,
        all: impl FnOnce() -> Vec<SavedRoute>,
    ) -> Result<(), ProxyError> {
        if !self.begun {
            return Ok(());
        }
        if self.torn || self.lines >= SLACK + 4 * count || self.is_detached() {
            return self.rewrite(&all());
        }
        let mut bytes = serde_json::to_vec(line).map_err(|error| self.problem(error.into()))?;
        bytes.push(b'\n');
        if let Err(source) = self.file.write_all(&bytes) {
            self.torn = true;
            return Err(self.problem(source));
        }
        self.lines += 1;
        Ok(())
    }

    /// Whether the path leads to another file by now: a second process was started with it, be it in vain.
    fn is_detached(&self) -> bool {
        let identity = |data: std::fs::Metadata| (data.dev(), data.ino());
        let (open, named) = (self.file.metadata().map(identity), std::fs::metadata(&self.path).map(identity));
        !matches!((open, named), (Ok(open), Ok(named)) if open == named)
    }

    fn problem(&self, source: io::Error) -> ProxyError {
        ProxyError::File { path: self.path.display().to_string(), source }
    }
}

/// Removes what processes left that were killed while they wrote the file anew.
fn remove_leftovers(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return;
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let other = entry.file_name();
        let ours = other
            .to_str()
            .and_then(|other| other.strip_prefix(name)?.strip_prefix('.'))
            .and_then(|rest| rest.strip_suffix(FRESH)?.split_once('-'))
            .is_some_and(|(process, mark)| {
                process.parse::<u32>().is_ok() && mark.len() == 16 && u64::from_str_radix(mark, 16).is_ok()
            });
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if ours
            && age().is_some_and(|age| age > LEFT_OVER)
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            warn!(path = %entry.path().display(), %error, "an unfinished file cannot be removed");
        }
    }
}

fn read(file: &File, path: &Path) -> io::Result<BTreeMap<String, Map<String, Value>>> {
    let mut routes = BTreeMap::new();
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        number += 1;
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(routes);
        }
        match serde_json::from_slice::<Line<'_>>(&bytes) {
            Ok(Line { key, document: Some(document) }) => {
                routes.insert(key.into_owned(), document.into_owned());
            }
            Ok(Line { key, document: None }) => {
                routes.remove(&*key);
            }
            // The last line of a process that was killed while it wrote.
            Err(_) if bytes.last() != Some(&b'\n') => {
                warn!(path = %path.display(), "the last saved change of routes is incomplete and left out");
            }
            Err(error) => {
                let problem =
                    format!("line {number} is no saved route: {error}; remove the file to begin anew");
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RouteTable;

    /// The table of a process that runs.
    fn running(path: &Path) -> std::sync::Arc<RouteTable> {
        let table = RouteTable::persistent(false, path).unwrap();
        table.keep().unwrap();
        table
    }

    fn data() -> Map<String, Value> {
        Map::from_iter([("user".to_owned(), "x".into())])
    }

    #[test]
    fn routes_survive_whatever_ends_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        let table = running(&path);
        table.add("/user/a b", "http://127.0.0.1:1", data()).unwrap();
        table.add("/gone", "http://127.0.0.1:1", Map::new()).unwrap();
        table.add("/user/a b", "http://127.0.0.1:2", data()).unwrap();
        assert!(table.remove("/gone"));
        // A change of which only the beginning was written.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"key\":\"/torn\",\"docu").unwrap();
        let again = running(&path);
        assert_eq!(again.len(), 1);
        let route = again.get("/user/a b").unwrap();
        assert_eq!((route.target.as_str(), route.data), ("http://127.0.0.1:2", data()));
        again.add("/next", "http://127.0.0.1:3", Map::new()).unwrap();
        assert_eq!(RouteTable::persistent(false, &path).unwrap().len(), 2);
    }

    #[test]
    fn another_process_at_the_same_file_does_not_detach_this_one_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        let table = running(&path);
        table.add("/one", "http://127.0.0.1:1", Map::new()).unwrap();
        // A second process, which took the file for its own and ended.
        drop(running(&path));
        table.add("/two", "http://127.0.0.1:2", Map::new()).unwrap();
        assert!(table.remove("/one"));
        let again = RouteTable::persistent(false, &path).unwrap();
        assert_eq!(again.list().keys().collect::<Vec<_>>(), ["/two"]);
    }

    #[test]
    fn a_start_in_vain_leaves_the_file_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        let table = running(&path);
        table.add("/one", "http://127.0.0.1:1", Map::new()).unwrap();
        // Another process reads the file, this one goes on, and only then the other one finds the address in use.
        let other = RouteTable::persistent(false, &path).unwrap();
        table.add("/two", "http://127.0.0.1:2", Map::new()).unwrap();
        other.add("/", "http://127.0.0.1:3", Map::new()).unwrap();
        drop(other);
        // No further change: this process is killed.
        let again = RouteTable::persistent(false, &path).unwrap();
        assert_eq!(again.list().keys().collect::<Vec<_>>(), ["/one", "/two"]);
    }

    #[test]
    fn what_is_added_before_the_file_is_taken_is_saved_with_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        running(&path).add("/one", "http://127.0.0.1:1", Map::new()).unwrap();
        let next = RouteTable::persistent(false, &path).unwrap();
        next.add("/", "http://127.0.0.1:3", Map::new()).unwrap();
        next.keep().unwrap();
        let again = RouteTable::persistent(false, &path).unwrap();
        assert_eq!(again.list().keys().collect::<Vec<_>>(), ["/", "/one"]);
    }

    #[test]
    fn two_processes_at_the_same_file_never_mix_their_routes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        let all = |name: &str| -> Vec<SavedRoute> {
            let saved = |number: usize| SavedRoute {
                key: format!("/{name}/{number}"),
                document: Map::from_iter([("target".to_owned(), "http://127.0.0.1:1".into())]),
                last_activity: None,
            };
            (0..50).map(saved).collect()
        };
        std::thread::scope(|scope| {
            for name in ["one", "two"] {
                let (path, routes) = (&path, all(name));
                scope.spawn(move || {
                    let (mut journal, _) = Journal::open(path).unwrap();
                    journal.begin(|| routes.clone()).unwrap();
                    for _ in 0..200 {
                        journal.rewrite(&routes).unwrap();
                        let (_, seen) = Journal::open(path).unwrap();
                        let first = seen.first().unwrap().key.split('/').nth(1).unwrap().to_owned();
                        assert!(seen.len() == 50 && seen.iter().all(|route| route.key.contains(&first)));
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        let long_ago = std::time::SystemTime::now() - 2 * LEFT_OVER;
        let files = [
            ("routes.7-0123456789abcdef.new", Some(long_ago)),
            ("routes.8-0123456789abcdef.new", None),
            ("other.9-0123456789abcdef.new", Some(long_ago)),
            ("routes.2026-plan.new", Some(long_ago)),
        ];
        for (name, modified) in files {
            let file = File::create(folder.path().join(name)).unwrap();
            if let Some(moment) = modified {
                file.set_modified(moment).unwrap();
            }
        }
        Journal::open(&path).unwrap();
        assert_eq!(files.map(|(name, _)| folder.path().join(name).exists()), [false, true, true, true]);
    }

    #[test]
    fn a_change_that_was_written_in_part_does_not_spoil_those_that_follow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.begin(Vec::new).unwrap();
        let all = |keys: &[&str]| -> Vec<SavedRoute> {
            let saved = |key: &&str| SavedRoute {
                key: (*key).to_owned(),
                document: Map::from_iter([("target".to_owned(), "http://127.0.0.1:1".into())]),
                last_activity: None,
            };
            keys.iter().map(saved).collect()
        };
        let add = |journal: &mut Journal, keys: &[&str]| {
            let last = all(keys).pop().unwrap();
            journal.added(&last.key, &last.document, keys.len(), || all(keys)).is_ok()
        };
        assert!(add(&mut journal, &["/a"]));
        let full = File::open(&path).unwrap();
        // As on a full disk: some bytes are written, then no more.
        let whole = std::mem::replace(&mut journal.file, full);
        (&whole).write_all(b"{\"key\":\"/b\"").unwrap();
        assert!(!add(&mut journal, &["/a", "/b"]));
        assert!(add(&mut journal, &["/a", "/b", "/c"]));
        assert!(add(&mut journal, &["/a", "/b", "/c", "/d"]));
        let again = RouteTable::persistent(false, &path).unwrap();
        assert_eq!(again.list().keys().collect::<Vec<_>>(), ["/a", "/b", "/c", "/d"]);
    }

    #[test]
    fn the_file_stays_in_proportion_to_the_routes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        let table = running(&path);
        for number in 0..4 * SLACK {
            table.add("/x", &format!("http://127.0.0.1:{}", 1 + number % 9), Map::new()).unwrap();
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= SLACK + 8, "{lines}");
        let again = RouteTable::persistent(false, &path).unwrap();
        assert_eq!((again.len(), again.get("/x").unwrap().target), (1, table.get("/x").unwrap().target));
    }

    #[test]
    fn a_file_with_something_else_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes");
        std::fs::write(&path, "hello\n").unwrap();
        let error = RouteTable::persistent(false, &path).unwrap_err().to_string();
        assert!(error.contains("routes") && error.contains("line 1"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello\n", "and left alone");
    }
}
