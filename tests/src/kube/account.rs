//! The hub's service account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::namespace::Namespace;
use crate::wait::eventually;

/// What the Role `hub` of the Z2JH chart allows: resources and verbs.
pub const CHART_ROLE: [(&[&str], &[&str]); 2] = [
    (
        &["pods", "persistentvolumeclaims", "secrets", "services"],
        &["get", "watch", "list", "create", "delete"],
    ),
    (&["events"], &["get", "watch", "list"]),
];

const NAME: &str = "hub";
/// Where an administrator asks who may do what.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const HOLD_WITHIN: Duration = Duration::from_mins(1);
/// Seconds, longer than any test.
const TOKEN_LASTS: u32 = 2 * 3600;

/// A service account named `hub` that may do in a namespace what the chart's Role says.
#[derive(Debug)]
pub struct Account {
    /// Its name in the API server's eyes.
    pub user: String,
    /// The namespace it is in.
    home: String,
    kubeconfig: PathBuf,
    _folder: TempDir,
}

impl Account {
    /// Makes the account and its rights in `home`. It reaches the API server at `port` on 127.0.0.1.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn new(home: &Namespace, port: u16) -> Result<Self> {
        let object = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": NAME } });
        home.cluster.create(&home.path("serviceaccounts", ""), &object).await?;
        let ask = json!({ "spec": { "expirationSeconds": TOKEN_LASTS } });
        let path = home.path("serviceaccounts", &format!("{NAME}/token"));
        let answer = home.cluster.create(&path, &ask).await?;
        let token = answer.pointer("/status/token").and_then(Value::as_str).context("no token")?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bed",
            "clusters": [{ "name": "bed", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": home.bed.authority(),
            } }],
            "users": [{ "name": NAME, "user": { "token": token } }],
            "contexts": [{ "name": "bed", "context": { "cluster": "bed", "user": NAME, "namespace": home.name } }],
        });
        std::fs::write(&kubeconfig, config.to_string())?;
        let user = format!("system:serviceaccount:{}:{NAME}", home.name);
        let account = Self { user, home: home.name.clone(), kubeconfig, _folder: folder };
        account.allow_in(home).await?;
        Ok(account)
    }

    /// The file by which programs find the API server.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Gives it the chart's rights in a namespace.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn allow_in(&self, namespace: &Namespace) -> Result<()> {
        let rules: Vec<Value> = CHART_ROLE
            .iter()
            .map(|(resources, verbs)| json!({ "apiGroups": [""], "resources": resources, "verbs": verbs }))
            .collect();
        self.bind(namespace, NAME, &Value::Array(rules)).await?;
        self.rights_hold(namespace, true).await
    }

    /// Gives it rights on further resources in a namespace.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn allow_also(
        &self,
        namespace: &Namespace,
        group: &str,
        resource: &str,
        verbs: &[&str],
    ) -> Result<()> {
        let rules = json!([{ "apiGroups": [group], "resources": [resource], "verbs": verbs }]);
        self.bind(namespace, resource, &rules).await?;
        for verb in verbs {
            let ask =
                json!({ "namespace": namespace.name, "verb": verb, "group": group, "resource": resource });
            self.right_holds(namespace, &ask, true).await?;
        }
        Ok(())
    }

    /// Makes a role in a namespace, and gives it to the account.
    async fn bind(&self, namespace: &Namespace, role: &str, rules: &Value) -> Result<()> {
        let api = "rbac.authorization.k8s.io/v1";
        let object =
            json!({ "apiVersion": api, "kind": "Role", "metadata": { "name": role }, "rules": rules });
        let binding = json!({
            "apiVersion": api,
            "kind": "RoleBinding",
            "metadata": { "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": self.home }],
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
        });
        namespace.cluster.create(&rights(namespace, "roles"), &object).await?;
        namespace.cluster.create(&rights(namespace, "rolebindings"), &binding).await?;
        Ok(())
    }

    /// Takes all its rights in a namespace away, [`Account::allow_in`] gives them again.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn forbid_in(&self, namespace: &Namespace) -> Result<()> {
        for resource in ["rolebindings", "roles"] {
            namespace.cluster.delete(&format!("{}/{NAME}", rights(namespace, resource)), 0).await?;
        }
        self.rights_hold(namespace, false).await
    }

    async fn rights_hold(&self, namespace: &Namespace, allowed: bool) -> Result<()> {
        let ask = json!({ "namespace": namespace.name, "verb": "create", "resource": "pods" });
        self.right_holds(namespace, &ask, allowed).await
    }

    /// Waits until the API server, which learns of rights a moment after they were given, says so.
    async fn right_holds(&self, namespace: &Namespace, right: &Value, allowed: bool) -> Result<()> {
        let ask = &json!({ "spec": { "user": self.user, "resourceAttributes": right } });
        eventually(
            &format!("whether the hub has the right {right} is {allowed}"),
            HOLD_WITHIN,
            || async move {
                let answer = namespace.cluster.create(REVIEWS, ask).await?;
                Ok((answer.pointer("/status/allowed") == Some(&json!(allowed))).then_some(()))
            },
        )
        .await
    }
}

fn rights(namespace: &Namespace, resource: &str) -> String {
    format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/{resource}", namespace.name)
}
