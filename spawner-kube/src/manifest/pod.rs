//! The pod. Answers to `kubespawner.objects.make_pod`.

use serde_json::{Map, Number, Value, json};

use super::labels::Marks;
use super::model::{Model, build, canonical};
use super::{ManifestError, env};
use crate::fields::Expander;
use crate::traits::{Items, Traits};

/// Volume with the certificates of `internal_ssl`.
pub(crate) const CERTIFICATES: &str = "jupyterhub-internal-certs";

/// What a pod is made of besides the options.
#[derive(Debug, Clone)]
pub struct PodParts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whose it is.
    pub marks: Marks<'a>,
    /// The environment.
    pub env: Map<String, Value>,
    /// Secret with certificates, with `internal_ssl`.
    pub certificates: Option<&'a str>,
}

/// Builds the pod.
pub fn pod(parts: PodParts<'_>, traits: &Traits, expand: &Expander<'_>) -> Result<Value, ManifestError> {
    let extra_labels = expand.map(&traits.extra_labels)?;
    let extra_annotations = expand.map(&traits.extra_annotations)?;
    let metadata = json!({
        "name": parts.name,
        "labels": parts.marks.pod_labels(&extra_labels),
        "annotations": parts.marks.annotations(&extra_annotations),
    });
    let mut volumes = expand.list(&traits.volumes.sorted())?;
    let mut mounts = expand.list(&traits.volume_mounts.sorted())?;
    let mut environment = parts.env;
    if let Some(secret) = parts.certificates.filter(|_| !traits.secret_mount_path.is_empty()) {
        let path = &traits.secret_mount_path;
        volumes.push(json!({"name": CERTIFICATES, "secret": {"secretName": secret, "defaultMode": 511}}));
        mounts.push(json!({"name": CERTIFICATES, "mountPath": path}));
        for (name, file) in [
            ("JUPYTERHUB_SSL_KEYFILE", "ssl.key"),
            ("JUPYTERHUB_SSL_CERTFILE", "ssl.crt"),
            ("JUPYTERHUB_SSL_CLIENT_CA", "notebooks-ca_trust.crt"),
        ] {
            environment.insert(name.to_owned(), format!("{path}{file}").into());
        }
    }

    let mut spec = Map::new();
    spec.insert("restartPolicy".to_owned(), "OnFailure".into());
    spec.insert("imagePullSecrets".to_owned(), pull_secrets(traits)?);
    put(&mut spec, "securityContext", pod_security(traits)?);
    put(&mut spec, "nodeSelector", Value::Object(traits.node_selector.clone()));
    service_account(&mut spec, traits, expand)?;
    let mut containers = vec![notebook(traits, &environment, &mounts)?];
    containers.extend(objects(
        &Model::CONTAINER,
        &expand.list(&traits.extra_containers.sorted())?,
        "extra_containers",
    )?);
    spec.insert("containers".to_owned(), containers.into());
    let init =
        objects(&Model::CONTAINER, &expand.list(&traits.init_containers.sorted())?, "init_containers")?;
    put(&mut spec, "initContainers", init.into());
    put(&mut spec, "tolerations", items(&Model::TOLERATION, &traits.tolerations, "tolerations")?);
    spec.insert("volumes".to_owned(), objects(&Model::VOLUME, &volumes, "volumes")?.into());
    put(&mut spec, "schedulerName", text(traits.scheduler_name.as_deref()));
    put(&mut spec, "affinity", affinity(traits)?);
    put(&mut spec, "priorityClassName", text(Some(&traits.priority_class_name)));
    replace(&mut spec, &Model::POD_SPEC, expand.map(&traits.extra_pod_config)?, "extra_pod_config")?;

    Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

/// Sets a field unless there is nothing to set.
fn put(object: &mut Map<String, Value>, field: &str, value: Value) {
    let empty = match &value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if !empty {
        object.insert(field.to_owned(), value);
    }
}

fn text(text: Option<&str>) -> Value {
    text.filter(|text| !text.is_empty()).map_or(Value::Null, Value::from)
}

fn objects(model: &Model, items: &[Value], at: &str) -> Result<Vec<Value>, ManifestError> {
    items.iter().enumerate().map(|(index, item)| build(model, item, &format!("{at}[{index}]"))).collect()
}

/// Items that are no templates.
fn items(model: &Model, items: &Items, at: &str) -> Result<Value, ManifestError> {
    Ok(objects(model, &items.sorted(), at)?.into())
}

/// Replaces top-level fields of a finished object. A field set to `null` is removed.
fn replace(
    object: &mut Map<String, Value>,
    model: &Model,
    changes: Map<String, Value>,
    at: &str,
) -> Result<(), ManifestError> {
    for (field, value) in canonical(model, &Value::Object(changes), at)? {
        if value.is_null() {
            if matches!(field.as_str(), "name" | "containers") {
                return Err(ManifestError::value(at, format!("`{field}` cannot be taken away")));
            }
            object.shift_remove(&field);
        } else {
            object.insert(field, value);
        }
    }
    Ok(())
}

fn pull_secrets(traits: &Traits) -> Result<Value, ManifestError> {
    let references = traits.image_pull_secrets.0.iter().enumerate().map(|(index, item)| match item {
        Value::String(name) => Ok(json!({"name": name})),
        other => build(&Model::LOCAL_REFERENCE, other, &format!("image_pull_secrets[{index}]")),
    });
    Ok(references.collect::<Result<Vec<_>, _>>()?.into())
}

fn service_account(
    spec: &mut Map<String, Value>,
    traits: &Traits,
    expand: &Expander<'_>,
) -> Result<(), ManifestError> {
    if let Some(account) = &traits.service_account {
        spec.insert("serviceAccountName".to_owned(), expand.text(account)?.into());
    }
    // Without an account of its own a pod would get the namespace's default one, and with it a way into the API.
    let automount =
        traits.automount_service_account_token.or(traits.service_account.is_none().then_some(false));
    if let Some(automount) = automount {
        spec.insert("automountServiceAccountToken".to_owned(), automount.into());
    }
    Ok(())
}

fn pod_security(traits: &Traits) -> Result<Value, ManifestError> {
    let mut context = Map::new();
    if let Some(gid) = traits.fs_gid {
        context.insert("fsGroup".to_owned(), gid.into());
    }
    if !traits.supplemental_gids.is_empty() {
        let gids: Result<Vec<Value>, _> =
            traits.supplemental_gids.iter().enumerate().map(|(index, gid)| group_id(gid, index)).collect();
        context.insert("supplementalGroups".to_owned(), gids?.into());
    }
    camel_only(&traits.pod_security_context, "pod_security_context")?;
    context.extend(traits.pod_security_context.clone());
    Ok(Value::Object(context))
}

/// A number, or a text that holds one.
fn group_id(gid: &Value, index: usize) -> Result<Value, ManifestError> {
    let number = match gid {
        Value::Number(number) => number.as_i64().or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "the fraction is dropped as stock drops it")]
            number.as_f64().filter(|n| n.abs() < 1e15).map(|n| n as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(on) => Some(i64::from(*on)),
        _ => None,
    };
    let at = || format!("supplemental_gids[{index}]");
    number
        .map(Value::from)
        .ok_or_else(|| ManifestError::value(at(), format!("{gid} is no number of a group")))
}

