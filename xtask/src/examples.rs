//! The example configurations, checked by the release binary as an operator would check them.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{run, workspace};
use crate::counts::Counts;

/// Runs `config check` on a copy of each example that has the files with secrets which the examples name.
pub(crate) fn check(binary: &Path) -> Result<Counts> {
    let source = workspace().join("config/examples");
    let folder = tempfile::tempdir()?;
    fs::DirBuilder::new().mode(0o700).create(folder.path().join("secrets"))?;
    let mut files: Vec<PathBuf> = fs::read_dir(&source)
        .with_context(|| format!("cannot read {}", source.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("there is no example in {}", source.display());
    }
    let mut counts = Counts::default();
    for file in &files {
        let copy = folder.path().join(file.file_name().context("a file has a name")?);
        let text = fs::read_to_string(file)?;
        for name in secrets_named_in(&text) {
            write_secret(&folder.path().join("secrets").join(name), name)?;
        }
        fs::write(&copy, text)?;
        match run(Command::new(binary).args(["config", "check", "--config"]).arg(&copy).stdin(Stdio::null()))
        {
            Ok(()) => counts.passed += 1,
            Err(error) => {
                println!("{error:#}");
                counts.failed += 1;
            }
        }
    }
    Ok(counts)
}

/// The NAMEs of lines such as `api_token_file = "secrets/NAME"`.
fn secrets_named_in(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().strip_prefix("\"secrets/")?;
        key.trim().ends_with("_file").then(|| value.split_once('"').map(|(name, _)| name))?
    })
}

/// 64 hexadecimal digits, which is long enough for a password and right for a key; another one for each name.
fn write_secret(path: &Path, name: &str) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let secret = format!("{:016x}", hasher.finish()).repeat(4);
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(std::io::Write::write_all(&mut file, secret.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_where_examples_name_them() {
        let text = "a = 1\ntoken_file = \"secrets/one\" # how to make it\nssl_key = \"secrets/no\"\nx_file=\"secrets/two\"";
        assert_eq!(secrets_named_in(text).collect::<Vec<_>>(), ["one", "two"]);
    }
}
