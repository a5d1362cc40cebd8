//! The life of a server: start with its progress, use, stop, and what stays.

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::kernel::Kernel;
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Site, address, progress, with_both};

with_both! {
    a_server_is_started_with_its_progress_shown_then_used_stopped_and_started_on_the_same_files,
    named_servers_have_pods_and_claims_of_their_own_which_go_with_the_last_of_their_owners,
    a_claim_is_kept_for_whoever_has_the_name_next_where_that_is_wanted,
    a_choice_of_profile_makes_another_pod,
}

async fn a_server_is_started_with_its_progress_shown_then_used_stopped_and_started_on_the_same_files(
    kind: Kind,
) -> Result<()> {
    // The request is answered at once, so that there is progress to be told.
    let change = |settings| Settings { slow_spawn_timeout: std::time::Duration::ZERO, ..settings };
    let site = Site::start(kind, json!({}), change).await?;
    let (hub, namespace) = (&site.hub, &site.namespace);
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    administrator.request_start("alice", "").await?;
    let events = progress(hub, "alice").await?;
    let last = events.last().context("no progress at all")?;
    ensure!(last.get("ready") == Some(&Value::Bool(true)), "{events:#?}");
    let told = events.iter().filter_map(|event| event.get("message").and_then(Value::as_str));
    ensure!(
        told.clone().any(|message| message.contains("Successfully assigned")),
        "what the cluster did is not told: {events:#?}"
    );
    let percents: Vec<u64> =
        events.iter().filter_map(|event| event.get("progress").and_then(Value::as_u64)).collect();
    ensure!(percents.is_sorted() && percents.last() == Some(&100), "{percents:?}");
    administrator.server_is_ready("alice", "").await?;

    let pod = namespace.find("pods", "jupyter-alice").await?.context("no pod")?;
    let claim = namespace.find("persistentvolumeclaims", "claim-alice").await?.context("no claim")?;
    ensure!(claim.pointer("/status/phase") == Some(&json!("Bound")), "{claim}");
    let page = alice.follow("user/alice/lab").await?;
    ensure!(page.status == 200 && page.url.path().ends_with("/lab"), "{} at {}", page.status, page.url);
    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    kernel.execute("open('/home/jovyan/kept', 'w').write('until the end')").await?;
    let where_from =
        kernel.execute("import os; print(os.getcwd(), os.getuid(), os.environ['HOSTNAME'])").await?;
    ensure!(where_from == "/home/jovyan 1000 jupyter-alice\n", "{where_from}");

    // The stock proxy does not survive a websocket to a server that goes away.
    drop(kernel);
    administrator.stop_server("alice", "").await?;
    namespace.pod_is_gone("jupyter-alice").await?;
    administrator.start_server("alice", "").await?;
    let again = namespace.find("pods", "jupyter-alice").await?.context("no pod")?;
    ensure!(again.pointer("/metadata/uid") != pod.pointer("/metadata/uid"), "the same pod: {again}");
    let page = alice.follow("user/alice/lab").await?;
    ensure!(page.status == 200, "{} at {}: {}", page.status, page.url, page.text);
    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    ensure!(kernel.execute("print(open('/home/jovyan/kept').read())").await? == "until the end\n");
    drop(kernel);
    let same = namespace.find("persistentvolumeclaims", "claim-alice").await?.context("no claim")?;
    ensure!(same.pointer("/metadata/uid") == claim.pointer("/metadata/uid"), "another claim: {same}");

    administrator.stop_server("alice", "").await?;
    namespace.pod_is_gone("jupyter-alice").await?;
    site.kept_to_the_charts_role()
}

async fn named_servers_have_pods_and_claims_of_their_own_which_go_with_the_last_of_their_owners(
    kind: Kind,
) -> Result<()> {
    let site = Site::start(kind, json!({}), Settings::with_light_singleuser).await?;
    let (hub, namespace) = (&site.hub, &site.namespace);
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    for server in ["", "second", "third"] {
        administrator.request_start("alice", server).await?;
    }
    for server in ["", "second", "third"] {
        administrator.server_is_ready("alice", server).await?;
        let page = alice.follow(&address("alice", server)).await?;
        ensure!(page.status == 200, "{} at {}", page.status, page.url);
    }
    let names = ["alice", "alice--second", "alice--third"];
    let pods: Vec<String> = namespace.all("pods").await?.into_keys().collect();
    ensure!(pods == names.map(|name| format!("jupyter-{name}")), "{pods:?}");
    let claims = || namespace.all("persistentvolumeclaims");
    let all: Vec<String> = claims().await?.into_keys().collect();
    ensure!(all == names.map(|name| format!("claim-{name}")), "{all:?}");

    administrator.stop_server("alice", "second").await?;
    namespace.pod_is_gone("jupyter-alice--second").await?;
    ensure!(claims().await?.len() == 3, "a stop deletes no claim");
    let remove = json!({ "remove": true });
    let (status, answer) = administrator.send(Method::DELETE, "users/alice/servers/second", remove).await?;
    ensure!(status == 204, "{status}: {answer}");
    claim_is_gone(&site, "claim-alice--second").await?;
    ensure!(claims().await?.len() == 2);

    for server in ["", "third"] {
        administrator.stop_server("alice", server).await?;
    }
    let (status, answer) = administrator.send(Method::DELETE, "users/alice", Value::Null).await?;
    ensure!(status == 204, "{status}: {answer}");
    for name in ["claim-alice", "claim-alice--third"] {
        claim_is_gone(&site, name).await?;
    }
    for name in pods {
        namespace.pod_is_gone(&name).await?;
    }
    site.kept_to_the_charts_role()
}