fn container_security(traits: &Traits) -> Result<Value, ManifestError> {
    let mut context = Map::new();
    if let Some(uid) = traits.uid {
        context.insert("runAsUser".to_owned(), uid.into());
    }
    if let Some(gid) = traits.gid {
        context.insert("runAsGroup".to_owned(), gid.into());
    }
    if traits.privileged {
        context.insert("privileged".to_owned(), true.into());
    }
    if let Some(allowed) = traits.allow_privilege_escalation {
        context.insert("allowPrivilegeEscalation".to_owned(), allowed.into());
    }
    camel_only(&traits.container_security_context, "container_security_context")?;
    context.extend(traits.container_security_context.clone());
    Ok(Value::Object(context))
}

fn camel_only(context: &Map<String, Value>, at: &str) -> Result<(), ManifestError> {
    match context.keys().find(|key| key.contains('_')) {
        Some(key) => Err(ManifestError::value(at, format!("`{key}`: write it as the API does, `runAsUser`"))),
        None => Ok(()),
    }
}

fn notebook(traits: &Traits, env: &Map<String, Value>, mounts: &[Value]) -> Result<Value, ManifestError> {
    let mut container = Map::new();
    let mut set = |field: &str, value: Value| container.insert(field.to_owned(), value);
    set("name", "notebook".into());
    set("image", traits.image.clone().into());
    set("ports", json!([{"name": "notebook-port", "containerPort": traits.port}]));
    set("env", env::list(env)?.into());
    if let Some(directory) = &traits.working_dir {
        set("workingDir", directory.clone().into());
    }
    if let Some(command) = traits.cmd.0.as_ref().filter(|command| !command.is_empty()) {
        set("args", command.iter().chain(&traits.args).cloned().collect::<Vec<_>>().into());
    }
    if let Some(policy) = &traits.image_pull_policy {
        set("imagePullPolicy", policy.clone().into());
    }
    let lifecycle = if traits.lifecycle_hooks.is_empty() {
        json!({})
    } else {
        build(&Model::LIFECYCLE, &Value::Object(traits.lifecycle_hooks.clone()), "lifecycle_hooks")?
    };
    set("lifecycle", lifecycle);
    let limits = resources(traits.cpu_limit, traits.mem_limit.0, &traits.extra_resource_limits);
    let requests = resources(traits.cpu_guarantee, traits.mem_guarantee.0, &traits.extra_resource_guarantees);
    set("resources", json!({"limits": limits, "requests": requests}));
    set("volumeMounts", objects(&Model::VOLUME_MOUNT, mounts, "volume_mounts")?.into());
    put(&mut container, "securityContext", container_security(traits)?);
    replace(
        &mut container,
        &Model::CONTAINER,
        traits.extra_container_config.clone(),
        "extra_container_config",
    )?;
    Ok(Value::Object(container))
}

