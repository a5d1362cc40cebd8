//! Changes of the finished pod: JSON patches and strategic merge patches, each under a condition. They stand in
//! for stock's `modify_pod_hook`.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::condition::Asker;
use crate::traits::PatchRule;

/// Why a patch cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("pod_patches[{index}]: {reason}")]
pub struct PatchError {
    /// Which patch.
    pub index: usize,
    /// What is wrong.
    pub reason: String,
}

/// Applies the patches whose conditions hold, in order; of one entry the JSON patch comes first.
pub fn patch_pod(mut pod: Value, rules: &[PatchRule], asker: &Asker) -> Result<Value, PatchError> {
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.when.holds(asker)) {
        let wrong = |reason: String| PatchError { index, reason };
        if !rule.json.is_empty() {
            let operations = operations(rule).map_err(wrong)?;
            json_patch::patch(&mut pod, &operations).map_err(|error| wrong(error.to_string()))?;
        }
        merge(&mut pod, &rule.merge, "").map_err(wrong)?;
    }
    Ok(pod)
}

/// Whether patches can be read at all; whether they fit shows when there is a pod.
pub fn check_patches(rules: &[PatchRule]) -> Result<(), PatchError> {
    for (index, rule) in rules.iter().enumerate() {
        operations(rule).map_err(|reason| PatchError { index, reason })?;
        if rule.json.is_empty() && rule.merge.is_empty() {
            return Err(PatchError { index, reason: "needs `json` or `merge`".to_owned() });
        }
    }
    Ok(())
}

fn operations(rule: &PatchRule) -> Result<json_patch::Patch, String> {
    let list = rule.json.iter().cloned().map(Value::Object).collect();
    serde_json::from_value(Value::Array(list)).map_err(|error| format!("json: {error}"))
}

/// The field by which the API tells the items of a list apart; none for lists that are replaced as a whole.
fn merge_key(list: &str, items: &[Value]) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" => "containerPort",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        "ownerReferences" => "uid",
        _ => return None,
    })
    .filter(|key| items.iter().all(|item| item.get(key).is_some()))
}

