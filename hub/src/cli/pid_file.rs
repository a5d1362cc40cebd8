//! `--pid-file`: the number of the process in a file, as long as it runs.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

/// Removes the file when dropped.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the number of this process.
    pub(super) fn write(path: PathBuf) -> anyhow::Result<Self> {
        fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("cannot write the pid file {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the pid file");
        }
    }
}
