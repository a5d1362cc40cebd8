//! What is kept of each pod. A hub may see thousands: only what is asked for later stays.

use std::sync::Arc;

use hub_core::{ServerKey, ServerName, UserName};
use serde_json::{Map, Value};

use crate::manifest::CERTIFICATES;
use crate::status::{crash_loop, end_of};

/// Annotations that tell whose a pod is.
pub(crate) const USER: &str = "hub.jupyter.org/username";
pub(crate) const SERVER: &str = "hub.jupyter.org/servername";
/// Annotation with the id of the start that made a pod: only this program sets it.
pub(crate) const LAUNCH: &str = "hub.jupyter.org/himalia-launch";
/// Annotation with the id of the hub whose pod it is: only this program sets it.
pub(crate) const HUB: &str = "hub.jupyter.org/himalia-hub";

const METADATA: [&str; 6] =
    ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
const ANNOTATIONS: [&str; 4] = [USER, SERVER, LAUNCH, HUB];
const STATUS: [&str; 5] = ["phase", "reason", "message", "podIP", "nominatedNodeName"];
const CONTAINER: [&str; 6] = ["name", "image", "ready", "restartCount", "state", "lastState"];
const CONDITION: [&str; 4] = ["type", "status", "reason", "message"];

/// One pod as it is kept: written down, because thousands of parsed ones would take ten times the memory, and most are
/// looked at twice a minute.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: Box<str>,
    pub(super) uid: Box<str>,
    /// Whether the hub should look at the server.
    pub(super) ended: bool,
    text: Box<str>,
}

impl Kept {
    pub(super) fn new(object: &Value) -> Self {
        let pod = trim(object);
        Self {
            name: name(&pod).into(),
            uid: uid(&pod).into(),
            ended: end_of(&pod).is_some() || crash_loop(&pod).is_some(),
            text: pod.to_string().into(),
        }
    }

    pub(super) fn pod(&self) -> Arc<Value> {
        Arc::new(serde_json::from_str(&self.text).expect("what was written down as JSON is JSON"))
    }
}

/// The parts of a pod that are asked for later, in their usual places.
fn trim(pod: &Value) -> Value {
    let mut metadata = pick(pod.get("metadata"), &METADATA);
    let annotations = pick(pod.pointer("/metadata/annotations"), &ANNOTATIONS);
    metadata.insert("annotations".to_owned(), annotations.into());
    let mut spec = pick(pod.get("spec"), &["nodeName", "restartPolicy"]);
    let containers = each(pod.pointer("/spec/containers"), |container| pick(container, &["name", "ports"]));
    spec.extend(containers.map(|list| ("containers".to_owned(), list)));
    let mut status = pick(pod.get("status"), &STATUS);
    for list in ["containerStatuses", "initContainerStatuses"] {
        let kept = each(pod.pointer(&format!("/status/{list}")), |container| pick(container, &CONTAINER));
        status.extend(kept.map(|kept| (list.to_owned(), kept)));
    }
    let conditions = each(pod.pointer("/status/conditions"), |condition| pick(condition, &CONDITION));
    status.extend(conditions.map(|list| ("conditions".to_owned(), list)));
    let parts = [("metadata", metadata), ("spec", spec), ("status", status)];
    Value::Object(parts.into_iter().map(|(name, part)| (name.to_owned(), part.into())).collect())
}

fn pick(value: Option<&Value>, names: &[&str]) -> Map<String, Value> {
    let Some(Value::Object(map)) = value else { return Map::new() };
    names.iter().filter_map(|name| Some(((*name).to_owned(), map.get(*name)?.clone()))).collect()
}

fn each(list: Option<&Value>, keep: impl Fn(Option<&Value>) -> Map<String, Value>) -> Option<Value> {
    let Some(Value::Array(items)) = list else { return None };
    Some(items.iter().map(|item| Value::Object(keep(Some(item)))).collect())
}

/// A text in an object; empty when there is none.
pub(crate) fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// An annotation of an object; empty when there is none.
pub(crate) fn annotation<'v>(object: &'v Value, name: &str) -> &'v str {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(|all| all.get(name)).and_then(Value::as_str).unwrap_or_default()
}

/// Name of an object.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Identity of an object.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Whose server a pod is; none when it does not say so.
pub(crate) fn key(pod: &Value) -> Option<ServerKey> {
    let user = Some(annotation(pod, USER)).filter(|user| !user.is_empty())?;
    Some(ServerKey::new(UserName::stored(user), ServerName::stored(annotation(pod, SERVER))))
}

/// Whether an object, by its annotations, belongs to this server. Everything else is foreign and is left alone.
pub(crate) fn belongs_to(object: &Value, key: &ServerKey) -> bool {
    self::key(object).is_some_and(|found| found == *key)
}

/// Whether a pod, whole as the cluster has it, has a certificate.
pub(crate) fn has_certificates(pod: &Value) -> bool {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    volumes.into_iter().flatten().any(|volume| text(volume, "/name") == CERTIFICATES)
}

/// Whether the cluster has been asked to delete it.
pub(crate) fn is_ending(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_cut_down_to_what_is_asked_for() {
        let pod = json!({
            "metadata": {"name": "p", "uid": "u", "managedFields": [1], "labels": {"a": "b"},
                "annotations": {USER: "Ann", SERVER: "lab", "other": "x"}},
            "spec": {"nodeName": "n", "restartPolicy": "OnFailure", "volumes": [1], "containers": [
                {"name": "notebook", "env": [1], "ports": [{"name": "notebook-port", "containerPort": 8888}]}]},
            "status": {"phase": "Running", "hostIP": "1", "podIP": "2", "containerStatuses": [
                {"name": "notebook", "imageID": "x", "ready": true, "state": {"running": {}}}],
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}]},
        });
        let kept = trim(&pod);
        assert_eq!(
            kept,
            json!({
                "metadata": {"name": "p", "uid": "u", "annotations": {USER: "Ann", SERVER: "lab"}},
                "spec": {"nodeName": "n", "restartPolicy": "OnFailure", "containers": [
                    {"name": "notebook", "ports": [{"name": "notebook-port", "containerPort": 8888}]}]},
                "status": {"phase": "Running", "podIP": "2",
                    "containerStatuses": [{"name": "notebook", "ready": true, "state": {"running": {}}}],
                    "conditions": [{"type": "Ready", "status": "True"}]},
            })
        );
        assert_eq!(key(&kept).unwrap().to_string(), key(&pod).unwrap().to_string());
        assert!(belongs_to(&kept, &ServerKey::new(UserName::stored("Ann"), ServerName::stored("lab"))));
        assert!(!belongs_to(&kept, &ServerKey::new(UserName::stored("Ann"), ServerName::default())));
    }

    #[test]
    fn a_pod_that_names_nobody_belongs_to_nobody() {
        let pod = json!({"metadata": {"name": "jupyter-ann"}});
        assert_eq!(key(&pod), None);
        assert!(!belongs_to(&pod, &ServerKey::new(UserName::stored(""), ServerName::default())));
    }
}
