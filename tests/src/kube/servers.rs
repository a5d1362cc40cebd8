//! A hub whose servers are pods.

use serde_json::{Map, Value, json};

use super::account::Account;
use super::namespace::Namespace;
use crate::settings::{Settings, Spawner};

/// Stands for an image that starts what it is told to.
const IMAGE: &str = "registry.test/singleuser:1";

/// A hub with the rights of `account`, servers in `namespace` with a claim each as the Z2JH chart makes them, and
/// `more` options.
///
/// # Panics
/// When `more` is no table.
pub fn kube_settings(namespace: &Namespace, account: &Account, more: &Value) -> Settings {
    let mut options = json!({
        "namespace": namespace.name,
        "image": IMAGE,
        "working_dir": "/home/jovyan",
        "storage_pvc_ensure": true,
        "storage_capacity": "1Gi",
        "volumes": [{ "name": "home", "persistentVolumeClaim": { "claimName": "{pvc_name}" } }],
        "volume_mounts": [{ "name": "home", "mountPath": "/home/jovyan" }],
        "uid": 1000,
        "fs_gid": 100,
        "common_labels": { "app": "jupyterhub", "release": "bed" },
    });
    let given: &mut Map<String, Value> = options.as_object_mut().expect("a table");
    given.extend(more.as_object().expect("options are a table").clone());
    let kubeconfig = account.kubeconfig().display().to_string();
    Settings {
        spawner: Spawner::Kube(given.clone()),
        hub_environment: [("KUBECONFIG".to_owned(), kubeconfig)].into(),
        command: vec!["jupyterhub-singleuser".to_owned()],
        ..Settings::default()
    }
}
