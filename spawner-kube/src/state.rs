//! What is kept about a server in `spawners.state`, in stock's shape.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Key of the id of the start that made the pod. Stock ignores keys that it does not know.
pub(crate) const LAUNCH: &str = "himalia_launch";
/// Key of the digest of the options that it was made with.
pub(crate) const OPTIONS: &str = "himalia_options";

/// Key that says that the pod speaks TLS. Stock needs none: all pods of a hub do, or none.
pub(crate) const TLS: &str = "himalia_tls";

/// A state without what belongs to one run only: what stock would keep of it.
pub(crate) fn shown(mut state: Value) -> Value {
    if let Value::Object(map) = &mut state {
        map.remove(LAUNCH);
        map.remove(OPTIONS);
        map.remove(TLS);
    }
    state
}

/// The saved state. Keys that we do not know are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedState {
    /// Version of the KubeSpawner whose shape this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubespawner_version: Option<String>,
    /// Name of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// Name of the claim, once it is known to exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvc_name: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl SavedState {
    /// Reads a state; one that cannot be read is as none.
    pub fn read(state: &Value) -> Self {
        let Value::Object(map) = state else { return Self::default() };
        let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
        let known = ["kubespawner_version", "pod_name", "namespace", "dns_name", "pvc_name"];
        Self {
            kubespawner_version: text("kubespawner_version"),
            pod_name: text("pod_name"),
            namespace: text("namespace"),
            dns_name: text("dns_name"),
            pvc_name: text("pvc_name"),
            other: map
                .iter()
                .filter(|(key, _)| !known.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }
    }

    /// The version that wrote it; `unknown` for state without one, which is older than 7; none when there is none.
    pub fn version(&self) -> Option<String> {
        if self.kubespawner_version.is_some() {
            return self.kubespawner_version.clone();
        }
        (*self != Self::default()).then(|| "unknown".to_owned())
    }

    /// Whether a start of ours made a pod that speaks TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.other.get(TLS).and_then(Value::as_bool).unwrap_or_default()
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_come_back_with_keys_that_are_not_ours() {
        let state = json!({"pod_name": "p", "namespace": "n", "mine": [1]});
        let read = SavedState::read(&state);
        assert_eq!(read.version().as_deref(), Some("unknown"));
        assert_eq!(read.to_json(), state);
        assert_eq!(SavedState::read(&Value::Null).version(), None);
        assert_eq!(
            SavedState::read(&json!({"kubespawner_version": "7.1.0"})).version().as_deref(),
            Some("7.1.0")
        );
    }
}
