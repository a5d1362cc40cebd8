//! Bundles the pages' scripts and styles with Node, so that they can be embedded.
//!
//! Packages are installed once per lock file, into a directory beside the profile's other build products that all
//! later builds share. The bundle itself is made in `OUT_DIR/static` whenever a source file changed. Nothing is
//! written into the source tree.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const NODE_MINIMUM: u32 = 20;

fn main() {
    // New template files are noticed by this line alone; the embedding itself only watches the files it knows.
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=frontend");
    if let Err(error) = bundle() {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
        std::process::exit(1);
    }
}

fn bundle() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    let sources = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?)
        .join("frontend");
    check_node()?;

    let work = out.join("frontend");
    let finished = out.join("static.hash");
    let digest = digest(&sources)?;
    if out.join("static").is_dir() && fs::read_to_string(&finished).is_ok_and(|last| last == digest) {
        return Ok(());
    }
    // From here on the stamp would lie if anything failed.
    remove(&finished)?;
    remove(&work)?;
    copy(&sources, &work)?;
    link_packages(&packages(&out, &sources)?, &work)?;

    run(
        Command::new(work.join("node_modules/.bin/tsc")).arg("--noEmit").current_dir(&work),
        "type check of hub/frontend",
    )?;
    let fresh = out.join("static.new");
    remove(&fresh)?;
    run(Command::new("node").arg("build.mjs").arg(&fresh).current_dir(&work), "bundling of hub/frontend")?;
    remove(&out.join("static"))?;
    fs::rename(&fresh, out.join("static"))?;
    fs::write(finished, digest)?;
    Ok(())
}

fn check_node() -> Result<(), String> {
    let missing = |program: &str, why: &str| {
        format!(
            "building the pages needs Node {NODE_MINIMUM} or newer with npm: {program} {why}.\n\
             Install it (Debian: apt-get install nodejs npm; others: https://nodejs.org) and build again."
        )
    };
    let answer = Command::new("node")
        .arg("--version")
        .output()
        .map_err(|error| missing("node", &format!("cannot be run ({error})")))?;
    let version = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MINIMUM) {
        return Err(missing("node", &format!("says that it is {version:?}")));
    }
    Command::new("npm")
        .arg("--version")
        .output()
        .map_err(|error| missing("npm", &format!("cannot be run ({error})")))?;
    Ok(())
}

/// The directory with the packages of the lock file, installed if this is the first build with that lock file.
fn packages(out: &Path, sources: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut hasher = DefaultHasher::new();
    fs::read(sources.join("package-lock.json"))?.hash(&mut hasher);
    // OUT_DIR is PROFILE/build/PACKAGE/out.
    let shared = out.ancestors().nth(3).unwrap_or(out);
    let place = shared.join(format!("frontend-packages-{:016x}", hasher.finish()));
    let installed = place.join("node_modules");
    if installed.is_dir() {
        return Ok(installed);
    }
    // Installed aside and renamed, so that an interrupted installation is never taken for a whole one.
    let aside = shared.join(format!("frontend-packages-{}", std::process::id()));
    remove(&aside)?;
    fs::create_dir_all(&aside)?;
    for name in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(sources.join(name), aside.join(name))?;
    }
    run(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"])
            .current_dir(&aside),
        "npm ci in hub/frontend",
    )?;
    match fs::rename(&aside, &place) {
        Err(_) if installed.is_dir() => remove(&aside)?, // another build was quicker
        done => done?,
    }
    Ok(installed)
}

fn link_packages(installed: &Path, work: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::symlink(installed, work.join("node_modules"));
    #[cfg(not(unix))]
    return copy(installed, &work.join("node_modules"));
}

fn run(command: &mut Command, what: &str) -> Result<(), Box<dyn Error>> {
    let done = command.output().map_err(|error| format!("{what} could not be started: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = [done.stdout, done.stderr].concat();
    Err(format!("{what} failed ({}):\n{}", done.status, String::from_utf8_lossy(&said).trim()).into())
}

/// Source files below a directory with their paths in it, sorted; without what a developer's own `npm ci` put there.
fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let name = entry.file_name();
            if directory.as_os_str().is_empty() && (name == "node_modules" || name == "dist") {
                continue;
            }
            let path = directory.join(name);
            if entry.file_type()?.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

fn digest(sources: &Path) -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files(sources)? {
        file.hash(&mut hasher);
        fs::read(sources.join(&file))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for file in files(from)? {
        let target = to.join(&file);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(from.join(&file), target)?;
    }
    Ok(())
}

/// Removes a file, a link or a directory; nothing there is fine.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
