//! Labels and annotations that tell whose an object is. Hubs find their objects again by these.

use serde_json::{Map, Value};

use crate::slug;

/// Prefix of the keys that are KubeSpawner's own.
const PREFIX: &str = "hub.jupyter.org";

/// The versions that objects are annotated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// KubeSpawner whose objects these equal.
    pub kubespawner: &'static str,
    /// JupyterHub that servers speak to.
    pub jupyterhub: &'static str,
}

/// Who an object belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// Name of the server.
    pub server: &'a str,
    /// `common_labels`.
    pub common: &'a Map<String, Value>,
    /// `component_label`.
    pub component: &'a str,
    /// What goes into annotations.
    pub versions: Versions,
}

impl Marks<'_> {
    /// Labels of claim, service and secret.
    pub fn labels(&self, extra: &Map<String, Value>) -> Map<String, Value> {
        let mut labels = Map::new();
        labels.insert(format!("{PREFIX}/username"), slug::label(self.user).into());
        labels.extend(extra.clone());
        labels.extend(self.common.clone());
        labels
    }

    /// Labels of a pod.
    pub fn pod_labels(&self, extra: &Map<String, Value>) -> Map<String, Value> {
        let mut labels = self.labels(extra);
        labels.insert("app.kubernetes.io/component".to_owned(), self.component.into());
        labels.insert("component".to_owned(), self.component.into());
        labels.insert(format!("{PREFIX}/servername"), slug::label(self.server).into());
        labels
    }

    /// Annotations of any object.
    pub fn annotations(&self, extra: &Map<String, Value>) -> Map<String, Value> {
        let mut annotations = Map::new();
        annotations.insert(format!("{PREFIX}/username"), self.user.into());
        if !self.server.is_empty() {
            annotations.insert(format!("{PREFIX}/servername"), self.server.into());
        }
        annotations.insert(format!("{PREFIX}/kubespawner-version"), self.versions.kubespawner.into());
        annotations.insert(format!("{PREFIX}/jupyterhub-version"), self.versions.jupyterhub.into());
        annotations.extend(extra.clone());
        annotations
    }
}
