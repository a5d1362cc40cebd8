//! Causes that a pod's status and events show.

use serde_json::Value;

use super::{Passing, Trouble};

/// The trouble that a pod is in, the most telling one. `events` are those of this pod, in order of time.
pub fn of_pod<'e>(pod: &Value, events: impl IntoIterator<Item = &'e Value>) -> Option<Trouble> {
    let events: Vec<&Value> = events.into_iter().collect();
    let warnings: Vec<&Value> = events.iter().copied().filter(|event| is_warning(event)).collect();
    ended_by_cluster(pod)
        .or_else(|| containers(pod, &warnings))
        .or_else(|| by_events(pod, &events))
        .or_else(|| unschedulable(pod))
}

/// Why the cluster has ended a pod, or is about to: nothing that the server itself did.
pub fn ended_by_cluster(pod: &Value) -> Option<Trouble> {
    ended_by_node(pod).or_else(|| disrupted(pod))
}

fn is_warning(event: &Value) -> bool {
    text(event, "/type") == "Warning"
}

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// A pod that its node, or the cluster, has ended.
fn ended_by_node(pod: &Value) -> Option<Trouble> {
    if text(pod, "/status/phase") != "Failed" {
        return None;
    }
    let (reason, message) = (text(pod, "/status/reason"), text(pod, "/status/message"));
    let (cause, user) = match reason {
        "Evicted" if message.contains("ephemeral-storage") || message.contains("disk") => {
            ("disk-full", "Your server was stopped because the disk of its machine is full.")
        }
        "Evicted" => ("evicted", "Your server was stopped because its machine ran short of memory or disk."),
        "Preempting" | "Preempted" => {
            ("preempted", "Your server had to make room for something more important.")
        }
        "NodeShutdown" | "Shutdown" | "Terminated" => {
            ("node-shutdown", "The machine that your server ran on was shut down.")
        }
        "NodeLost" => ("node-lost", "The machine that your server ran on does not answer any more."),
        "DeadlineExceeded" => ("deadline", "Your server reached the longest time that it may run."),
        "NodeAffinity" | "UnexpectedAdmissionError" => {
            ("node-full", "The machine that was chosen for your server could not take it.")
        }
        _ if reason.starts_with("OutOf") => {
            ("node-full", "The machine that was chosen for your server is full.")
        }
        _ => return None,
    };
    let operator = format!("the pod ended with {reason}: {message}");
    Some(Trouble::new(cause, Passing::StartAgain, &format!("{user} You can start it again."), operator))
}

/// A pod that is deleted by the cluster and not by a person says so in a condition.
fn disrupted(pod: &Value) -> Option<Trouble> {
    let conditions = pod.pointer("/status/conditions")?.as_array()?;
    let target =
        conditions.iter().find(|c| text(c, "/type") == "DisruptionTarget" && text(c, "/status") == "True")?;
    let (reason, message) = (text(target, "/reason"), text(target, "/message"));
    let (cause, user) = match reason {
        "PreemptionByScheduler" => {
            ("preempted", "Your server had to make room for something more important.")
        }
        "EvictionByEvictionAPI" => {
            ("node-drained", "The machine that your server ran on is being cleared, for maintenance say.")
        }
        "DeletionByTaintManager" | "DeletionByPodGC" => {
            ("node-lost", "The machine that your server ran on cannot be used any more.")
        }
        _ => return None,
    };
    let operator = format!("the cluster ends the pod, {reason}: {message}");
    Some(Trouble::new(cause, Passing::StartAgain, &format!("{user} You can start it again."), operator))
}

fn containers(pod: &Value, warnings: &[&Value]) -> Option<Trouble> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|path| pod.pointer(path)?.as_array())
        .flatten()
        .find_map(|status| container(status, warnings))
}

