//! A server's API token: plain in the pod's environment, as in stock, or in a secret that the environment refers to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub_core::secret::{ExposeSecret as _, SecretString};
use hub_core::{SpawnError, StartJob};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{ApiError, Kind, Object};
use crate::manifest::owner_reference;
use crate::server::Server;
use crate::spawner::KubeSpawner;
use crate::view::pod;

/// The variables with the token, the one that is read first.
const VARIABLES: [&str; 2] = ["JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"];
/// Its key in the secret.
const KEY: &str = "token";

/// Name of the secret of a pod.
fn secret_name(pod: &str) -> String {
    format!("{pod}-token")
}

/// Puts a reference to the secret where the token stands in a pod.
pub(super) fn hide(manifest: &mut Value, pod: &str) {
    let containers = manifest.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    let variables = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get_mut("env")?.as_array_mut())
        .flatten()
        .filter(|variable| VARIABLES.contains(&pod::text(variable, "/name")))
        .filter_map(Value::as_object_mut);
    for variable in variables {
        if variable.remove("value").is_some() {
            let reference = json!({"secretKeyRef": {"name": secret_name(pod), "key": KEY}});
            variable.insert("valueFrom".to_owned(), reference);
        }
    }
}

/// Where a pod has its token.
#[derive(Debug, PartialEq, Eq)]
enum Place<'v> {
    Plain(&'v str),
    Secret { name: &'v str, key: &'v str },
}

fn place(pod: &Value) -> Option<Place<'_>> {
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    let variables: Vec<&Value> =
        containers.iter().filter_map(|container| container.get("env")?.as_array()).flatten().collect();
    let named = |name: &str| variables.iter().find(|variable| pod::text(variable, "/name") == name).copied();
    VARIABLES.iter().filter_map(|name| named(name)).find_map(|variable| {
        if let Some(value) = variable.get("value").and_then(Value::as_str) {
            return Some(Place::Plain(value));
        }
        let reference = variable.pointer("/valueFrom/secretKeyRef")?;
        Some(Place::Secret { name: reference.get("name")?.as_str()?, key: reference.get("key")?.as_str()? })
    })
}

impl KubeSpawner {
    /// The secret with the token of a pod that was made. It belongs to the pod and goes with it.
    pub(super) async fn ensure_token(
        &self,
        server: &Server,
        job: &StartJob,
        made: &Value,
        until: Instant,
    ) -> Result<(), SpawnError> {
        let name = secret_name(pod::name(made));
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "labels": server.traits.common_labels,
                "annotations": {
                    (pod::USER): job.key.user.as_str(), (pod::SERVER): job.key.server.as_str(),
                },
                "ownerReferences": [owner_reference(pod::name(made), pod::uid(made))],
            },
            "data": { (KEY): STANDARD.encode(job.api_token.expose_secret()) },
        });
        let object = Object { kind: Kind::Secret, namespace: &server.names.namespace, name: &name };
        self.ensure_owned(object, &manifest, &job.key, made, until).await
    }

    /// The token that a pod runs with; none when it has none that can be read.
    pub(super) async fn token_of(&self, made: &Value) -> Result<Option<SecretString>, ApiError> {
        let (name, key) = match place(made) {
            None => return Ok(None),
            Some(Place::Plain(token)) => return Ok(Some(SecretString::from(token))),
            Some(Place::Secret { name, key }) => (name, key),
        };
        let namespace = pod::text(made, "/metadata/namespace");
        let secret = self.cluster.get(Object { kind: Kind::Secret, namespace, name }).await?;
        let data = secret.as_ref().and_then(|secret| secret.get("data")?.get(key)?.as_str());
        let bytes = data.and_then(|data| STANDARD.decode(data).ok());
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(SecretString::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(env: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "notebook", "env": env}]}})
    }

    #[test]
    fn the_token_is_found_where_it_is() {
        let plain =
            pod(&json!([{"name": "A", "value": "1"}, {"name": "JUPYTERHUB_API_TOKEN", "value": "t"}]));
        assert_eq!(place(&plain), Some(Place::Plain("t")));
        assert_eq!(place(&pod(&json!([{"name": "A", "value": "1"}]))), None);
        assert_eq!(place(&json!({})), None);
    }

    #[test]
    fn a_hidden_token_is_nowhere_in_the_pod() {
        let mut hidden = pod(&json!([
            {"name": "JPY_API_TOKEN", "value": "geheim"},
            {"name": "JUPYTERHUB_API_TOKEN", "value": "geheim"},
            {"name": "OTHER", "value": "x"},
        ]));
        hide(&mut hidden, "jupyter-ann");
        assert!(!hidden.to_string().contains("geheim"), "{hidden}");
        assert_eq!(place(&hidden), Some(Place::Secret { name: "jupyter-ann-token", key: "token" }));
        assert_eq!(hidden.pointer("/spec/containers/0/env/2/value"), Some(&json!("x")));
    }
}
