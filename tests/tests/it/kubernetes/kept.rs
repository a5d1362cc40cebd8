//! What must be found, hidden, kept or left alone: claims of old names and of servers that are deleted, tokens, pods that
//! nobody knows, starts given up.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NEEDS, Site};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_claim_of_the_old_naming_scheme_is_found_again() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let site = Site::start(Kind::Himalia, json!({}), Settings::with_light_singleuser).await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "claim-ann-2dlee",
            "annotations": { "hub.jupyter.org/username": "ann-lee" },
            "labels": { "component": "singleuser-storage", "hub.jupyter.org/username": "ann-2dlee" },
        },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    site.namespace.cluster.create(&site.namespace.path("persistentvolumeclaims", ""), &claim).await?;
    let administrator = site.hub.administrator()?;
    administrator.add_user("ann-lee").await?;
    for _ in 0..2 {
        administrator.start_server("ann-lee", "").await?;
        let pod = site.namespace.find("pods", "jupyter-ann-lee").await?.context("no pod")?;
        let used = pod.pointer("/spec/volumes/0/persistentVolumeClaim/claimName");
        ensure!(used == Some(&json!("claim-ann-2dlee")), "{pod}");
        administrator.stop_server("ann-lee", "").await?;
        site.namespace.pod_is_gone("jupyter-ann-lee").await?;
    }
    let claims = site.namespace.all("persistentvolumeclaims").await?;
    ensure!(claims.len() == 1, "{:?}", claims.keys());
    let told = administrator.fetch("users/ann-lee/volumes").await?;
    let volume = told.pointer("/volumes/0").context("the claim is told")?;
    ensure!(volume["name"] == "claim-ann-2dlee" && volume["place"] == site.namespace.name.as_str(), "{told}");
    ensure!(volume["used_by"] == json!([""]) && volume["capacity"] == "1Gi", "{told}");
    site.kept_to_the_charts_role()
}

#[tokio::test]
async fn a_token_in_a_secret_is_in_no_pod_and_outlives_the_hub() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let options = json!({ "token_secret": true });
    let mut site = Site::start(Kind::Himalia, options, Settings::with_light_singleuser).await?;
    let administrator = site.hub.administrator()?;
    administrator.add_user("ann").await?;
    administrator.start_server("ann", "").await?;
    let pod = site.namespace.find("pods", "jupyter-ann").await?.context("no pod")?;
    let variables = pod.pointer("/spec/containers/0/env").and_then(Value::as_array).context("env")?;
    let token = variables.iter().find(|one| one.get("name") == Some(&json!("JUPYTERHUB_API_TOKEN")));
    let token = token.context("no token")?;
    ensure!(token.get("value").is_none() && token.pointer("/valueFrom/secretKeyRef").is_some(), "{token}");

    site.hub.kill().await?;
    site.hub.start_again().await?;
    let administrator = site.hub.administrator()?;
    administrator.server_is_ready("ann", "").await?;
    // The server lets its owner in: it knows the hub by its token.
    let page = site.hub.logged_in("ann").await?.follow("user/ann/").await?;
    ensure!(page.status == 200, "{} at {}: {}", page.status, page.url, page.text);

    administrator.stop_server("ann", "").await?;
    site.namespace.pod_is_gone("jupyter-ann").await?;
    eventually("the secret goes with its pod", SOON, || async {
        Ok(site.namespace.find("secrets", "jupyter-ann-token").await?.is_none().then_some(()))
    })
    .await?;
    site.kept_to_the_charts_role()
}

#[tokio::test]
async fn a_pod_of_this_hub_that_no_server_knows_is_deleted_and_no_other() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let options = json!({ "hub_id": "this", "orphan_grace": 3 });
    let change = |settings: Settings| Settings {
        poll_interval: Some(Duration::from_secs(1)),
        ..settings.with_light_singleuser()
    };
    let site = Site::start(Kind::Himalia, options, change).await?;
    let administrator = site.hub.administrator()?;
    administrator.add_user("ann").await?;
    administrator.start_server("ann", "").await?;
    let pod = |name: &str, annotations: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "component": "singleuser-server" }, "annotations": annotations },
            "spec": { "containers": [{ "name": "notebook", "image": "registry.test/pause:1" }] },
        })
    };
    let of = |user: &str, hub: &str| json!({ "hub.jupyter.org/username": user, "hub.jupyter.org/servername": "", "hub.jupyter.org/himalia-hub": hub });
    for (name, annotations) in [
        ("orphan", of("nobody", "this")),
        ("of-another-hub", of("nobody", "other")),
        ("of-stock", json!({ "hub.jupyter.org/username": "nobody" })),
        ("of-nobody", json!({})),
    ] {
        site.namespace.cluster.create(&site.namespace.path("pods", ""), &pod(name, annotations)).await?;
    }
    site.namespace.pod_is_gone("orphan").await?;
    let left: Vec<String> = site.namespace.all("pods").await?.into_keys().collect();
    ensure!(left == ["jupyter-ann", "of-another-hub", "of-nobody", "of-stock"], "{left:?}");
    administrator.server_is_ready("ann", "").await?;
    site.kept_to_the_charts_role()
}

