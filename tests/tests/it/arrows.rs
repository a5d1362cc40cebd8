//! Which crate may depend on which: the table of `docs/architecture.md`, checked against what cargo says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const PLUGINS: [&str; 4] = ["hub-spawner-local", "hub-spawner-kube", "hub-auth-basic", "hub-auth-oidc"];
const LATER_PLUGINS: [&str; 3] = ["hub-auth-keycloak", "hub-auth-openhexa", "hub-auth-pam"];
const PARTS: [&str; 6] =
    ["hub-core", "hub-outbound", "hub-config", "hub-db", "hub-proxy", "jupyterhub-api-compat"];

/// The siblings that a crate may depend on; `None` for a crate that the table does not know.
fn allowed(package: &str) -> Option<BTreeSet<&'static str>> {
    let core = BTreeSet::from(["hub-core"]);
    Some(match package {
        "hub-core" | "hub-proxy" | "xtask" | "light-singleuser" => BTreeSet::new(),
        "hub-config" | "hub-db" | "hub-outbound" | "jupyterhub-api-compat" => core,
        "hub-auth-oidc" | "hub-auth-openhexa" | "hub-spawner-kube" => {
            BTreeSet::from(["hub-core", "hub-outbound"])
        }
        "hub-auth-keycloak" => BTreeSet::from(["hub-core", "hub-auth-oidc"]),
        "himalia-pam" => BTreeSet::from(["hub-auth-pam"]),
        "himalia" => PARTS.into_iter().chain(PLUGINS).chain(LATER_PLUGINS).collect(),
        "hub-tests" => PARTS.into_iter().chain(["himalia"]).collect(),
        plugin if PLUGINS.contains(&plugin) || LATER_PLUGINS.contains(&plugin) => core,
        _ => return None,
    })
}

/// What cargo prints.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// The members of the workspace and, of each, the siblings it depends on outside of its own tests.
fn members() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline", "--locked"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo writes JSON");
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().expect("everything has a name").to_owned();
    list(&metadata, "packages")
        .iter()
        .map(|package| {
            let siblings = list(package, "dependencies")
                .iter()
                .filter(|dependency| dependency["path"].is_string() && dependency["kind"] != "dev")
                .map(name)
                .collect();
            (name(package), siblings)
        })
        .collect()
}

#[test]
fn crates_depend_only_on_those_that_the_architecture_allows() {
    let members = members();
    assert!(members.contains_key("himalia"), "no crate of the workspace was found");
    let mut wrong = Vec::new();
    for (package, siblings) in &members {
        let Some(allowed) = allowed(package) else {
            wrong.push(format!("{package} is not in the table of allowed dependencies"));
            continue;
        };
        wrong.extend(
            siblings
                .iter()
                .filter(|sibling| !allowed.contains(sibling.as_str()))
                .map(|sibling| format!("{package} may not depend on {sibling}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_built_with_a_second_tls_library() {
    let tree = cargo(&[
        "tree",
        "--workspace",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--edges",
        "all",
        "--offline",
        "--locked",
    ]);
    let built: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(built.contains("rustls"), "the list of crates is not as expected: {built:?}");
    for name in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(!built.contains(name), "{name} is built; `cargo tree --invert {name}` shows for whom");
    }
}