async fn a_claim_is_kept_for_whoever_has_the_name_next_where_that_is_wanted(kind: Kind) -> Result<()> {
    let options = json!({ "delete_pvc": false });
    let site = Site::start(kind, options, Settings::with_light_singleuser).await?;
    let administrator = site.hub.administrator()?;
    let mut claims = Vec::new();
    for _ in 0..2 {
        administrator.add_user("alice").await?;
        administrator.start_server("alice", "").await?;
        administrator.stop_server("alice", "").await?;
        site.namespace.pod_is_gone("jupyter-alice").await?;
        let (status, answer) = administrator.send(Method::DELETE, "users/alice", Value::Null).await?;
        ensure!(status == 204, "{status}: {answer}");
        let claim = site.namespace.find("persistentvolumeclaims", "claim-alice").await?;
        let claim = claim.context("the claim is gone")?;
        ensure!(claim.pointer("/metadata/deletionTimestamp").is_none(), "{claim}");
        claims.push(claim.pointer("/metadata/uid").cloned());
    }
    claims.dedup();
    ensure!(claims.len() == 1, "{claims:?}");
    site.kept_to_the_charts_role()
}

async fn claim_is_gone(site: &Site, name: &str) -> Result<()> {
    let within = std::time::Duration::from_mins(1);
    hub_tests::wait::eventually(&format!("{name} is gone"), within, || async {
        Ok(site.namespace.find("persistentvolumeclaims", name).await?.is_none().then_some(()))
    })
    .await
}

async fn a_choice_of_profile_makes_another_pod(kind: Kind) -> Result<()> {
    let profiles = json!([
        { "display_name": "Small", "slug": "small", "default": true },
        { "display_name": "Big", "slug": "big",
          "kubespawner_override": { "mem_guarantee": "2G", "extra_labels": { "size": "{username}-big" } },
          "profile_options": { "image": { "display_name": "Image", "choices": {
              "new": { "display_name": "New", "kubespawner_override": { "image": "registry.test/new:2" } },
              "old": { "display_name": "Old", "kubespawner_override": { "image": "registry.test/old:1" } },
          } } } },
    ]);
    let site =
        Site::start(kind, json!({ "profile_list": profiles }), Settings::with_light_singleuser).await?;
    let (hub, namespace) = (&site.hub, &site.namespace);
    let administrator = hub.administrator()?;
    administrator.add_user("alice").await?;
    for (choice, image, memory, size) in [
        (
            json!({ "profile": "big", "image": "old" }),
            "registry.test/old:1",
            json!("2147483648"),
            json!("alice-big"),
        ),
        (json!({ "profile": "small" }), "registry.test/singleuser:1", Value::Null, Value::Null),
    ] {
        let (status, answer) = administrator.send(Method::POST, "users/alice/server", choice).await?;
        ensure!(status == 201 || status == 202, "{status}: {answer}");
        administrator.server_is_ready("alice", "").await?;
        let pod = namespace.find("pods", "jupyter-alice").await?.context("no pod")?;
        let of = |pointer: &str| pod.pointer(pointer).cloned().unwrap_or_default();
        ensure!(of("/spec/containers/0/image") == image, "{pod}");
        ensure!(of("/spec/containers/0/resources/requests/memory") == memory, "{pod}");
        ensure!(of("/metadata/labels/size") == size, "{pod}");
        administrator.stop_server("alice", "").await?;
        namespace.pod_is_gone("jupyter-alice").await?;
    }
    let (status, answer) =
        administrator.send(Method::POST, "users/alice/server", json!({ "profile": "none-such" })).await?;
    ensure!(status.is_client_error() || status.is_server_error(), "{status}: {answer}");
    ensure!(namespace.all("pods").await?.is_empty());
    site.kept_to_the_charts_role()
}