#[tokio::test]
async fn a_start_is_cancelled_at_any_step_and_leaves_no_pod() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let options = json!({ "extra_annotations": { "kubebed/pull": "2s", "kubebed/start-delay": "2s" } });
    let change = |settings: Settings| Settings {
        slow_spawn_timeout: Duration::ZERO,
        ..settings.with_light_singleuser()
    };
    let site = Site::start(Kind::Himalia, options, change).await?;
    let administrator = site.hub.administrator()?;
    administrator.add_user("ann").await?;
    let pod = || site.namespace.find("pods", "jupyter-ann");
    for step in ["", "/metadata", "/spec/nodeName", "/status/podIP"] {
        administrator.request_start("ann", "").await?;
        if !step.is_empty() {
            eventually(step, SOON, || async { Ok(pod().await?.filter(|pod| pod.pointer(step).is_some())) })
                .await?;
        }
        administrator.stop_server("ann", "").await.with_context(|| format!("cancelled at {step:?}"))?;
        site.is_at_rest().await.with_context(|| format!("cancelled at {step:?}"))?;
        ensure!(pod().await?.is_none(), "cancelled at {step:?}, and the pod is there");
    }
    let (status, answer) = administrator.send(Method::POST, "users/ann/server", Value::Null).await?;
    ensure!(status == 201 || status == 202, "{status}: {answer}");
    administrator.server_is_ready("ann", "").await?;
    site.kept_to_the_charts_role()
}

const SNAPSHOTS: &str = "snapshot.storage.k8s.io";

/// The type of snapshots, as the cluster's storage brings it along.
fn snapshot_type() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("volumesnapshots.{SNAPSHOTS}"),
            "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes-csi/external-snapshotter" },
        },
        "spec": {
            "group": SNAPSHOTS,
            "scope": "Namespaced",
            "names": { "plural": "volumesnapshots", "singular": "volumesnapshot", "kind": "VolumeSnapshot" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })
}

#[tokio::test]
async fn the_files_of_a_deleted_server_are_archived_before_their_claim_goes() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let options = json!({ "archive_pvc": true, "archive_snapshot_class": "slow" });
    let site = Site::start(Kind::Himalia, options, Settings::with_light_singleuser).await?;
    let cluster = &site.namespace.cluster;
    cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &snapshot_type()).await?;
    let snapshots = format!("/apis/{SNAPSHOTS}/v1/namespaces/{}/volumesnapshots", site.namespace.name);
    eventually("there are snapshots", SOON, || async {
        let (status, _) = cluster.send(Method::GET, &snapshots, &Value::Null).await?;
        Ok(status.is_success().then_some(()))
    })
    .await?;
    site.account.allow_also(&site.namespace, SNAPSHOTS, "volumesnapshots", &["create", "get"]).await?;
    let administrator = site.hub.administrator()?;
    administrator.add_user("ann").await?;
    administrator.start_server("ann", "").await?;
    administrator.stop_server("ann", "").await?;

    let deletion = administrator.send(Method::DELETE, "users/ann", Value::Null);
    let storage = async {
        let snapshot = eventually("a snapshot is asked for", SOON, || async {
            Ok(cluster.list(&snapshots).await?.into_iter().next())
        })
        .await?;
        let of = |pointer: &str| snapshot.pointer(pointer).cloned().unwrap_or_default();
        ensure!(of("/spec/source/persistentVolumeClaimName") == "claim-ann", "{snapshot}");
        ensure!(of("/spec/volumeSnapshotClassName") == "slow", "{snapshot}");
        let claim = site.namespace.find("persistentvolumeclaims", "claim-ann").await?;
        let claim = claim.context("the claim goes before its files are safe")?;
        ensure!(claim.pointer("/metadata/deletionTimestamp").is_none(), "{claim}");
        let name = of("/metadata/name").as_str().unwrap_or_default().to_owned();
        let ready = json!({ "status": { "readyToUse": true } });
        cluster.patch(&format!("{snapshots}/{name}/status"), &ready).await
    };
    let ((status, answer), _) = tokio::try_join!(deletion, storage)?;
    ensure!(status == 204, "{status}: {answer}");
    eventually("the claim is gone", SOON, || async {
        Ok(site.namespace.find("persistentvolumeclaims", "claim-ann").await?.is_none().then_some(()))
    })
    .await?;
    ensure!(cluster.list(&snapshots).await?.len() == 1, "the snapshot stays");
    Ok(())
}
