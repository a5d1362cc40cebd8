//! The check of literal values against the types of the API, so that a typing error in a pod is found when the hub
//! starts and not when somebody's server does not.

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::manifest::{Model, build, canonical};
use crate::traits::Traits;

/// Something that does not fit, with its path.
pub(crate) type Finding = (String, String);
type Check = fn(&Value, &str, &mut Vec<Finding>);

enum Shape {
    /// A list of whole objects.
    Items(&'static Model, Check),
    /// Some fields of an object.
    Fields(&'static Model, Check),
    /// An object that has no second spelling.
    Plain(Check),
    /// A table of texts.
    Texts,
}

fn shape(name: &str) -> Option<Shape> {
    Some(match name {
        "volumes" => Shape::Items(&Model::VOLUME, fits::<api::Volume>),
        "volume_mounts" => Shape::Items(&Model::VOLUME_MOUNT, fits::<api::VolumeMount>),
        "init_containers" | "extra_containers" => Shape::Items(&Model::CONTAINER, fits::<api::Container>),
        "tolerations" => Shape::Items(&Model::TOLERATION, fits::<api::Toleration>),
        "node_affinity_required" => Shape::Items(&Model::NODE_TERM, fits::<api::NodeSelectorTerm>),
        "node_affinity_preferred" => {
            Shape::Items(&Model::PREFERRED_NODE_TERM, fits::<api::PreferredSchedulingTerm>)
        }
        "pod_affinity_required" | "pod_anti_affinity_required" => {
            Shape::Items(&Model::POD_TERM, fits::<api::PodAffinityTerm>)
        }
        "pod_affinity_preferred" | "pod_anti_affinity_preferred" => {
            Shape::Items(&Model::PREFERRED_POD_TERM, fits::<api::WeightedPodAffinityTerm>)
        }
        "lifecycle_hooks" => Shape::Fields(&Model::LIFECYCLE, fits::<api::Lifecycle>),
        "extra_container_config" => Shape::Fields(&Model::CONTAINER, fits::<api::Container>),
        "extra_pod_config" => Shape::Fields(&Model::POD_SPEC, fits::<api::PodSpec>),
        "container_security_context" => Shape::Plain(fits::<api::SecurityContext>),
        "pod_security_context" => Shape::Plain(fits::<api::PodSecurityContext>),
        "storage_selector" => Shape::Plain(fits::<LabelSelector>),
        "node_selector"
        | "common_labels"
        | "extra_labels"
        | "extra_annotations"
        | "storage_extra_labels"
        | "storage_extra_annotations"
        | "user_namespace_labels"
        | "user_namespace_annotations" => Shape::Texts,
        _ => return None,
    })
}

/// Checks one option. `at` is its path.
pub(crate) fn check_option(traits: &Traits, name: &str, at: &str, found: &mut Vec<Finding>) {
    let Some(value) = traits.get(name) else { return };
    if name == "environment" {
        return check_environment(&value, at, found);
    }
    match (shape(name), value) {
        (Some(Shape::Items(model, fits)), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                check_item(model, fits, item, &format!("{at}[{index}]"), found);
            }
        }
        (Some(Shape::Items(model, fits)), Value::Object(items)) => {
            for (key, item) in &items {
                check_item(model, fits, item, &format!("{at}.{key}"), found);
            }
        }
        (Some(Shape::Fields(model, fits)), value) => match canonical(model, &value, at) {
            Ok(object) => fits(&known_to(model, object), at, found),
            Err(error) => found.push((at.to_owned(), told(&error.to_string(), at))),
        },
        (Some(Shape::Plain(fits)), value) => fits(&value, at, found),
        (Some(Shape::Texts), Value::Object(map)) => {
            for (key, value) in map.iter().filter(|(_, value)| !value.is_string()) {
                found.push((format!("{at}.{key}"), format!("{value} must be a text: put it in quotes")));
            }
        }
        _ => {}
    }
}

fn check_environment(value: &Value, at: &str, found: &mut Vec<Finding>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        match value {
            Value::String(_) | Value::Null => {}
            Value::Object(map) => {
                let mut map = map.clone();
                map.entry("name").or_insert_with(|| key.as_str().into());
                check_item(&Model::ENV_VAR, fits::<api::EnvVar>, &Value::Object(map), &at, found);
            }
            other => found.push((at, format!("{other} must be a text: put it in quotes"))),
        }
    }
}

fn check_item(model: &Model, fits: Check, item: &Value, at: &str, found: &mut Vec<Finding>) {
    match build(model, item, at) {
        Ok(Value::Object(object)) => fits(&known_to(model, object), at, found),
        Ok(_) => {}
        Err(error) => found.push((at.to_owned(), told(&error.to_string(), at))),
    }
}

/// An error without the path that it repeats.
fn told(error: &str, at: &str) -> String {
    error.strip_prefix(at).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(error).to_owned()
}

/// Without top-level fields that are newer than the types: those were checked by name already.
fn known_to(model: &Model, mut object: Map<String, Value>) -> Value {
    const NEWER: [(&str, &str); 3] = [
        ("PodSpec", "hostnameOverride"),
        ("PodSpec", "schedulingGroup"),
        ("Container", "restartPolicyRules"),
    ];
    object.retain(|field, _| !NEWER.contains(&(model.name, field.as_str())));
    Value::Object(object)
}