/// A strategic merge: tables entry by entry, `null` removes, lists of objects by their key, `$patch` of `replace` or
/// `delete` as in the API.
fn merge(target: &mut Value, patch: &Map<String, Value>, path: &str) -> Result<(), String> {
    if patch.is_empty() {
        return Ok(());
    }
    let Value::Object(target) = target else { return Err(format!("{path} is no table")) };
    for (key, change) in patch {
        let path = format!("{path}/{key}");
        match change {
            Value::Null => {
                target.shift_remove(key);
            }
            Value::Object(change) => merge_table(target, key, change, &path)?,
            Value::Array(items) => {
                let old = match target.get_mut(key) {
                    Some(Value::Array(old)) => std::mem::take(old),
                    _ => Vec::new(),
                };
                target.insert(key.clone(), Value::Array(merge_list(old, key, items, &path)?));
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
    Ok(())
}

fn merge_table(
    target: &mut Map<String, Value>,
    key: &str,
    change: &Map<String, Value>,
    path: &str,
) -> Result<(), String> {
    let (directive, rest) = split_directive(change);
    match directive {
        Some("delete") => {
            target.shift_remove(key);
        }
        Some("replace") => {
            target.insert(key.to_owned(), Value::Object(rest));
        }
        None | Some("merge") => {
            let entry = target.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            merge(entry, &rest, path)?;
        }
        Some(other) => return Err(format!("{path}: unknown `$patch` {other:?}")),
    }
    Ok(())
}

fn split_directive(change: &Map<String, Value>) -> (Option<&str>, Map<String, Value>) {
    let directive = change.get("$patch").and_then(Value::as_str);
    let rest =
        change.iter().filter(|(key, _)| *key != "$patch").map(|(k, v)| (k.clone(), v.clone())).collect();
    (directive, rest)
}

fn merge_list(mut old: Vec<Value>, name: &str, items: &[Value], path: &str) -> Result<Vec<Value>, String> {
    let whole = |item: &Value| item.get("$patch").and_then(Value::as_str) == Some("replace");
    let entries =
        || items.iter().filter(|item| item.as_object().is_none_or(|map| map.len() != 1 || !whole(item)));
    if items.iter().any(|item| whole(item) && item.as_object().is_some_and(|map| map.len() == 1)) {
        return Ok(entries().cloned().collect());
    }
    let Some(key) = merge_key(name, items) else { return Ok(items.to_vec()) };
    for item in items {
        let Value::Object(change) = item else { return Err(format!("{path}: items must be tables")) };
        let (directive, rest) = split_directive(change);
        let same = |other: &Value| other.get(key) == item.get(key);
        let at = old.iter().position(same);
        match (directive, at.and_then(|at| old.get_mut(at))) {
            (Some("delete"), _) => old.retain(|other| !same(other)),
            (Some("replace"), Some(found)) => *found = Value::Object(rest),
            (None | Some("merge"), Some(found)) => merge(found, &rest, path)?,
            (None | Some("merge" | "replace"), None) => old.push(Value::Object(rest)),
            (Some(other), _) => return Err(format!("{path}: unknown `$patch` {other:?}")),
        }
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(value: Value) -> Vec<PatchRule> {
        serde_json::from_value(value).unwrap()
    }

    fn pod() -> Value {
        json!({"spec": {
            "containers": [{"name": "notebook", "image": "a", "env": [{"name": "A", "value": "1"}]}, {"name": "side"}],
            "tolerations": [{"key": "x"}],
        }})
    }

    #[test]
    fn lists_are_merged_by_name() {
        let patched = patch_pod(
            pod(),
            &rules(json!([{"merge": {"spec": {
                "containers": [
                    {"name": "notebook", "env": [{"name": "B", "value": "2"}, {"name": "A", "$patch": "delete"}]},
                    {"name": "side", "$patch": "delete"},
                    {"name": "new"},
                ],
                "tolerations": [{"key": "y"}],
                "hostname": "h",
            }}}])),
            &Asker::default(),
        );
        assert_eq!(
            patched,
            Ok(json!({"spec": {
                "containers": [
                    {"name": "notebook", "image": "a", "env": [{"name": "B", "value": "2"}]},
                    {"name": "new"},
                ],
                "tolerations": [{"key": "y"}],
                "hostname": "h",
            }}))
        );
    }

    #[test]
    fn lists_and_tables_can_be_replaced() {
        let patched = patch_pod(
            pod(),
            &rules(json!([{"merge": {"spec": {"containers": [{"$patch": "replace"}, {"name": "only"}]}}},
                {"merge": {"spec": {"$patch": "replace", "x": 1}}}])),
            &Asker::default(),
        );
        assert_eq!(patched, Ok(json!({"spec": {"x": 1}})));
    }

    #[test]
    fn patches_come_in_order_and_only_where_their_condition_holds() {
        let rules = rules(json!([
            {"json": [{"op": "replace", "path": "/spec/containers/0/image", "value": "b"}]},
            {"when": {"users": ["bob"]}, "json": [{"op": "remove", "path": "/spec"}]},
            {"json": [{"op": "test", "path": "/spec/containers/0/image", "value": "b"},
                      {"op": "add", "path": "/spec/containers/0/image", "value": "c"}]},
        ]));
        let patched =
            patch_pod(pod(), &rules, &Asker { user: "alice".to_owned(), ..Asker::default() }).unwrap();
        assert_eq!(patched.pointer("/spec/containers/0/image"), Some(&json!("c")));
    }

    #[test]
    fn patches_that_do_not_fit_say_which_and_why() {
        let missing = rules(json!([{}, {"json": [{"op": "remove", "path": "/nosuch"}]}]));
        let error = patch_pod(pod(), &missing, &Asker::default()).unwrap_err();
        assert_eq!(error.index, 1);
        assert_eq!(
            check_patches(&missing).unwrap_err().to_string(),
            "pod_patches[0]: needs `json` or `merge`"
        );
        assert!(check_patches(&rules(json!([{"json": [{"op": "fly"}]}]))).is_err());
    }
}
