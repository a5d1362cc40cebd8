//! Which pods a claim is mounted by. A claim that is in use, or was since it was given up, is never deleted.

use serde_json::Value;

use super::note::Note;
use crate::cluster::{ApiError, Kind, Query};
use crate::spawner::KubeSpawner;
use crate::view::pod;

/// Pods of one page.
const PAGE: u32 = 500;

/// What pods mean for a claim that is to go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nobody has it.
    None,
    /// This pod, which is about to end, still has it.
    Ending(String),
    /// This pod has it, or had it, after it was given up: it is not to go any more.
    Again(String),
}

impl KubeSpawner {
    /// Who uses a claim, as the cluster itself has it now.
    pub(super) async fn use_of(&self, note: &Note) -> Result<Use, ApiError> {
        let claim = note.claim();
        let query = Query {
            kind: Kind::Pod,
            namespace: claim.namespace.to_owned(),
            // Any pod may mount it.
            labels: String::new(),
            fields: String::new(),
        };
        let (mut found, mut more) = (Use::None, String::new());
        loop {
            let page = self.cluster.page(&query, PAGE, &more).await?;
            for pod in page.items.iter().filter(|pod| claims(pod).any(|mounted| mounted == claim.name)) {
                match use_by(pod, &note.made) {
                    Use::None => {}
                    again @ Use::Again(_) => return Ok(again),
                    ending @ Use::Ending(_) => found = ending,
                }
            }
            more = page.more;
            if more.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// The claims that a pod mounts.
pub(super) fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str())
}

/// What a pod that mounts a claim means. Times are the cluster's own, and all written alike.
fn use_by(pod: &Value, given_up: &str) -> Use {
    let name = || pod::name(pod).to_owned();
    let has_finished = matches!(pod::text(pod, "/status/phase"), "Succeeded" | "Failed");
    let is_younger = pod::text(pod, "/metadata/creationTimestamp") >= given_up;
    match (has_finished, pod::is_ending(pod)) {
        _ if is_younger => Use::Again(name()),
        (true, _) => Use::None,
        (false, true) => Use::Ending(name()),
        // The server's own pod was ended before it was deleted: this is of another one.
        (false, false) => Use::Again(name()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_ends_is_waited_for_and_any_other_one_has_the_claim() {
        let pod = |made: &str, phase: &str, is_ending: bool| {
            let mut pod = json!({ "metadata": { "name": "p", "creationTimestamp": made }, "status": { "phase": phase } });
            if is_ending {
                pod["metadata"]["deletionTimestamp"] = "2026-01-03T00:00:00Z".into();
            }
            use_by(&pod, "2026-01-02T00:00:00Z")
        };
        let (before, after) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:01Z");
        let (again, ending) = (|| Use::Again("p".to_owned()), || Use::Ending("p".to_owned()));
        assert_eq!(pod(before, "Running", false), again());
        assert_eq!(pod(before, "Running", true), ending());
        assert_eq!(pod(before, "Succeeded", false), Use::None);
        assert_eq!(pod(after, "Succeeded", false), again());
        assert_eq!(pod(after, "Running", true), again());
        assert_eq!(pod(after, "Pending", false), again());
    }

    #[test]
    fn the_claims_of_a_pod_are_those_of_its_volumes() {
        let pod = json!({ "spec": { "volumes": [{ "name": "a", "emptyDir": {} },
            { "name": "b", "persistentVolumeClaim": { "claimName": "claim-ann" } }] } });
        assert_eq!(claims(&pod).collect::<Vec<_>>(), ["claim-ann"]);
        assert_eq!(claims(&json!({})).count(), 0);
    }
}
