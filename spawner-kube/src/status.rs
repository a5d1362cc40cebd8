//! What a pod tells about its server. Answers to `KubeSpawner.poll` and `is_pod_running`.

use serde_json::Value;
use url::Url;

use crate::traits::ReadyWhen;

/// Name of the container that a server runs in.
const NOTEBOOK: &str = "notebook";

/// What to tell of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Exit code; none while it runs or comes up.
    pub exit: Option<i32>,
    /// Whether the pod is of no use any more and is to be deleted.
    pub delete: bool,
}

impl Look {
    const ALIVE: Self = Self { exit: None, delete: false };
    const GONE: Self = Self { exit: Some(1), delete: false };
}

/// Reads a pod, or its absence. `delete_stopped` is `delete_stopped_pods`.
pub fn look(pod: Option<&Value>, delete_stopped: bool) -> Look {
    let Some(pod) = pod else { return Look::GONE };
    if phase(pod) == Some("Pending") {
        return Look::ALIVE;
    }
    // Evicted and preempted pods have no containers.
    let Some(containers) = container_statuses(pod) else { return Look::GONE };
    let notebook = containers.iter().find(|container| is_notebook(container));
    let ended = notebook.and_then(|c| c.pointer("/state/terminated")).filter(|ended| !ended.is_null());
    match ended {
        Some(ended) => {
            let code =
                ended.get("exitCode").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
            Look { exit: Some(code.unwrap_or(1)), delete: delete_stopped }
        }
        None => Look::ALIVE,
    }
}

/// Exit code of a server that has ended for good; none while it runs, comes up, or is started again by its node.
///
/// [`look`] also tells the moment between the end of a container and its next start, which a hub that looks now and
/// then hardly ever meets and one that is told of every change always does.
pub fn end_of(pod: &Value) -> Option<i32> {
    look(Some(pod), false).exit.filter(|code| !is_started_again(pod, *code))
}

/// Whether the node starts a container again that ended with this code.
fn is_started_again(pod: &Value, code: i32) -> bool {
    let by_policy = match pod.pointer("/spec/restartPolicy").and_then(Value::as_str) {
        Some("Always") => true,
        Some("OnFailure") => code != 0,
        _ => false,
    };
    by_policy && phase(pod) == Some("Running") && pod.pointer("/metadata/deletionTimestamp").is_none()
}

/// Whether a server can be reached: its pod runs, has an address, is not being deleted, and its containers, those
/// that count, are ready.
pub fn is_running(pod: &Value, count: ReadyWhen) -> bool {
    let counts = |container: &&Value| count == ReadyWhen::All || is_notebook(container);
    let ready = |container: &Value| container.get("ready").and_then(Value::as_bool) == Some(true);
    let all_ready = |all: &Vec<Value>| {
        let mut counted = all.iter().filter(counts).peekable();
        (counted.peek().is_some() || count == ReadyWhen::All) && counted.all(ready)
    };
    phase(pod) == Some("Running")
        && pod.pointer("/status/podIP").is_some_and(Value::is_string)
        && pod.pointer("/metadata/deletionTimestamp").is_none()
        && container_statuses(pod).is_some_and(all_ready)
}

/// How often the notebook container has been started again, when the cluster has begun to wait before it does so.
pub fn crash_loop(pod: &Value) -> Option<u64> {
    let notebook = container_statuses(pod)?.iter().find(|container| is_notebook(container))?;
    let reason = notebook.pointer("/state/waiting/reason").and_then(Value::as_str);
    (reason == Some("CrashLoopBackOff"))
        .then(|| notebook.get("restartCount").and_then(Value::as_u64).unwrap_or_default())
}

fn is_notebook(container: &Value) -> bool {
    container.get("name").and_then(Value::as_str) == Some(NOTEBOOK)
}

/// Where a server has moved to, when it is elsewhere than the hub believes: host and port are compared.
pub fn moved<'u>(stored: &Url, now: &'u Url) -> Option<&'u Url> {
    let same = stored.host() == now.host() && stored.port_or_known_default() == now.port_or_known_default();
    (!same).then_some(now)
}

fn phase(pod: &Value) -> Option<&str> {
    pod.pointer("/status/phase")?.as_str()
}

fn container_statuses(pod: &Value) -> Option<&Vec<Value>> {
    pod.pointer("/status/containerStatuses")?.as_array()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_without_containers_are_gone_unless_they_wait() {
        assert_eq!(look(None, true), Look::GONE);
        assert_eq!(look(Some(&json!({"status": {"phase": "Failed"}})), true), Look::GONE);
        assert_eq!(look(Some(&json!({"status": {"phase": "Pending"}})), true), Look::ALIVE);
    }

    #[test]
    fn only_the_notebook_container_counts_for_the_end() {
        let pod = |name: &str| {
            json!({"status": {"phase": "Running", "containerStatuses": [
                {"name": name, "state": {"terminated": {"exitCode": 3}}}]}})
        };
        assert_eq!(look(Some(&pod("side")), true), Look::ALIVE);
        assert_eq!(look(Some(&pod("notebook")), false), Look { exit: Some(3), delete: false });
    }

    #[test]
    fn a_container_that_its_node_starts_again_has_not_ended() {
        let pod = |policy: &str, phase: &str, code: i32| {
            json!({"spec": {"restartPolicy": policy}, "status": {"phase": phase, "containerStatuses": [
                {"name": "notebook", "state": {"terminated": {"exitCode": code}}}]}})
        };
        assert_eq!(end_of(&pod("OnFailure", "Running", 137)), None);
        assert_eq!(end_of(&pod("OnFailure", "Running", 0)), Some(0));
        assert_eq!(end_of(&pod("Always", "Running", 0)), None);
        assert_eq!(end_of(&pod("Never", "Running", 1)), Some(1));
        // The pod as a whole has ended, or is about to.
        assert_eq!(end_of(&pod("OnFailure", "Failed", 137)), Some(137));
        let mut ending = pod("OnFailure", "Running", 137);
        ending["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(end_of(&ending), Some(137));
    }

    #[test]
    fn a_server_is_ready_by_its_notebook_or_by_all_its_containers() {
        let pod = |containers: Value| json!({"status": {"phase": "Running", "podIP": "1", "containerStatuses": containers}});
        let waiting_beside =
            pod(json!([{"name": "notebook", "ready": true}, {"name": "side", "ready": false}]));
        assert!(is_running(&waiting_beside, ReadyWhen::Notebook));
        assert!(!is_running(&waiting_beside, ReadyWhen::All));
        let other = pod(json!([{"name": "side", "ready": true}]));
        assert!(!is_running(&other, ReadyWhen::Notebook));
        assert!(is_running(&other, ReadyWhen::All));
    }

    #[test]
    fn crash_loops_are_seen_with_their_count() {
        let pod = |reason: &str| {
            json!({"status": {"containerStatuses": [
                {"name": "notebook", "restartCount": 4, "state": {"waiting": {"reason": reason}}}]}})
        };
        assert_eq!(crash_loop(&pod("CrashLoopBackOff")), Some(4));
        assert_eq!(crash_loop(&pod("ContainerCreating")), None);
    }

    #[test]
    fn a_server_has_moved_when_host_or_port_differ() {
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(moved(&url("http://[fd00::2]:8888/x"), &url("http://[fd00::2]:8888")).is_none());
        assert!(moved(&url("http://10.0.0.5/"), &url("http://10.0.0.5:80/")).is_none());
        assert!(moved(&url("http://10.0.0.5:8888/"), &url("http://10.0.0.9:8888/")).is_some());
    }
}
