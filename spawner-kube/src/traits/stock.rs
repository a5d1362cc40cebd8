//! The configuration of a stock hub as options: class sections, names of older versions.

use serde_json::{Map, Value};

use super::table::Traits;
use crate::traits::OverrideError;

/// Names of older versions, without their prefix. Stock lists two more, which a missing comma makes unknown.
const SINGLEUSER: [&str; 15] = [
    "working_dir",
    "service_account",
    "extra_labels",
    "extra_annotations",
    "image_spec",
    "image_pull_policy",
    "image_pull_secrets",
    "node_selector",
    "uid",
    "fs_gid",
    "supplemental_gids",
    "privileged",
    "extra_pod_config",
    "init_containers",
    "extra_container_config",
];
const USER: [&str; 5] = [
    "storage_class",
    "storage_pvc_ensure",
    "storage_capacity",
    "storage_extra_labels",
    "storage_access_modes",
];

/// The name that an option has today.
pub(super) fn current_name(name: &str) -> &str {
    let old = match name.split_once('_') {
        Some(("singleuser", rest)) if SINGLEUSER.contains(&rest) || rest == "extra_containers" => rest,
        Some(("user", rest)) if USER.contains(&rest) => rest,
        _ => name,
    };
    if old == "image_spec" { "image" } else { old }
}

/// Reads the sections `Spawner` and `KubeSpawner` of a stock configuration: the second wins, whole values at a
/// time. Old names count where the new one is absent. Names that stock does not know are returned: it ignores them
/// with a warning.
pub fn from_stock(
    spawner: &Map<String, Value>,
    kube_spawner: &Map<String, Value>,
) -> Result<(Traits, Vec<String>), OverrideError> {
    let mut section = spawner.clone();
    for (given, value) in kube_spawner {
        // Stock renames this one to another old name, after it has looked at that.
        let name = if given == "singleuser_image_spec" { given } else { current_name(given) };
        if name == given || !kube_spawner.contains_key(name) {
            section.insert(name.to_owned(), value.clone());
        }
    }
    let mut traits = Traits::default();
    let mut unknown = Vec::new();
    for (name, value) in section {
        match traits.set(&name, value) {
            Ok(true) => {}
            Ok(false) => unknown.push(name),
            Err(reason) => return Err(OverrideError::Value { name, reason }),
        }
    }
    Ok((traits, unknown))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_own_section_wins_and_old_names_yield() {
        let spawner = json!({"environment": {"A": "1"}, "debug": true});
        let kube =
            json!({"environment": {}, "singleuser_uid": 5, "uid": 6, "singleuser_lifecycle_hooks": {}});
        let (traits, unknown) = from_stock(spawner.as_object().unwrap(), kube.as_object().unwrap()).unwrap();
        assert!(traits.environment.is_empty() && traits.debug);
        assert_eq!(traits.uid, Some(6));
        assert_eq!(unknown, ["singleuser_lifecycle_hooks"]);
    }
}
