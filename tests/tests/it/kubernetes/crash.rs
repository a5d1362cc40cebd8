//! The hub is killed at each step of starts and stops; the next one finds everything again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NEEDS, Site};

const AT_REST_WITHIN: Duration = Duration::from_secs(90);

/// What can be seen of a start or stop from outside, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Asked,
    ClaimIsThere,
    PodIsThere,
    PodHasANode,
    PodRuns,
    PodIsEnding,
    PodIsGone,
}

#[tokio::test]
async fn a_hub_killed_at_any_step_of_a_start_leaves_nothing_that_the_next_does_not_know() -> Result<()> {
    killed_at(&[Step::Asked, Step::ClaimIsThere, Step::PodIsThere, Step::PodHasANode, Step::PodRuns], false)
        .await
}

#[tokio::test]
async fn a_hub_killed_at_any_step_of_a_stop_leaves_nothing_that_the_next_does_not_know() -> Result<()> {
    killed_at(&[Step::Asked, Step::PodIsEnding, Step::PodIsGone], true).await
}

async fn killed_at(steps: &[Step], while_stopping: bool) -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let annotations = json!({ "kubebed/start-delay": "2s", "kubebed/stuck-terminating": "2s" });
    let options = json!({ "extra_annotations": annotations });
    let mut site = Site::start(Kind::Himalia, options, |settings| Settings {
        slow_spawn_timeout: Duration::ZERO,
        ..settings.with_light_singleuser()
    })
    .await?;
    site.hub.administrator()?.add_user("witness").await?;
    site.hub.administrator()?.start_server("witness", "").await?;
    for (number, step) in steps.iter().enumerate() {
        let user = format!("user-{number}");
        let administrator = site.hub.administrator()?;
        administrator.add_user(&user).await?;
        if while_stopping {
            administrator.start_server(&user, "").await?;
            administrator.send(Method::DELETE, &format!("users/{user}/server"), Value::Null).await?;
        } else {
            administrator.request_start(&user, "").await?;
        }
        site.reaches(*step, &user).await?;
        site.hub.kill().await?;
        site.hub.start_again().await?;
        site.is_at_rest().await.with_context(|| format!("killed at {step:?}"))?;
        site.hub.administrator()?.server_is_ready("witness", "").await?;

        // Whatever has become of it, the next start works, and there is one pod and one claim.
        let administrator = site.hub.administrator()?;
        if while_stopping {
            administrator.server_is_gone(&user, "").await.with_context(|| format!("killed at {step:?}"))?;
        }
        administrator.start_server(&user, "").await.with_context(|| format!("killed at {step:?}"))?;
        let claims = site.namespace.all("persistentvolumeclaims").await?;
        ensure!(claims.len() == number + 2, "{:?}", claims.keys());
    }
    site.is_at_rest().await?;
    site.kept_to_the_charts_role()
}

impl Site {
    async fn reaches(&self, step: Step, user: &str) -> Result<()> {
        let (pod, claim) = (format!("jupyter-{user}"), format!("claim-{user}"));
        let (pod, claim) = (pod.as_str(), claim.as_str());
        eventually(&format!("{step:?} of {user}"), Duration::from_secs(60), || async move {
            let pod = self.namespace.find("pods", pod).await?;
            let of = |pointer: &str| pod.as_ref().and_then(|pod| pod.pointer(pointer));
            let reached = match step {
                Step::Asked => true,
                Step::ClaimIsThere => self.namespace.find("persistentvolumeclaims", claim).await?.is_some(),
                Step::PodIsThere => pod.is_some(),
                Step::PodHasANode => of("/spec/nodeName").is_some(),
                Step::PodRuns => of("/status/phase") == Some(&json!("Running")),
                Step::PodIsEnding => of("/metadata/deletionTimestamp").is_some(),
                Step::PodIsGone => pod.is_none(),
            };
            Ok(reached.then_some(()))
        })
        .await
    }

    /// Waits until nothing is under way and the hub's servers are the cluster's pods.
    pub(super) async fn is_at_rest(&self) -> Result<()> {
        let administrator = &self.hub.administrator()?;
        let mut last = Value::Null;
        let seen = std::cell::RefCell::new(&mut last);
        let seen = &seen;
        let rest = eventually("the hub is at rest", AT_REST_WITHIN, || async move {
            let users = administrator.fetch("users?include_stopped_servers=1").await?;
            let mut ready = BTreeSet::new();
            let mut pending = false;
            for user in users.as_array().context("a list of users")? {
                let servers = user.get("servers").and_then(Value::as_object).context("servers")?;
                for server in servers.values() {
                    pending |= server.get("pending").is_some_and(|pending| !pending.is_null());
                    if server.get("ready") == Some(&Value::Bool(true)) {
                        let name = server.pointer("/state/pod_name").and_then(Value::as_str);
                        ready.insert(name.context("a ready server without a pod")?.to_owned());
                    }
                }
            }
            let pods: BTreeSet<String> = self.namespace.all("pods").await?.into_keys().collect();
            **seen.borrow_mut() = json!({ "ready": ready, "pods": pods, "pending": pending });
            Ok((!pending && pods == ready).then_some(()))
        });
        rest.await.with_context(|| format!("log:\n{}", self.hub.log())).with_context(|| last.to_string())
    }
}
