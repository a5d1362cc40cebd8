//! What a pod owns, so that it goes when the pod goes: service and secret. And the namespace around them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::ManifestError;
use super::labels::Marks;
use crate::fields::Expander;
use crate::traits::Traits;

/// Name of the port that a server listens on.
const PORT: &str = "notebook-port";

/// Certificates of one server, as PEM text.
#[derive(Clone)]
pub struct Certificates {
    /// Private key.
    pub key: String,
    /// Certificate.
    pub certificate: String,
    /// Authority of the servers' certificates.
    pub notebooks_authority: String,
    /// Authority of the hub's certificate.
    pub hub_authority: String,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The reference by which the cluster takes an object away with its pod.
pub fn owner_reference(pod_name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "name": pod_name,
        "uid": uid,
        "blockOwnerDeletion": true,
        "controller": false,
    })
}

/// The port named `notebook-port` of a pod, in whichever container.
pub fn notebook_port(pod: &Value) -> Option<u16> {
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    let ports = containers.iter().filter_map(|container| container.get("ports")?.as_array()).flatten();
    let named = |port: &&Value| port.get("name").and_then(Value::as_str) == Some(PORT);
    let port = ports.into_iter().find(named)?.get("containerPort")?.as_u64()?;
    u16::try_from(port).ok()
}

struct Meta {
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    selector: Map<String, Value>,
}

fn meta(marks: Marks<'_>, traits: &Traits, expand: &Expander<'_>) -> Result<Meta, ManifestError> {
    let extra = expand.map(&traits.extra_labels)?;
    let annotations = marks.annotations(&expand.map(&traits.extra_annotations)?);
    Ok(Meta { labels: marks.labels(&extra), selector: marks.pod_labels(&extra), annotations })
}

/// The service by whose name a server is reached.
pub fn service(
    name: &str,
    port: u16,
    owner: &Value,
    marks: Marks<'_>,
    traits: &Traits,
    expand: &Expander<'_>,
) -> Result<Value, ManifestError> {
    let Meta { labels, annotations, selector } = meta(marks, traits, expand)?;
    Ok(json!({
        "kind": "Service",
        "metadata": {
            "name": name, "labels": labels, "annotations": annotations, "ownerReferences": [owner],
        },
        "spec": {
            "type": "ClusterIP",
            "ports": [{"name": "http", "port": port, "targetPort": port}],
            "selector": selector,
        },
    }))
}

/// The secret with a server's certificates.
pub fn secret(
    name: &str,
    certificates: &Certificates,
    owner: &Value,
    marks: Marks<'_>,
    traits: &Traits,
    expand: &Expander<'_>,
) -> Result<Value, ManifestError> {
    let Meta { labels, annotations, .. } = meta(marks, traits, expand)?;
    let authorities =
        format!("{}\n{}", certificates.notebooks_authority.trim_matches('\n'), certificates.hub_authority);
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name, "labels": labels, "annotations": annotations, "ownerReferences": [owner],
        },
        "data": {
            "ssl.key": STANDARD.encode(&certificates.key),
            "ssl.crt": STANDARD.encode(&certificates.certificate),
            "notebooks-ca_trust.crt": STANDARD.encode(authorities),
        },
    }))
}

/// A namespace for one server.
pub fn namespace(name: &str, traits: &Traits, expand: &Expander<'_>) -> Result<Value, ManifestError> {
    let labels = expand.map(&traits.user_namespace_labels)?;
    let annotations = expand.map(&traits.user_namespace_annotations)?;
    Ok(json!({"metadata": {"name": name, "labels": labels, "annotations": annotations}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_any_container() {
        let pod = json!({"spec": {"containers": [
            {"name": "notebook"},
            {"name": "side", "ports": [{"containerPort": 1}, {"name": "notebook-port", "containerPort": 7777}]},
        ]}});
        assert_eq!(notebook_port(&pod), Some(7777));
        assert_eq!(notebook_port(&json!({"spec": {"containers": []}})), None);
    }

    #[test]
    fn keys_are_not_printed() {
        let certificates = Certificates {
            key: "private".to_owned(),
            certificate: "c".to_owned(),
            notebooks_authority: String::new(),
            hub_authority: String::new(),
        };
        assert!(!format!("{certificates:?}").contains("private"));
    }
}