/// Whether a value is one of the API's type `T`: types of its fields, and no field that nobody knows.
fn fits<T: DeserializeOwned + Serialize>(value: &Value, at: &str, found: &mut Vec<Finding>) {
    let value = without_nulls(value);
    match serde_json::from_value::<T>(value.clone()) {
        Err(error) => {
            let path = culprit(&value, at, &|value| serde_json::from_value::<T>(value.clone()).is_err());
            found.push((path, error.to_string()));
        }
        Ok(read) => {
            if let Ok(written) = serde_json::to_value(read) {
                lost(&value, &written, at, found);
            }
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect(),
        ),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Path of the part without which nothing is wrong any more.
fn culprit(value: &Value, at: &str, wrong: &dyn Fn(&Value) -> bool) -> String {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let mut rest = map.clone();
                rest.shift_remove(key);
                if wrong(&Value::Object(rest)) {
                    continue;
                }
                let inside = |changed: &Value| {
                    let mut copy = map.clone();
                    copy.insert(key.clone(), changed.clone());
                    wrong(&Value::Object(copy))
                };
                return culprit(inner, &format!("{at}.{key}"), &inside);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                let only = |changed: &Value| wrong(&Value::Array(vec![changed.clone()]));
                if only(inner) {
                    return culprit(inner, &format!("{at}[{index}]"), &only);
                }
            }
        }
        _ => {}
    }
    at.to_owned()
}

/// Fields that reading as the API's type has dropped.
fn lost(given: &Value, kept: &Value, at: &str, found: &mut Vec<Finding>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (key, value) in given {
                let path = format!("{at}.{key}");
                match kept.get(key) {
                    Some(kept) => lost(value, kept, &path, found),
                    None if is_empty(value) => {}
                    None => found.push((
                        path,
                        "no such field in the API of Kubernetes; if your cluster is newer than this hub, set \
                         `check_manifests = false`"
                            .to_owned(),
                    )),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            for (index, (given, kept)) in given.iter().zip(kept).enumerate() {
                lost(given, kept, &format!("{at}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn findings(name: &str, value: Value) -> Vec<String> {
        let mut traits = Traits::default();
        assert_eq!(traits.set(name, value), Ok(true));
        let mut found = Vec::new();
        check_option(&traits, name, name, &mut found);
        found.into_iter().map(|(path, text)| format!("{path}: {text}")).collect()
    }

    #[rstest]
    #[case("volumes", json!([{"name": "v", "secret": {"noSuchField": 1}}]), "volumes[0].secret.noSuchField: no such field")]
    #[case("volumes", json!({"a": {"name": "v", "emptyDir": {"medium": 5}}}), "volumes.a.emptyDir.medium: invalid type")]
    #[case("volumes", json!([{"nam": "v"}]), "volumes[0]: a Volume has no field `nam`")]
    #[case("volume_mounts", json!([{"name": "v"}]), "volume_mounts[0]: a VolumeMount needs `mountPath`")]
    #[case("init_containers", json!([{"name": "i", "command": "sh"}]), "init_containers[0].command: invalid type")]
    #[case("init_containers", json!([{"name": "i", "env": [{"name": "A"}, {"name": "B", "value": 1}]}]), "init_containers[0].env[1].value: invalid type")]
    #[case("extra_pod_config", json!({"enableServiceLinks": "no"}), "extra_pod_config.enableServiceLinks: invalid type")]
    #[case("extra_container_config", json!({"env_from": [{"secretRef": {"nome": "x"}}]}), "extra_container_config.envFrom[0].secretRef.nome: no such field")]
    #[case("node_selector", json!({"gpu": true}), "node_selector.gpu: true must be a text")]
    #[case("environment", json!({"A": 1}), "environment.A: 1 must be a text")]
    #[case("environment", json!({"A": {"valueFrom": {"secretRef": {"name": "x"}}}}), "environment.A.valueFrom.secretRef: no such field")]
    #[case("pod_security_context", json!({"fsGroup": "9"}), "pod_security_context.fsGroup: invalid type")]
    #[case("tolerations", json!([{"tolerationSeconds": "5"}]), "tolerations[0].tolerationSeconds: invalid type")]
    fn mistakes_are_found_with_their_path(#[case] name: &str, #[case] value: Value, #[case] text: &str) {
        let found = findings(name, value);
        assert!(found.len() == 1 && found.iter().all(|f| f.starts_with(text)), "{found:?}");
    }

    #[rstest]
    #[case("volumes", json!([{"name": "{username}", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}]))]
    #[case("extra_pod_config", json!({"hostnameOverride": "x", "terminationGracePeriodSeconds": 5, "dnsConfig": null}))]
    #[case("extra_container_config", json!({"resources": {"limits": {"cpu": "1"}}, "ports": [{"containerPort": 1}]}))]
    #[case("environment", json!({"A": "x", "B": {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}}))]
    #[case("lifecycle_hooks", json!({"preStop": {"exec": {"command": ["x"]}}}))]
    fn what_the_api_knows_is_accepted(#[case] name: &str, #[case] value: Value) {
        assert_eq!(findings(name, value), Vec::<String>::new());
    }
}
