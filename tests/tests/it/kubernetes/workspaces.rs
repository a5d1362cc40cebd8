//! Workspaces as EODH has them, with servers as pods in namespaces of the workspaces, which somebody else makes.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use hub_tests::environment::Needed;
use hub_tests::hub::Kind;
use hub_tests::kube::{Account, Bed, Namespace, kube_settings};
use serde_json::{Value, json};

use super::NEEDS;

#[tokio::test]
async fn each_workspace_has_its_servers_in_its_own_namespace() -> Result<()> {
    let needs = [&NEEDS[..], &[Needed::Keycloak, Needed::Nginx]].concat();
    if !crate::e2e::ready(&[Kind::Himalia], &needs) {
        return Ok(());
    }
    // A cluster of its own: the names of namespaces are the platform's.
    let bed = Arc::new(Bed::start()?);
    let home = Namespace::named(&bed, "jupyter").await?;
    let account = Account::new(&home, bed.port).await?;
    let mut workspaces = Vec::new();
    for name in ["ws-alpha", "ws-beta", "ws-gamma"] {
        let workspace = Namespace::named(&bed, name).await?;
        account.allow_in(&workspace).await?;
        workspaces.push(workspace);
    }
    let options = json!({
        "enable_user_namespaces": true,
        "create_namespaces": false,
        "user_namespace_template": "ws-{workspace}",
        // In a cluster this is the namespace of the hub's own pod.
        "hub_id": home.name,
    });
    let alpha = &workspaces[0];
    crate::e2e::workspaces::story(kube_settings(&home, &account, &options), async |_| {
        let pod = alpha.find("pods", "jupyter-bob--alpha").await?.context("no pod of bob in ws-alpha")?;
        let label = pod.pointer("/metadata/labels/platform.example.org~1workspace");
        ensure!(label == Some(&json!("alpha")), "{pod}");
        let limit = pod.pointer("/spec/containers/0/resources/limits/memory");
        ensure!(limit == Some(&json!("4294967296")) || limit == Some(&json!("4Gi")), "{pod}");
        Ok(pod.pointer("/metadata/uid").cloned().unwrap_or(Value::Null))
    })
    .await?;
    ensure!(home.all("pods").await?.is_empty(), "a server runs in the hub's own namespace");
    Ok(())
}