fn container(status: &Value, warnings: &[&Value]) -> Option<Trouble> {
    let name = text(status, "/name");
    let waiting = text(status, "/state/waiting/reason");
    let message = text(status, "/state/waiting/message");
    let operator = format!("container {name}: {waiting}: {message}");
    let trouble = |cause, passing, user: &str| Some(Trouble::new(cause, passing, user, operator.clone()));
    match waiting {
        "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" => {
            // Between two tries older nodes say in the status only that they wait, and in their events why.
            let image = text(status, "/image");
            let mut told = warnings.iter().rev().map(|event| text(event, "/message"));
            let why = told.find(|told| told.starts_with("Failed to pull image") && told.contains(image));
            let message = why.map_or_else(|| message.to_owned(), |why| format!("{message}: {why}"));
            let operator = format!("container {name}: {waiting}: {message}");
            Some(pulling(image, &message, &operator))
        }
        "InvalidImageName" => {
            trouble("image-name", Passing::Never, "The name of your server's image is not valid.")
        }
        "ErrImageNeverPull" => trouble(
            "image-absent",
            Passing::Never,
            "The image of your server is not on the machine and may not be fetched.",
        ),
        "CreateContainerConfigError" => trouble(
            "config-missing",
            Passing::Never,
            "Something that your server is configured with does not exist.",
        ),
        "CreateContainerError" | "RunContainerError" => {
            trouble("container-error", Passing::Never, "The container of your server cannot be started.")
        }
        "CrashLoopBackOff" => Some(crashing(status, name)),
        _ => killed(status, name),
    }
}

/// What a registry answers has no codes: the texts of the common ones are told apart.
fn pulling(image: &str, message: &str, operator: &str) -> Trouble {
    let lower = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let (cause, passing, user) = if has(&["toomanyrequests", "too many requests", "rate limit"]) {
        ("image-rate-limited", Passing::Perhaps, "The registry of images asks to wait.")
    } else if has(&[
        "unauthorized",
        "authentication required",
        "access denied",
        "authorization failed",
        "forbidden",
    ]) && !has(&["repository does not exist"])
    {
        ("image-denied", Passing::Never, "The registry does not give out the image of your server.")
    } else if has(&["not found", "manifest unknown", "does not exist", "no such image", "name unknown"]) {
        ("image-missing", Passing::Never, "The image of your server does not exist.")
    } else if has(&["no such host", "timeout", "refused", "unreachable", "deadline exceeded", "tls", "eof"]) {
        ("registry-unreachable", Passing::Perhaps, "The registry of images does not answer.")
    } else if has(&["no space left"]) {
        ("disk-full", Passing::Perhaps, "The disk of the machine is full.")
    } else {
        ("image-pull", Passing::Perhaps, "The image of your server could not be fetched yet.")
    };
    Trouble::new(cause, passing, &format!("{user} ({image})"), operator.to_owned())
}

fn crashing(status: &Value, name: &str) -> Trouble {
    let restarts = status.get("restartCount").and_then(Value::as_u64).unwrap_or_default();
    let last = status.pointer("/lastState/terminated");
    let code = last.and_then(|last| last.get("exitCode")).and_then(Value::as_i64);
    let reason = last.map_or("", |last| text(last, "/reason"));
    let operator =
        format!("container {name} has restarted {restarts} times, last exit code {code:?} ({reason})");
    if reason == "OOMKilled" {
        let user = "Your server needs more memory than it may have, again and again. Choose a bigger one.";
        return Trouble {
            operator,
            user: user.to_owned(),
            ..Trouble::new("oom-killed", Passing::Never, "", String::new())
        };
    }
    Trouble::new(
        "crash-loop",
        Passing::Never,
        "Your server ends again and again right after its start.",
        operator,
    )
}

fn killed(status: &Value, name: &str) -> Option<Trouble> {
    let ended = status.pointer("/state/terminated").filter(|ended| !ended.is_null())?;
    let code = ended.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
    let reason = text(ended, "/reason");
    let operator = format!("container {name} ended with code {code} ({reason}): {}", text(ended, "/message"));
    match reason {
        "OOMKilled" => Some(Trouble::new(
            "oom-killed",
            Passing::StartAgain,
            "Your server used more memory than it may have and was stopped. You can start it again.",
            operator,
        )),
        "StartError" | "ContainerCannotRun" => Some(Trouble::new(
            "container-error",
            Passing::Never,
            "The container of your server cannot be started.",
            operator,
        )),
        _ if code != 0 => {
            Some(Trouble::new("exited", Passing::StartAgain, "Your server has ended by itself.", operator))
        }
        _ => None,
    }
}

