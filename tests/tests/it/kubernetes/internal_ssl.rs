//! Pods that speak TLS with hub and proxy: `internal_ssl`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::kernel::Kernel;
use hub_tests::ports::free_port;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use serde_json::json;

use super::{Site, with_both};

with_both! {
    a_pod_speaks_tls_with_the_certificate_in_its_secret,
}

async fn a_pod_speaks_tls_with_the_certificate_in_its_secret(kind: Kind) -> Result<()> {
    let certificates = tempfile::tempdir()?;
    // Nobody here serves the cluster's DNS: the pod listens where the machine itself does.
    let options = json!({
        "ip": "127.0.0.1", "port": free_port(), "pod_connect_ip": "127.0.0.1", "ssl_alt_names_include_local": true,
    });
    let folder = Some(certificates.path().join("certificates"));
    let mut site =
        Site::start(kind, options, |settings| Settings { internal_ssl: folder, ..settings }).await?;
    let administrator = site.hub.administrator()?;
    let alice = site.hub.logged_in("alice").await?;
    administrator.start_server("alice", "").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    ensure!(kernel.execute("answer = 42; print(answer)").await? == "42\n");
    let routes = administrator.fetch("proxy").await?;
    let target = routes.pointer("/~1user~1alice~1/target").and_then(serde_json::Value::as_str);
    ensure!(target.is_some_and(|target| target.starts_with("https://127.0.0.1:")), "{routes}");

    let pod = site.namespace.find("pods", "jupyter-alice").await?.context("no pod")?;
    for kind in ["secrets", "services"] {
        let owned =
            site.namespace.find(kind, "jupyter-alice").await?.with_context(|| format!("none of {kind}"))?;
        let owner = owned.pointer("/metadata/ownerReferences/0/uid");
        ensure!(owner.is_some() && owner == pod.pointer("/metadata/uid"), "{kind}: {owned}");
    }
    let secret = site.namespace.find("secrets", "jupyter-alice").await?.context("no secret")?;
    let files: BTreeSet<&String> = secret
        .pointer("/data")
        .and_then(|data| data.as_object())
        .into_iter()
        .flat_map(|data| data.keys())
        .collect();
    ensure!(files.iter().copied().eq(["notebooks-ca_trust.crt", "ssl.crt", "ssl.key"]), "{files:?}");

    site.hub.kill().await?;
    site.hub.start_again().await?;
    administrator.server_is_ready("alice", "").await?;
    let mut kernel = Kernel::connect(&alice, "user/alice/", &kernel.id).await?;
    ensure!(kernel.execute("print(answer + 1)").await? == "43\n");
    drop(kernel);

    administrator.stop_server("alice", "").await?;
    site.namespace.pod_is_gone("jupyter-alice").await?;
    let namespace = &site.namespace;
    eventually("the secret goes with its pod", Duration::from_mins(1), || async {
        Ok(namespace.find("secrets", "jupyter-alice").await?.is_none().then_some(()))
    })
    .await?;
    site.kept_to_the_charts_role()
}