fn resources(cores: Option<f64>, bytes: Option<i64>, extra: &Map<String, Value>) -> Map<String, Value> {
    let mut resources = Map::new();
    if let Some(cores) = cores.filter(|cores| *cores != 0.0).and_then(Number::from_f64) {
        resources.insert("cpu".to_owned(), Value::Number(cores));
    }
    if let Some(bytes) = bytes.filter(|bytes| *bytes != 0) {
        resources.insert("memory".to_owned(), bytes.into());
    }
    resources.extend(extra.clone());
    resources
}

fn affinity(traits: &Traits) -> Result<Value, ManifestError> {
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let pods = |preferred: &Items, required: &Items, name: &str| {
        let mut terms = Map::new();
        put(
            &mut terms,
            PREFERRED,
            items(&Model::PREFERRED_POD_TERM, preferred, &format!("{name}_preferred"))?,
        );
        put(&mut terms, REQUIRED, items(&Model::POD_TERM, required, &format!("{name}_required"))?);
        Ok::<_, ManifestError>(Value::Object(terms))
    };
    let mut nodes = Map::new();
    let preferred =
        items(&Model::PREFERRED_NODE_TERM, &traits.node_affinity_preferred, "node_affinity_preferred")?;
    put(&mut nodes, PREFERRED, preferred);
    let required =
        objects(&Model::NODE_TERM, &traits.node_affinity_required.sorted(), "node_affinity_required")?;
    if !required.is_empty() {
        nodes.insert(REQUIRED.to_owned(), json!({"nodeSelectorTerms": required}));
    }
    let mut affinity = Map::new();
    put(&mut affinity, "nodeAffinity", Value::Object(nodes));
    put(
        &mut affinity,
        "podAffinity",
        pods(&traits.pod_affinity_preferred, &traits.pod_affinity_required, "pod_affinity")?,
    );
    put(
        &mut affinity,
        "podAntiAffinity",
        pods(&traits.pod_anti_affinity_preferred, &traits.pod_anti_affinity_required, "pod_anti_affinity")?,
    );
    Ok(Value::Object(affinity))
}
