//! A namespace of a test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::bed::{Bed, Cluster};
use crate::wait::eventually;

const THERE_WITHIN: Duration = Duration::from_mins(1);

/// A namespace with a name that no other test has. It is deleted with all its pods when dropped.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// The cluster it is in.
    pub bed: Arc<Bed>,
    /// The cluster as an administrator sees it.
    pub cluster: Cluster,
}

impl Namespace {
    /// A new one whose name begins with `prefix`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn new(bed: &Arc<Bed>, prefix: &str) -> Result<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self::named(bed, &format!("{prefix}-{}", &id[..8])).await
    }

    /// A new one of this name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn named(bed: &Arc<Bed>, name: &str) -> Result<Self> {
        let name = name.to_owned();
        let cluster = bed.administrator()?;
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        cluster.create("/api/v1/namespaces", &object).await?;
        let namespace = Self { name, bed: bed.clone(), cluster };
        // Pods are refused until the namespace has its default service account.
        let account = namespace.path("serviceaccounts", "default");
        eventually("the default service account is there", THERE_WITHIN, || namespace.cluster.find(&account))
            .await?;
        Ok(namespace)
    }

    /// The path of an object of the core API; of the list when `name` is empty.
    pub fn path(&self, resource: &str, name: &str) -> String {
        let slash = if name.is_empty() { "" } else { "/" };
        format!("/api/v1/namespaces/{}/{resource}{slash}{name}", self.name)
    }

    /// All objects of a kind, by name.
    ///
    /// # Errors
    /// When the list cannot be had.
    pub async fn all(&self, resource: &str) -> Result<BTreeMap<String, Value>> {
        let items = self.cluster.list(&self.path(resource, "")).await?;
        let named = |item: Value| {
            let name = item.pointer("/metadata/name").and_then(Value::as_str).context("a nameless object")?;
            Ok((name.to_owned(), item))
        };
        items.into_iter().map(named).collect()
    }

    /// An object, if it is there.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn find(&self, resource: &str, name: &str) -> Result<Option<Value>> {
        self.cluster.find(&self.path(resource, name)).await
    }

    /// Waits until a pod fulfils a condition; the pod as it is then.
    ///
    /// # Errors
    /// When it does not; with the pod and its events.
    pub async fn pod(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let (wanted, what) = (&wanted, format!("pod {name} {what}"));
        let seen = eventually(&what, THERE_WITHIN, || async move {
            Ok(self.find("pods", name).await?.filter(|pod| wanted(pod)))
        });
        match seen.await {
            Ok(pod) => Ok(pod),
            Err(error) => Err(error.context(self.story(name).await)),
        }
    }

    /// Waits until a pod is gone.
    ///
    /// # Errors
    /// When it is not; with the pod and its events.
    pub async fn pod_is_gone(&self, name: &str) -> Result<()> {
        let what = format!("pod {name} is gone");
        let gone = eventually(&what, THERE_WITHIN, || async move {
            Ok(self.find("pods", name).await?.is_none().then_some(()))
        });
        match gone.await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.story(name).await)),
        }
    }

    /// What there is to know about a pod: its status, its events, its log.
    pub async fn story(&self, pod: &str) -> String {
        let status = self.find("pods", pod).await.ok().flatten();
        let status = status.and_then(|pod| pod.get("status").cloned()).unwrap_or_default();
        let events = self.all("events").await.unwrap_or_default();
        let events: Vec<String> = events
            .values()
            .filter(|event| event.pointer("/involvedObject/name").and_then(Value::as_str) == Some(pod))
            .filter_map(|event| event.get("message").map(Value::to_string))
            .collect();
        let log = self.bed.pod_log(&self.name, pod);
        format!("pod {pod}: {status}\nevents: {events:#?}\nlog: {log}")
    }

    /// Asks the node to do something to a pod, see `tests/kubebed/faults.go`; at once if the pod runs and the value
    /// is `0s`.
    ///
    /// # Errors
    /// When the pod is not there.
    pub async fn fault(&self, pod: &str, fault: &str, value: &str) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": { (format!("kubebed/{fault}")): value } } });
        self.cluster.patch(&self.path("pods", pod), &patch).await.map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.bed.forget(&self.name);
    }
}