/// The trouble that the last warnings tell, unless something was told later that shows it to be over.
fn by_events(pod: &Value, events: &[&Value]) -> Option<Trouble> {
    let has_node = !text(pod, "/spec/nodeName").is_empty();
    let mut attached = Vec::new();
    for event in events.iter().rev() {
        let (reason, message) = (text(event, "/reason"), text(event, "/message"));
        match reason {
            "FailedScheduling" if has_node => {}
            "FailedAttachVolume" if volume(message).is_some_and(|name| attached.contains(&name)) => {}
            "SuccessfulAttachVolume" => attached.extend(volume(message)),
            // Images come after volumes and the network.
            "Pulling" | "Pulled" | "Created" | "Started" => return None,
            _ if is_warning(event) => {
                if let Some(trouble) = by_event(event) {
                    return Some(trouble);
                }
            }
            _ => {}
        }
    }
    None
}

/// The volume that an event is about: `... for volume "pvc-1" ...`.
fn volume(message: &str) -> Option<&str> {
    message.split_once("volume \"")?.1.split('"').next()
}

fn by_event(event: &Value) -> Option<Trouble> {
    let (reason, message) = (text(event, "/reason"), text(event, "/message"));
    let (cause, user) = match reason {
        _ if message.contains("no space left on device") => ("disk-full", "The disk of the machine is full."),
        "FailedAttachVolume" if message.contains("Multi-Attach") => (
            "volume-multi-attach",
            "Your files are still in use on another machine. This passes when the old server is gone.",
        ),
        "FailedMount" | "FailedAttachVolume" if message.contains("not found") => {
            ("volume-missing", "A volume, or a part of one, that your server needs does not exist.")
        }
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => {
            ("volume-attach", "Your files could not be made available to the server yet.")
        }
        "FailedCreatePodSandBox" | "NetworkNotReady" => {
            ("network-setup", "The network of your server is not ready yet.")
        }
        "FailedScheduling" => return Some(short_of(message)),
        _ => return None,
    };
    Some(Trouble::new(cause, Passing::Perhaps, user, format!("{reason}: {message}")))
}

fn unschedulable(pod: &Value) -> Option<Trouble> {
    let conditions = pod.pointer("/status/conditions")?.as_array()?;
    let scheduled = conditions.iter().find(|c| text(c, "/type") == "PodScheduled")?;
    (text(scheduled, "/status") == "False" && text(scheduled, "/reason") == "Unschedulable")
        .then(|| short_of(text(scheduled, "/message")))
}

fn short_of(message: &str) -> Trouble {
    let reasons = resources_short(message);
    let user = if reasons.is_empty() {
        "There is no machine that could take your server yet.".to_owned()
    } else {
        let list: Vec<String> =
            reasons.iter().map(|(nodes, reason)| format!("{reason} ({nodes} machines)")).collect();
        format!("There is no machine that could take your server yet: {}.", list.join(", "))
    };
    Trouble::new("unschedulable", Passing::Perhaps, &user, format!("the scheduler says: {message}"))
}

/// The reasons in a scheduler's message, `0/3 nodes are available: 1 Insufficient cpu, 2 ...`: number of machines and
/// reason in words for people.
pub fn resources_short(message: &str) -> Vec<(u32, String)> {
    let Some((_, list)) = message.split_once("nodes are available: ") else { return Vec::new() };
    let list = list.split(". ").next().unwrap_or(list).trim_end_matches('.');
    list.split(", ")
        .filter_map(|part| {
            let (number, reason) = part.trim().split_once(' ')?;
            Some((number.parse().ok()?, in_words(reason)))
        })
        .collect()
}

