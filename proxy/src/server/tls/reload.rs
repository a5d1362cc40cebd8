//! Configurations that follow their files while connections come in.

use std::{
    fmt,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tracing::{info, warn};

use crate::error::ProxyError;

/// Length, times of content and of the rest (seconds, nanoseconds) and number of each file, to notice a change.
type Stamp = Vec<Option<[i128; 6]>>;
type Build<C> = Box<dyn Fn() -> Result<C, ProxyError> + Send + Sync>;

/// What is built from certificates, keys and authorities in files, and built again when one of them changes.
pub(crate) struct Reloading<C> {
    files: Vec<PathBuf>,
    build: Build<C>,
    current: ArcSwap<C>,
    seen: Mutex<Seen>,
}

/// As the files were at the last look, and at the last one that led to something.
struct Seen {
    last: Stamp,
    used: Stamp,
}

impl<C> fmt::Debug for Reloading<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<C> Reloading<C> {
    pub(super) fn new(files: Vec<PathBuf>, build: Build<C>) -> Result<Self, ProxyError> {
        let used = stamp(&files);
        let seen = Mutex::new(Seen { last: used.clone(), used });
        let current = ArcSwap::from_pointee(build()?);
        Ok(Self { files, build, current, seen })
    }

    /// What new connections use.
    pub(super) fn current(&self) -> Arc<C> {
        self.current.load_full()
    }
}

/// Something that may have to be read again.
pub(crate) trait Refresh: Send + Sync {
    /// Reads the files again if one of them changed. What cannot be used is reported, and the old state stays.
    fn refresh(&self);
}

impl<C: Send + Sync> Refresh for Reloading<C> {
    fn refresh(&self) {
        // Held to the end, so that of two who look at once the one with the older content does not come last.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.files);
        if seen.used == now {
            return;
        }
        match (self.build)() {
            Ok(fresh) => {
                self.current.store(Arc::new(fresh));
                info!(files = ?self.files, "certificates were read again");
                seen.used.clone_from(&now);
            }
            // It may be for a moment, so the next look tries again; it is told once.
            Err(error) if seen.last != now => {
                warn!(%error, "the changed certificates cannot be used, the old ones stay in use");
            }
            Err(_) => {}
        }
        seen.last = now;
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    let look = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        let [length, number] = [data.len(), data.ino()].map(i128::from);
        let [seconds, fraction] = [data.mtime(), data.mtime_nsec()].map(i128::from);
        let [of_rest, fraction_of_rest] = [data.ctime(), data.ctime_nsec()].map(i128::from);
        Some([length, number, seconds, fraction, of_rest, fraction_of_rest])
    };
    files.iter().map(look).collect()
}

/// Everything of a process that follows files.
#[derive(Clone, Default)]
pub(crate) struct Certificates(Arc<Mutex<Vec<Arc<dyn Refresh>>>>);

impl Certificates {
    /// Has one more looked after.
    pub(crate) fn add(&self, one: Arc<dyn Refresh>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    }

    /// Reads again what changed. Blocks.
    pub(crate) fn refresh(&self) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for one in all {
            one.refresh();
        }
    }
}
