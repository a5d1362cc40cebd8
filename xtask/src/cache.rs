//! The cache folder: virtual environments, the peer's proxy and, in continuous integration, cargo's build results.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Written into an entry when it is whole. Scripts of a virtual environment hold its absolute path, so an entry is made
/// in its final place and cannot be moved there; this file, which is renamed into place, makes it valid.
const COMPLETE: &str = ".complete";

/// Build results above this size (bytes) are removed before a build: each clone in another folder adds its own copies
/// of the workspace's crates, and nothing else would ever remove them.
const TARGET_LIMIT: u64 = 16 << 30;

/// The cache folder, which exists.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// Exclusive use of one part of the cache until dropped, also against other processes.
#[derive(Debug)]
pub(crate) struct CacheLock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl Cache {
    /// `$HIMALIA_CACHE`, else `himalia` in `$XDG_CACHE_HOME` or `~/.cache`.
    pub(crate) fn open() -> Result<Self> {
        let root = if let Some(folder) = std::env::var_os("HIMALIA_CACHE").filter(|value| !value.is_empty()) {
            PathBuf::from(folder)
        } else if let Some(folder) = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
            Path::new(&folder).join("himalia")
        } else {
            let home =
                std::env::home_dir().context("no home folder: set HIMALIA_CACHE to a folder to write to")?;
            home.join(".cache/himalia")
        };
        fs::create_dir_all(&root)
            .with_context(|| format!("cannot make the cache folder {}", root.display()))?;
        Ok(Self { root: root.canonicalize()? })
    }

    /// Waits until no other process uses the part `name` and holds it.
    pub(crate) fn lock(&self, name: &str) -> Result<CacheLock> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        if file.try_lock().is_err() {
            eprintln!("waiting for another process that uses {} ...", path.display());
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(CacheLock(file))
    }

    /// The folder of the entry `name` for this `recipe`, made by `make` when it is not there yet.
    ///
    /// The recipe is all that the content depends on: another recipe is another folder. What an interrupted run left is
    /// removed first.
    pub(crate) fn entry(
        &self,
        name: &str,
        recipe: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        recipe.hash(&mut hasher);
        let folder = self.root.join(format!("{name}-{:016x}", hasher.finish()));
        let complete = folder.join(COMPLETE);
        let _lock = self.lock(name)?;
        if !complete.exists() {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)?;
            make(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            let unfinished = folder.join(".recipe");
            fs::write(&unfinished, recipe)?;
            fs::rename(unfinished, complete)?;
        }
        Ok(folder)
    }

    /// A folder that another program keeps its own cache in.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Cargo's target folder for continuous integration, where a fresh clone finds compiled dependencies.
    pub(crate) fn target(&self) -> Result<PathBuf> {
        let target = self.root.join("target");
        if size_of(&target) > TARGET_LIMIT {
            println!("removing {}: it has grown over {} GiB", target.display(), TARGET_LIMIT >> 30);
            fs::remove_dir_all(&target)?;
        }
        Ok(target)
    }

    pub(crate) fn remove(&self) -> Result<()> {
        println!("removing {}", self.root.display());
        fs::remove_dir_all(&self.root).with_context(|| format!("cannot remove {}", self.root.display()))
    }
}

/// Bytes below `folder`; what cannot be read counts as nothing.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_made_once_and_an_unfinished_one_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { root: folder.path().to_path_buf() };
        let failed = cache.entry("thing", "recipe", |path| {
            fs::write(path.join("half"), "")?;
            anyhow::bail!("interrupted")
        });
        assert!(failed.is_err());
        let made = cache.entry("thing", "recipe", |path| {
            assert!(!path.join("half").exists());
            Ok(fs::write(path.join("whole"), "")?)
        });
        let again = cache.entry("thing", "recipe", |_| panic!("made twice"));
        assert_eq!(made.unwrap(), again.unwrap());
        let other = cache.entry("thing", "another recipe", |_| Ok(())).unwrap();
        assert!(!other.join("whole").exists());
    }
}
