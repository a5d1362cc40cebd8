//! The hub is killed at each step of starts and stops; the next one finds everything again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::{NEEDS, Site};

/// What can be seen of a start or stop from outside, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    StartIsAsked,
    ClaimIsThere,
    PodIsThere,
    PodHasANode,
    PodRuns,
    StopIsAsked,
    PodIsEnding,
    PodIsGone,
}

#[tokio::test]
async fn a_hub_killed_at_any_step_of_a_start_leaves_nothing_that_the_next_does_not_know() -> Result<()> {
    killed_at(
        &[Step::StartIsAsked, Step::ClaimIsThere, Step::PodIsThere, Step::PodHasANode, Step::PodRuns],
        false,
    )
    .await
}

#[tokio::test]
async fn a_hub_killed_at_any_step_of_a_stop_leaves_nothing_that_the_next_does_not_know() -> Result<()> {
    killed_at(&[Step::StopIsAsked, Step::PodIsEnding, Step::PodIsGone], true).await
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
        let stopping = if while_stopping {
            administrator.start_server(&user, "").await?;
            // The answer may come late, or never.
            let (administrator, path) = (administrator.clone(), format!("users/{user}/server"));
            Some(tokio::spawn(async move { administrator.send(Method::DELETE, &path, Value::Null).await }))
        } else {
            administrator.request_start(&user, "").await?;
            None
        };
        site.reaches(*step, &user).await?;
        site.hub.kill().await?;
        if let Some(stopping) = stopping {
            stopping.abort();
        }
        site.hub.start_again().await?;
        let context = || format!("killed at {step:?}");
        site.is_at_rest().await.with_context(context)?;
        let administrator = site.hub.administrator()?;
        administrator.server_is_ready("witness", "").await?;

        // Whatever has become of it, it can be stopped and started, and there is one pod and one claim.
        if site.is_there(&user).await? {
            administrator.stop_server(&user, "").await.with_context(context)?;
        }
        administrator.start_server(&user, "").await.with_context(context)?;
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
        eventually(&format!("{step:?} of {user}"), Duration::from_mins(1), || async move {
            let pod = self.namespace.find("pods", pod).await?;
            let of = |pointer: &str| pod.as_ref().and_then(|pod| pod.pointer(pointer));
            let reached = match step {
                Step::StartIsAsked => true,
                Step::StopIsAsked => !self.is_there(user).await? || self.is_pending(user).await?,
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

    /// Whether the hub has a server of this user, in whatever state.
    async fn is_there(&self, user: &str) -> Result<bool> {
        let user = self.hub.administrator()?.fetch(&format!("users/{user}")).await?;
        Ok(user.pointer("/servers").is_some_and(|servers| servers.get("").is_some()))
    }

    async fn is_pending(&self, user: &str) -> Result<bool> {
        let user = self.hub.administrator()?.fetch(&format!("users/{user}")).await?;
        Ok(user.get("pending").is_some_and(|pending| !pending.is_null()))
    }
}
