//! `KEY_file` instead of `KEY`: secrets that stand in files of their own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::check::{Findings, child};
use crate::layers::{Node, NodeValue};
use crate::problem::Problem;
use crate::schema::kind;
use crate::secrets::is_secret_name;

/// Largest secret, in bytes.
const LARGEST: u64 = 64 << 10;

/// Replaces each `KEY_file` of a table by `KEY` with what the file holds.
pub(crate) fn read(
    table: &mut BTreeMap<String, Node>,
    schema: &Value,
    key: &str,
    directory: Option<&Path>,
    findings: &mut Findings,
) {
    let Some(properties) = schema.get("properties") else { return };
    let names: Vec<String> = table
        .keys()
        .filter(|name| properties.get(name).and_then(kind) == Some("secret-file"))
        .cloned()
        .collect();
    for name in names {
        let Some(target) = name.strip_suffix("_file") else { continue };
        let is_list = properties.get(target).is_some_and(|schema| schema.get("items").is_some());
        replace(table, &name, target, is_list, key, directory, findings);
    }
}

/// The same for the table of a plugin, whose keys are not known here: `*password_file`, `*secret_file`,
/// `*token_file` and `*passphrase_file`.
pub(crate) fn read_of_plugin(
    table: &mut BTreeMap<String, Node>,
    key: &str,
    directory: Option<&Path>,
    findings: &mut Findings,
) {
    let names: Vec<String> =
        table.keys().filter(|name| name.strip_suffix("_file").is_some_and(is_secret_name)).cloned().collect();
    for name in names {
        let Some(target) = name.strip_suffix("_file") else { continue };
        replace(table, &name, target, false, key, directory, findings);
    }
    for (name, node) in table {
        let at = child(key, name);
        match &mut node.value {
            NodeValue::Table(inner) => read_of_plugin(inner, &at, directory, findings),
            NodeValue::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if let NodeValue::Table(inner) = &mut item.value {
                        read_of_plugin(inner, &format!("{at}[{index}]"), directory, findings);
                    }
                }
            }
            NodeValue::Leaf(_) | NodeValue::Date(_) => {}
        }
    }
}

fn replace(
    table: &mut BTreeMap<String, Node>,
    name: &str,
    target: &str,
    is_list: bool,
    key: &str,
    directory: Option<&Path>,
    findings: &mut Findings,
) {
    // a wrong type is for the check of types to report
    let Some(Node { value: NodeValue::Leaf(Value::String(file)), origin }) = table.get(name) else { return };
    let (file, origin) = (file.clone(), origin.clone());
    table.remove(name);
    let problem = |message: String| Problem::new(child(key, name), message).at(origin.clone());
    if table.contains_key(target) {
        findings.problems.push(problem(format!("says the same as {target}; keep one of them")));
        return;
    }
    let path = match directory {
        Some(directory) => directory.join(&file),
        None => PathBuf::from(&file),
    };
    match read_secret(&path) {
        Ok(secret) => {
            if secret.open_to_others {
                findings.warnings.push(
                    problem(format!("{} can be read by every user of this machine", path.display()))
                        .hint("chmod 600"),
                );
            }
            let value = if is_list {
                let parts = secret.text.split(['\n', ';']).map(str::trim).filter(|part| !part.is_empty());
                NodeValue::List(parts.map(|part| Node::leaf(part, origin.clone())).collect())
            } else {
                NodeValue::Leaf(secret.text.into())
            };
            table.insert(target.to_owned(), Node { value, origin });
        }
        Err(why) => findings.problems.push(problem(format!("{} {why}", path.display()))),
    }
}

struct SecretFile {
    text: String,
    open_to_others: bool,
}

fn read_secret(path: &Path) -> Result<SecretFile, String> {
    let mut file = fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let about = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if !about.is_file() {
        return Err("is no file".to_owned());
    }
    let mut text = String::new();
    file.by_ref()
        .take(LARGEST + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read as text: {error}"))?;
    if text.len() as u64 > LARGEST {
        return Err(format!("is larger than {} KiB", LARGEST >> 10));
    }
    let text = text.trim_end_matches(['\n', '\r']).to_owned();
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(SecretFile { text, open_to_others: about.mode() & 0o004 != 0 })
}
