//! Configurations that follow their files while connections come in.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use tracing::{info, warn};

use crate::error::ProxyError;

/// Time and length of each file, to notice a change.
type Stamp = Vec<Option<(SystemTime, u64)>>;
type Build<C> = Box<dyn Fn() -> Result<C, ProxyError> + Send + Sync>;

/// What is built from certificates, keys and authorities in files, and built again when one of them changes.
pub(crate) struct Reloading<C> {
    files: Vec<PathBuf>,
    build: Build<C>,
    current: ArcSwap<C>,
    seen: Mutex<Stamp>,
}

impl<C> fmt::Debug for Reloading<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<C> Reloading<C> {
    pub(super) fn new(files: Vec<PathBuf>, build: Build<C>) -> Result<Self, ProxyError> {
        let seen = Mutex::new(stamp(&files));
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
        let now = stamp(&self.files);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return;
            }
            *seen = now;
        }
        match (self.build)() {
            Ok(fresh) => {
                self.current.store(Arc::new(fresh));
                info!(files = ?self.files, "certificates were read again");
            }
            Err(error) => warn!(%error, "the changed certificates cannot be used, the old ones stay in use"),
        }
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    let look = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
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
