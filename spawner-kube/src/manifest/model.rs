//! The fields of the API's objects that options are made of.
//!
//! As in stock, the fields of such an object may be spelled `mountPath` or `mount_path`, unknown ones and missing
//! required ones are refused, and what lies deeper is sent as it is. The check at the start looks deeper.

use serde_json::{Map, Value};

use super::ManifestError;

/// One type of the API.
#[derive(Debug)]
pub(crate) struct Model {
    /// Name of the type.
    pub(crate) name: &'static str,
    fields: &'static str,
    required: &'static [&'static str],
}

impl Model {
    fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.fields.split_ascii_whitespace()
    }

    /// The field as the API spells it.
    fn field(&self, given: &str) -> Option<&'static str> {
        self.fields().find(|field| *field == given || snake(field) == given)
    }

    pub(crate) const CONTAINER: Self = Self {
        name: "Container",
        fields: "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe \
                 resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin \
                 stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
        required: &["name"],
    };
    pub(crate) const POD_SPEC: Self = Self {
        name: "PodSpec",
        fields: "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy \
                 enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname \
                 hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead \
                 preemptionPolicy priority priorityClassName readinessGates resourceClaims resources restartPolicy \
                 runtimeClassName schedulerName schedulingGates schedulingGroup securityContext serviceAccount \
                 serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain \
                 terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes",
        required: &["containers"],
    };
    pub(crate) const VOLUME: Self = Self {
        name: "Volume",
        fields: "awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI emptyDir \
                 ephemeral fc flexVolume flocker gcePersistentDisk gitRepo glusterfs hostPath image iscsi name nfs \
                 persistentVolumeClaim photonPersistentDisk portworxVolume projected quobyte rbd scaleIO secret \
                 storageos vsphereVolume",
        required: &["name"],
    };
    pub(crate) const VOLUME_MOUNT: Self = Self {
        name: "VolumeMount",
        fields: "mountPath mountPropagation name readOnly recursiveReadOnly subPath subPathExpr",
        required: &["mountPath", "name"],
    };
    pub(crate) const ENV_VAR: Self =
        Self { name: "EnvVar", fields: "name value valueFrom", required: &["name"] };
    pub(crate) const TOLERATION: Self =
        Self { name: "Toleration", fields: "effect key operator tolerationSeconds value", required: &[] };
    pub(crate) const LIFECYCLE: Self =
        Self { name: "Lifecycle", fields: "postStart preStop stopSignal", required: &[] };
    pub(crate) const LOCAL_REFERENCE: Self =
        Self { name: "LocalObjectReference", fields: "name", required: &[] };
    pub(crate) const NODE_TERM: Self =
        Self { name: "NodeSelectorTerm", fields: "matchExpressions matchFields", required: &[] };
    pub(crate) const PREFERRED_NODE_TERM: Self = Self {
        name: "PreferredSchedulingTerm",
        fields: "preference weight",
        required: &["preference", "weight"],
    };
    pub(crate) const POD_TERM: Self = Self {
        name: "PodAffinityTerm",
        fields: "labelSelector matchLabelKeys mismatchLabelKeys namespaceSelector namespaces topologyKey",
        required: &["topologyKey"],
    };
    pub(crate) const PREFERRED_POD_TERM: Self = Self {
        name: "WeightedPodAffinityTerm",
        fields: "podAffinityTerm weight",
        required: &["podAffinityTerm", "weight"],
    };
}

/// `hostIPC` is `host_ipc`, `mountPath` is `mount_path`.
fn snake(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 4);
    let mut upper = false;
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !upper {
            out.push('_');
        }
        upper = c.is_ascii_uppercase();
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A table with its fields spelled as the API spells them; nothing is dropped.
pub(crate) fn canonical(model: &Model, value: &Value, at: &str) -> Result<Map<String, Value>, ManifestError> {
    let Value::Object(given) = value else {
        return Err(ManifestError::value(at, format!("must be a table, a {} of the API", model.name)));
    };
    let mut out = Map::new();
    for (key, value) in given {
        let Some(field) = model.field(key) else {
            let known: Vec<&str> = model.fields().collect();
            let text = format!("a {} has no field `{key}`, known are: {}", model.name, known.join(", "));
            return Err(ManifestError::value(at, text));
        };
        out.insert(field.to_owned(), value.clone());
    }
    Ok(out)
}

/// An object of the API: canonical, without fields that are `null`, all required fields present.
pub(crate) fn build(model: &Model, value: &Value, at: &str) -> Result<Value, ManifestError> {
    let mut object = canonical(model, value, at)?;
    object.retain(|_, value| !value.is_null());
    for field in model.required {
        if !object.contains_key(*field) {
            return Err(ManifestError::value(at, format!("a {} needs `{field}`", model.name)));
        }
    }
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_spellings_are_understood_at_the_top_only() {
        let mount = build(
            &Model::VOLUME_MOUNT,
            &json!({"mount_path": "/x", "name": "n", "subPath": null}),
            "volume_mounts[0]",
        );
        assert_eq!(mount, Ok(json!({"mountPath": "/x", "name": "n"})));
        let deep = json!({"name": "c", "security_context": {"run_as_user": 1}});
        let built = json!({"name": "c", "securityContext": {"run_as_user": 1}});
        assert_eq!(build(&Model::CONTAINER, &deep, "x"), Ok(built));
        let acronyms = json!({"host_ipc": true, "set_hostname_as_fqdn": true});
        let spec = canonical(&Model::POD_SPEC, &acronyms, "extra_pod_config").unwrap();
        assert_eq!(Value::Object(spec), json!({"hostIPC": true, "setHostnameAsFQDN": true}));
    }

    #[test]
    fn unknown_and_missing_fields_are_named() {
        let error = build(&Model::VOLUME, &json!({"nam": "x"}), "volumes[2]").unwrap_err().to_string();
        assert!(
            error.starts_with("volumes[2]: a Volume has no field `nam`, known are: awsElastic"),
            "{error}"
        );
        let error = build(&Model::VOLUME_MOUNT, &json!({"name": "x"}), "m").unwrap_err().to_string();
        assert_eq!(error, "m: a VolumeMount needs `mountPath`");
        assert!(build(&Model::VOLUME, &json!("x"), "v").is_err());
    }
}
