//! The files of servers that are deleted for ever are kept as snapshots first.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::kube::Cluster;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NEEDS, Site};

/// Longer than the pause between two tries of the hub.
const SOON: Duration = Duration::from_mins(2);
/// What the hub may do with snapshots.
const VERBS: [&str; 2] = ["create", "get"];
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

/// Makes sure that the cluster knows of snapshots.
async fn there_are_snapshots(cluster: &Cluster) -> Result<()> {
    let types = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (status, answer) = cluster.send(Method::POST, types, &snapshot_type()).await?;
    // Another test may have been here before.
    ensure!(status.is_success() || status == 409, "{status}: {answer}");
    eventually("there are snapshots", SOON, || async {
        let all = format!("/apis/{SNAPSHOTS}/v1/volumesnapshots");
        let (status, _) = cluster.send(Method::GET, &all, &Value::Null).await?;
        Ok(status.is_success().then_some(()))
    })
    .await
}

impl Site {
    /// A hub that archives, and ann, whose server has run.
    async fn that_archives() -> Result<Self> {
        let options = json!({ "archive_pvc": true, "archive_snapshot_class": "slow" });
        let change = |settings: Settings| Settings {
            poll_interval: Some(Duration::from_secs(1)),
            ..settings.with_light_singleuser()
        };
        let site = Self::start(Kind::Himalia, options, change).await?;
        there_are_snapshots(&site.namespace.cluster).await?;
        let administrator = site.hub.administrator()?;
        administrator.add_user("ann").await?;
        administrator.start_server("ann", "").await?;
        administrator.stop_server("ann", "").await?;
        site.namespace.pod_is_gone("jupyter-ann").await?;
        Ok(site)
    }

    fn snapshots(&self) -> String {
        format!("/apis/{SNAPSHOTS}/v1/namespaces/{}/volumesnapshots", self.namespace.name)
    }

    async fn may_make_snapshots(&self) -> Result<()> {
        self.account.allow_also(&self.namespace, SNAPSHOTS, "volumesnapshots", &VERBS).await
    }

    async fn claim(&self) -> Result<Option<Value>> {
        self.namespace.find("persistentvolumeclaims", "claim-ann").await
    }

    /// What the cluster's storage does: it makes the snapshot that is asked for. The claim is there until then.
    async fn storage_makes_the_snapshot(&self) -> Result<()> {
        let cluster = &self.namespace.cluster;
        let snapshot = eventually("a snapshot is asked for", SOON, || async {
            Ok(cluster.list(&self.snapshots()).await?.into_iter().next())
        })
        .await?;
        let of = |pointer: &str| snapshot.pointer(pointer).cloned().unwrap_or_default();
        ensure!(of("/spec/source/persistentVolumeClaimName") == "claim-ann", "{snapshot}");
        ensure!(of("/spec/volumeSnapshotClassName") == "slow", "{snapshot}");
        ensure!(of("/metadata/annotations/hub.jupyter.org~1username") == "ann", "{snapshot}");
        let claim = self.claim().await?.context("the claim goes before its files are safe")?;
        ensure!(claim.pointer("/metadata/deletionTimestamp").is_none(), "{claim}");
        let name = of("/metadata/name").as_str().unwrap_or_default().to_owned();
        let ready = json!({ "status": { "readyToUse": true } });
        cluster.patch(&format!("{}/{name}/status", self.snapshots()), &ready).await.map(drop)
    }

    /// The snapshot is all that stays.
    async fn is_archived(&self) -> Result<()> {
        eventually("claim and note are gone", SOON, || async {
            let note = format!("{}.claim-ann.archive", self.namespace.name);
            let note = self.namespace.find("secrets", &note).await?;
            Ok((self.claim().await?.is_none() && note.is_none()).then_some(()))
        })
        .await?;
        ensure!(self.namespace.cluster.list(&self.snapshots()).await?.len() == 1, "the snapshot stays");
        self.kept_to_the_charts_role_but_for("volumesnapshots", &VERBS)
    }
}

#[tokio::test]
async fn the_files_of_a_deleted_server_are_archived_before_their_claim_goes() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let site = Site::that_archives().await?;
    site.may_make_snapshots().await?;
    let administrator = site.hub.administrator()?;
    let deletion = administrator.send(Method::DELETE, "users/ann", Value::Null);
    let ((status, answer), ()) = tokio::try_join!(deletion, site.storage_makes_the_snapshot())?;
    ensure!(status == 204, "{status}: {answer}");
    site.is_archived().await
}

#[tokio::test]
async fn an_archive_that_was_refused_is_made_by_the_next_hub() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let mut site = Site::that_archives().await?;
    let (status, answer) = site.hub.administrator()?.send(Method::DELETE, "users/ann", Value::Null).await?;
    ensure!(status == 204, "{status}: {answer}");
    ensure!(site.hub.log().contains("`archive_pvc` needs the snapshot API"), "{}", site.hub.log());
    site.hub.kill().await?;
    ensure!(site.claim().await?.is_some(), "the claim is gone, and nothing is archived");
    site.may_make_snapshots().await?;
    site.hub.start_again().await?;
    site.storage_makes_the_snapshot().await?;
    site.is_archived().await?;
    // Nobody has them who has the name next.
    let administrator = site.hub.administrator()?;
    administrator.add_user("ann").await?;
    administrator.start_server("ann", "").await?;
    ensure!(site.claim().await?.is_some(), "a claim of its own");
    Ok(())
}