fn in_words(reason: &str) -> String {
    match reason.strip_prefix("Insufficient ") {
        Some("cpu") => return "not enough processors".to_owned(),
        Some("memory") => return "not enough memory".to_owned(),
        Some("ephemeral-storage") => return "not enough disk".to_owned(),
        Some("pods") => return "too many servers on the machine".to_owned(),
        Some(other) => return format!("not enough {other}"),
        None => {}
    }
    let known = [
        ("Too many pods", "too many servers on the machine"),
        ("untolerated taint", "reserved for others"),
        ("didn't match Pod's node affinity", "not of the kind that was asked for"),
        ("didn't match node selector", "not of the kind that was asked for"),
        ("volume node affinity conflict", "too far from your files"),
        ("exceed max volume count", "too many volumes on the machine"),
        ("unbound immediate PersistentVolumeClaims", "your storage is not ready"),
        ("were unschedulable", "closed for maintenance"),
    ];
    let found = known.iter().find(|(part, _)| reason.contains(part));
    found.map_or_else(|| reason.to_owned(), |(_, words)| (*words).to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"status": {"phase": "Pending", "containerStatuses": [
            {"name": "notebook", "image": "a:1", "state": {"waiting": {"reason": reason, "message": message}}}]}})
    }

    #[rstest]
    #[case("ErrImagePull", "manifest for a:1 not found: manifest unknown", "image-missing", Passing::Never)]
    #[case(
        "ImagePullBackOff",
        "pull access denied, repository does not exist",
        "image-missing",
        Passing::Never
    )]
    #[case("ErrImagePull", "failed to authorize: 401 Unauthorized", "image-denied", Passing::Never)]
    #[case("ErrImagePull", "toomanyrequests: You have reached", "image-rate-limited", Passing::Perhaps)]
    #[case(
        "ErrImagePull",
        "dial tcp: lookup quay.io: no such host",
        "registry-unreachable",
        Passing::Perhaps
    )]
    #[case("InvalidImageName", "", "image-name", Passing::Never)]
    #[case("CreateContainerConfigError", "secret \"x\" not found", "config-missing", Passing::Never)]
    fn waiting_containers_tell_why(
        #[case] reason: &str,
        #[case] message: &str,
        #[case] cause: &str,
        #[case] passing: Passing,
    ) {
        let trouble = of_pod(&waiting(reason, message), &[]).unwrap();
        assert_eq!((trouble.cause, trouble.passing), (cause, passing), "{trouble:?}");
        assert!(trouble.operator.contains(message));
    }

    #[test]
    fn an_image_that_is_not_tried_for_just_now_has_the_cause_of_the_last_try() {
        let pod = waiting("ImagePullBackOff", "Back-off pulling image \"a:1\"");
        assert_eq!(of_pod(&pod, &[]).unwrap().cause, "image-pull");
        let failed = |image: &str| {
            let message = format!("Failed to pull image \"{image}\": manifest unknown");
            json!({"type": "Warning", "reason": "Failed", "message": message})
        };
        let trouble = of_pod(&pod, [&failed("a:1")]).unwrap();
        assert_eq!(trouble.cause, "image-missing");
        assert!(trouble.operator.contains("manifest unknown"), "{trouble:?}");
        assert_eq!(of_pod(&pod, [&failed("b:2")]).unwrap().cause, "image-pull");
    }

    #[test]
    fn pods_that_are_coming_up_are_in_no_trouble() {
        assert_eq!(of_pod(&waiting("ContainerCreating", ""), &[]), None);
        assert_eq!(of_pod(&waiting("PodInitializing", ""), &[]), None);
        assert_eq!(of_pod(&json!({"status": {"phase": "Running"}}), &[]), None);
    }

    #[test]
    fn crashes_are_counted_and_memory_is_named() {
        let pod = |reason: &str| {
            json!({"status": {"phase": "Running", "containerStatuses": [{"name": "notebook", "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": reason}}}]}})
        };
        assert_eq!(of_pod(&pod("OOMKilled"), &[]).unwrap().cause, "oom-killed");
        let trouble = of_pod(&pod("Error"), &[]).unwrap();
        assert_eq!(trouble.cause, "crash-loop");
        assert!(trouble.operator.contains("restarted 4 times"), "{trouble:?}");
    }

    #[rstest]
    #[case("Evicted", "The node was low on resource: memory", "evicted")]
    #[case("Evicted", "Pod ephemeral-storage usage exceeds", "disk-full")]
    #[case("Terminated", "Pod was terminated in response to imminent node shutdown.", "node-shutdown")]
    #[case("OutOfcpu", "", "node-full")]
    fn nodes_that_end_pods_are_named(#[case] reason: &str, #[case] message: &str, #[case] cause: &str) {
        let pod = json!({"status": {"phase": "Failed", "reason": reason, "message": message}});
        assert_eq!(of_pod(&pod, &[]).unwrap().cause, cause);
    }

    #[test]
    fn volumes_speak_by_events_and_the_last_word_counts() {
        let pod = json!({"status": {"phase": "Pending"}});
        let event =
            |reason: &str, message: &str| json!({"type": "Warning", "reason": reason, "message": message});
        let events = [
            event("FailedMount", "MountVolume.SetUp failed: secret \"x\" not found"),
            event("FailedAttachVolume", "Multi-Attach error for volume \"pvc-1\""),
        ];
        assert_eq!(of_pod(&pod, &events).unwrap().cause, "volume-multi-attach");
        assert_eq!(of_pod(&pod, &events[..1]).unwrap().cause, "volume-missing");
        let normal = json!({"type": "Normal", "reason": "FailedMount", "message": ""});
        assert_eq!(of_pod(&pod, [&normal]), None);
    }

    #[rstest]
    #[case("FailedMount", "secret \"x\" not found", "Pulling", "", "volume-missing")]
    #[case("FailedCreatePodSandBox", "no address", "Created", "", "network-setup")]
    #[case(
        "FailedAttachVolume",
        "Multi-Attach error for volume \"pvc-1\" Volume is used",
        "SuccessfulAttachVolume",
        "AttachVolume.Attach succeeded for volume \"pvc-1\"",
        "volume-multi-attach"
    )]
    fn a_trouble_is_over_when_the_pod_has_gone_on(
        #[case] reason: &str,
        #[case] message: &str,
        #[case] later: &str,
        #[case] later_message: &str,
        #[case] cause: &str,
    ) {
        let pod = json!({"status": {"phase": "Pending"}});
        let trouble = json!({"type": "Warning", "reason": reason, "message": message});
        let over = json!({"type": "Normal", "reason": later, "message": later_message});
        assert_eq!(of_pod(&pod, [&trouble]).unwrap().cause, cause);
        assert_eq!(of_pod(&pod, [&trouble, &over]), None);
        assert_eq!(of_pod(&pod, [&over, &trouble]).unwrap().cause, cause);
    }

    #[test]
    fn a_pod_that_has_a_node_is_not_short_of_one() {
        let event = json!({"type": "Warning", "reason": "FailedScheduling",
            "message": "0/1 nodes are available: 1 Insufficient cpu."});
        assert_eq!(
            of_pod(&json!({"status": {"phase": "Pending"}}), [&event]).unwrap().cause,
            "unschedulable"
        );
        let placed = json!({"spec": {"nodeName": "n"}, "status": {"phase": "Pending"}});
        assert_eq!(of_pod(&placed, [&event]), None);
    }

    #[rstest]
    #[case("PreemptionByScheduler", "preempted")]
    #[case("EvictionByEvictionAPI", "node-drained")]
    #[case("DeletionByTaintManager", "node-lost")]
    fn a_pod_that_the_cluster_deletes_says_why(#[case] reason: &str, #[case] cause: &str) {
        let pod = |status: &str| {
            json!({"metadata": {"deletionTimestamp": "now"}, "status": {"phase": "Running", "conditions": [
                {"type": "DisruptionTarget", "status": status, "reason": reason, "message": "m"}]}})
        };
        assert_eq!(of_pod(&pod("True"), []).unwrap().cause, cause);
        assert_eq!(of_pod(&pod("False"), []), None);
    }

    #[test]
    fn people_read_which_resource_is_short() {
        let message = "0/5 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu, 2 node(s) had \
                       untolerated taint {x: y}. preemption: 0/5 nodes are available: 5 No preemption victims.";
        let pod = json!({"status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}});
        let trouble = of_pod(&pod, &[]).unwrap();
        assert_eq!(trouble.cause, "unschedulable");
        assert_eq!(
            trouble.user,
            "There is no machine that could take your server yet: not enough processors (1 machines), not enough \
             nvidia.com/gpu (2 machines), reserved for others (2 machines)."
        );
    }
}
