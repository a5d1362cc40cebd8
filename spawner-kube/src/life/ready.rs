//! Waiting until a server can be reached, or until it is clear that it will not be.

use std::sync::Arc;
use std::time::Duration;

use hub_core::SpawnError;
use hub_core::spawner::{Exit, Phase};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::steps::Steps;
use crate::causes::{self, Passing, Trouble};
use crate::cluster::{Cluster, Kind, Object};
use crate::status::{crash_loop, end_of, is_running, look};
use crate::traits::Traits;
use crate::view::{Follow, pod};

/// How long a pod that was created may be missing in the view, before it is asked for.
const UNSEEN: Duration = Duration::from_secs(5);

/// One pod that is to become ready.
pub(super) struct Wait<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) traits: &'a Traits,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    /// When the start has taken too long.
    pub(super) until: Instant,
    /// How long it may take, for the message.
    pub(super) limit: Duration,
}

/// Trouble and since when it has lasted.
struct Lasting {
    trouble: Trouble,
    since: Instant,
}

impl Wait<'_> {
    /// The pod when it is ready.
    pub(super) async fn ready(
        &self,
        follow: &mut Follow,
        steps: &mut Steps<'_>,
    ) -> Result<Arc<Value>, SpawnError> {
        let mut seen = false;
        let mut ask = Instant::now() + UNSEEN;
        let mut lasting: Option<Lasting> = None;
        loop {
            let events = follow.events();
            steps.events(&events);
            let trouble = match follow.pod() {
                Ok(Some(found)) if pod::uid(&found) == self.uid => {
                    seen = true;
                    if is_running(&found, self.traits.ready_when) {
                        steps.detail(Phase::Connecting, "The container of the server is ready.");
                        return Ok(found);
                    }
                    // Who waits for a start is told at once, even where the node would try again.
                    let code = look(Some(&found), false).exit;
                    if let Some(exit) = exit_with(code, &found, self.traits) {
                        return Err(ended(&exit));
                    }
                    // It never comes up again, however long it takes to go.
                    if pod::is_ending(&found) {
                        return Err(deleted(Some(&found)).into_error());
                    }
                    causes::of_pod(&found, events.iter().map(AsRef::as_ref))
                }
                Ok(_) if seen => return Err(deleted(follow.last().as_deref()).into_error()),
                Ok(_) if Instant::now() >= ask => {
                    ask = Instant::now() + UNSEEN;
                    self.ask().await?
                }
                Ok(_) => None,
                Err(error) => {
                    // Nothing is seen at all; once there is a view again, it gets its time to show the pod.
                    ask = Instant::now() + UNSEEN;
                    Some(error.into_trouble(&self.object().to_string()))
                }
            };
            steps.trouble(trouble.as_ref());
            lasting = last(lasting, trouble);
            if let Some(given_up) = lasting.as_ref().filter(|lasting| self.is_hopeless(lasting)) {
                return Err(given_up.trouble.clone().into_error());
            }
            steps.ask_for_patience();
            if Instant::now() >= self.until {
                return Err(self.too_late(lasting));
            }
            let wake = self.next_look(lasting.as_ref(), steps, (!seen).then_some(ask));
            tokio::select! {
                () = follow.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    fn object(&self) -> Object<'_> {
        Object { kind: Kind::Pod, namespace: self.namespace, name: self.name }
    }

    /// Asks for a pod that is missing in the view.
    async fn ask(&self) -> Result<Option<Trouble>, SpawnError> {
        match self.cluster.get(self.object()).await {
            Ok(Some(found)) if pod::uid(&found) == self.uid => Ok(None),
            Ok(_) => Err(deleted(None).into_error()),
            Err(error) => Ok(Some(error.into_trouble(&self.object().to_string()))),
        }
    }

    fn give_up_after(&self) -> Option<Duration> {
        u64::try_from(self.traits.give_up_after).ok().filter(|after| *after > 0).map(Duration::from_secs)
    }

    fn is_hopeless(&self, lasting: &Lasting) -> bool {
        lasting.trouble.passing == Passing::Never
            && self.give_up_after().is_some_and(|after| lasting.since.elapsed() >= after)
    }

    /// When to look again though nothing has changed.
    fn next_look(&self, lasting: Option<&Lasting>, steps: &Steps<'_>, ask: Option<Instant>) -> Instant {
        let hopeless = lasting.filter(|lasting| lasting.trouble.passing == Passing::Never);
        let give_up = hopeless.and_then(|lasting| Some(lasting.since + self.give_up_after()?));
        [give_up, steps.next_patience(), ask].into_iter().flatten().fold(self.until, Instant::min)
    }

    fn too_late(&self, lasting: Option<Lasting>) -> SpawnError {
        let text = format!("Your server did not start within {} seconds.", self.limit.as_secs());
        match lasting.map(|lasting| lasting.trouble) {
            None => SpawnError::timed_out("start-timeout", text),
            Some(trouble) => SpawnError {
                operator: format!("{text} {}", trouble.operator),
                ..SpawnError::timed_out(trouble.cause, format!("{text} {}", trouble.user))
            },
        }
    }
}

/// Trouble of the same kind lasts since it began.
fn last(before: Option<Lasting>, trouble: Option<Trouble>) -> Option<Lasting> {
    let trouble = trouble?;
    let since = before
        .filter(|before| before.trouble.cause == trouble.cause)
        .map_or_else(Instant::now, |before| before.since);
    Some(Lasting { trouble, since })
}

/// Why a pod is gone, or going, by what was last known of it.
fn deleted(last: Option<&Value>) -> Trouble {
    last.and_then(causes::ended_by_cluster).unwrap_or_else(|| {
        Trouble::new(
            "deleted",
            Passing::StartAgain,
            "Your server was deleted from the cluster. You can start it again.",
            "the pod was deleted by somebody else".to_owned(),
        )
    })
}

fn ended(exit: &Exit) -> SpawnError {
    let code = exit.code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    let user = exit.message.clone().unwrap_or_else(|| "Your server ended while it was starting.".to_owned());
    let operator = format!("the container ended before it was ready, exit code {code}");
    SpawnError::broken(exit.cause.unwrap_or("exited"), user, operator).retryable()
}

/// How a server ended that has a pod; none while it lives.
pub(super) fn exit_of(found: &Value, traits: &Traits) -> Option<Exit> {
    exit_with(end_of(found), found, traits)
}

/// How a server ended whose pod is gone, or going, by what was last known of it.
pub(super) fn exit_without(last: Option<&Value>) -> Exit {
    let trouble = deleted(last);
    Exit { code: Some(1), cause: Some(trouble.cause), message: Some(trouble.user) }
}

/// The same of a pod that is there, by the exit code and by the number of its crashes.
fn exit_with(code: Option<i32>, found: &Value, traits: &Traits) -> Option<Exit> {
    let limit = u64::try_from(traits.crash_limit).ok().filter(|limit| *limit > 0);
    let crashed = crash_loop(found).zip(limit).is_some_and(|(restarts, limit)| restarts >= limit);
    if code.is_none() && !crashed {
        return None;
    }
    let trouble = causes::of_pod(found, []);
    Some(Exit {
        code: code.or(Some(1)),
        cause: trouble.as_ref().map(|trouble| trouble.cause),
        message: trouble.map(|trouble| trouble.user),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ends_are_told_with_their_cause() {
        let traits = Traits::default();
        let evicted = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "memory"}});
        let exit = exit_of(&evicted, &traits).unwrap();
        assert_eq!((exit.code, exit.cause), (Some(1), Some("evicted")));
        assert_eq!(exit_without(None).cause, Some("deleted"));
        let drained = json!({"status": {"phase": "Running", "containerStatuses": [], "conditions": [
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}});
        assert_eq!(exit_without(Some(&drained)).cause, Some("node-drained"));
        assert_eq!(exit_of(&drained, &traits), None, "it runs until it is gone");
        let oom = json!({"status": {"phase": "Running", "containerStatuses": [
            {"name": "notebook", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}});
        let exit = exit_of(&oom, &traits).unwrap();
        assert_eq!((exit.code, exit.cause), (Some(137), Some("oom-killed")));
        assert_eq!(exit_of(&json!({"status": {"phase": "Pending"}}), &traits), None);
    }

    #[test]
    fn a_server_that_crashes_again_and_again_has_ended_at_the_limit() {
        let pod = |restarts: u64| {
            json!({"status": {"phase": "Running", "containerStatuses": [{"name": "notebook",
                "restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}})
        };
        let traits = Traits::default();
        assert_eq!(exit_of(&pod(4), &traits), None);
        assert_eq!(exit_of(&pod(5), &traits).unwrap().cause, Some("crash-loop"));
        let never = Traits { crash_limit: 0, ..Traits::default() };
        assert_eq!(exit_of(&pod(50), &never), None);
    }
}
