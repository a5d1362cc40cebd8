//! Claims that go once their content is kept as a snapshot. That a claim is to go stands in the cluster, as a secret
//! beside it without data: whichever hub looks next goes on where another one stopped, until the snapshot can be relied
//! on and the claim is gone. Nobody uses the claim in between.

mod rounds;

use std::time::Duration;

use hub_core::{ServerRef, SpawnError};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tracing::info;

pub(crate) use rounds::Archives;

use super::ending::failed;
use super::steps::Steps;
use crate::blueprint::failure;
use crate::causes::{Passing, Trouble};
use crate::cluster::{ApiError, Kind, Object};
use crate::server::Server;
use crate::spawner::KubeSpawner;
use crate::traits::Traits;
use crate::view::pod;

/// Label of notes, and annotation of snapshots with the id of their note.
const ARCHIVE: &str = "hub.jupyter.org/himalia-archive";
/// Annotations of a note: the claim, by name and id.
const CLAIM: &str = "hub.jupyter.org/himalia-claim";
const CLAIM_UID: &str = "hub.jupyter.org/himalia-claim-uid";
/// How long whoever deletes a server waits for the archive. After that the hub goes on with it beside.
const AT_FIRST: Duration = Duration::from_secs(10);
/// Pause between two looks while somebody waits.
const LOOK: Duration = Duration::from_secs(1);
/// Digits of a note's id in the name of its snapshot: each deletion has a snapshot of its own.
const DIGITS: usize = 8;

/// That a claim is to go, as the cluster has it.
#[derive(Debug, Clone)]
struct Note {
    namespace: String,
    name: String,
    uid: String,
    claim: String,
    claim_uid: String,
    user: String,
    server: String,
}

impl Note {
    fn read(namespace: &str, secret: &Value) -> Self {
        let annotation = |name: &str| pod::annotation(secret, name).to_owned();
        Self {
            namespace: namespace.to_owned(),
            name: pod::name(secret).to_owned(),
            uid: pod::uid(secret).to_owned(),
            claim: annotation(CLAIM),
            claim_uid: annotation(CLAIM_UID),
            user: annotation(pod::USER),
            server: annotation(pod::SERVER),
        }
    }

    fn object(&self) -> Object<'_> {
        Object { kind: Kind::Secret, namespace: &self.namespace, name: &self.name }
    }

    fn claim(&self) -> Object<'_> {
        Object { kind: Kind::Claim, namespace: &self.namespace, name: &self.claim }
    }

    /// The snapshot. It says whose it is, as the claim does.
    fn snapshot(&self, traits: &Traits) -> Value {
        let id: String = self.uid.chars().filter(char::is_ascii_alphanumeric).take(DIGITS).collect();
        let mut spec = json!({ "source": { "persistentVolumeClaimName": self.claim } });
        if let Some(class) = &traits.archive_snapshot_class {
            spec["volumeSnapshotClassName"] = class.as_str().into();
        }
        json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {
                "name": format!("{}-{id}", self.claim),
                "labels": traits.common_labels,
                "annotations": { (pod::USER): self.user, (pod::SERVER): self.server, (ARCHIVE): self.uid },
            },
            "spec": spec,
        })
    }
}

/// Name of the note about a claim.
fn note_name(claim: &str) -> String {
    format!("{claim}-archive")
}

/// Whether anything can ever have been written to a claim: none is bound to a volume before its first pod where the
/// cluster waits for that.
pub(super) fn has_content(claim: &Value) -> bool {
    !pod::text(claim, "/spec/volumeName").is_empty()
}

impl KubeSpawner {
    /// Whether claims are archived before they are deleted.
    pub(super) fn archives_claims(&self) -> bool {
        let traits = self.blueprint.traits();
        traits.archive_pvc && traits.delete_pvc
    }

    /// Writes down that a claim is to go, and waits a little for its end.
    pub(super) async fn archive(
        &self,
        server: &ServerRef,
        claim: Object<'_>,
        found: &Value,
    ) -> Result<(), SpawnError> {
        let note = self.note(claim, found).await?;
        let until = Instant::now() + AT_FIRST;
        loop {
            let left = self.go_on(&note).await;
            if left.is_err() || Instant::now() >= until {
                self.archives.plan().put_off(&note);
            }
            match left? {
                None => return Ok(()),
                Some(why) if Instant::now() >= until => {
                    info!(server = %server.key, %claim, why, "the files of a server are still being archived; going on beside");
                    return Ok(());
                }
                Some(_) => sleep(LOOK).await,
            }
        }
    }

    /// The note about a claim, made where there is none.
    async fn note(&self, claim: Object<'_>, found: &Value) -> Result<Note, SpawnError> {
        let name = note_name(claim.name);
        let object = Object { kind: Kind::Secret, name: &name, ..claim };
        let told = |error: ApiError| {
            let mut error = failed(error, object);
            error.operator.push_str("; so nothing tells that the claim is to be archived, and it is kept");
            error
        };
        let mut labels = self.blueprint.traits().common_labels.clone();
        labels.insert(ARCHIVE.to_owned(), "pending".into());
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": {
                    (pod::USER): pod::annotation(found, pod::USER),
                    (pod::SERVER): pod::annotation(found, pod::SERVER),
                    (pod::HUB): self.hub.as_deref().unwrap_or_default(),
                    (CLAIM): claim.name,
                    (CLAIM_UID): pod::uid(found),
                },
            },
        });
        // One about an earlier claim of the name makes way.
        let until = Instant::now() + AT_FIRST;
        loop {
            let error = match self.cluster.create(Kind::Secret, claim.namespace, &manifest).await {
                Ok(made) => return Ok(Note::read(claim.namespace, &made)),
                Err(error) if error.status() == Some(409) => error,
                Err(error) => return Err(told(error)),
            };
            if let Some(there) = self.cluster.get(object).await.map_err(told)? {
                let note = Note::read(claim.namespace, &there);
                if note.claim_uid == pod::uid(found) {
                    return Ok(note);
                }
                if note.claim != claim.name || Instant::now() >= until {
                    return Err(told(error));
                }
                self.cluster.delete(object, None, Some(&note.uid)).await.map_err(told)?;
            }
            sleep(LOOK).await;
        }
    }

    /// One step more; none when claim and note are gone, else what is waited for.
    async fn go_on(&self, note: &Note) -> Result<Option<String>, SpawnError> {
        let claim = note.claim();
        let found = self.cluster.get(claim).await.map_err(|error| failed(error, claim))?;
        let is_meant = |found: &Value| {
            pod::uid(found) == note.claim_uid && pod::annotation(found, pod::USER) == note.user
        };
        let Some(found) = found.filter(is_meant) else {
            let deleted = self.cluster.delete(note.object(), None, Some(&note.uid)).await;
            deleted.map_err(|error| failed(error, note.object()))?;
            return Ok(None);
        };
        if !pod::is_ending(&found) {
            if has_content(&found)
                && let Some(why) = self.keep(note).await?
            {
                return Ok(Some(why));
            }
            let deleted = self.cluster.delete(claim, None, Some(&note.claim_uid)).await;
            if deleted.map_err(|error| failed(error, claim))? {
                info!(%claim, user = note.user, server = note.server, "files archived, volume claim deleted");
            }
        }
        Ok(Some(format!("{claim} is being deleted")))
    }

    /// Makes the snapshot of a claim; none when it can be relied on, else what is wrong.
    async fn keep(&self, note: &Note) -> Result<Option<String>, SpawnError> {
        let manifest = note.snapshot(self.blueprint.traits());
        let object = Object { kind: Kind::Snapshot, namespace: &note.namespace, name: pod::name(&manifest) };
        let made = match self.cluster.create(object.kind, object.namespace, &manifest).await {
            Ok(made) => {
                info!(snapshot = %object, claim = %note.claim(), "keeping the content of a claim");
                Some(made)
            }
            // An earlier try has made it.
            Err(error) if error.status() == Some(409) => {
                self.cluster.get(object).await.map_err(|error| failed(error, object))?
            }
            Err(error) => {
                let mut error = failed(error, object);
                error.operator.push_str(
                    "; `archive_pvc` needs the snapshot API of the cluster and rights on it. The claim is kept, and \
                     this is tried again",
                );
                return Err(error);
            }
        };
        let made = made.unwrap_or_default();
        let is_ours = made.is_null() || pod::annotation(&made, ARCHIVE) == note.uid;
        let is_ready = made.pointer("/status/readyToUse") == Some(&Value::Bool(true));
        if is_ours && is_ready && !pod::is_ending(&made) {
            return Ok(None);
        }
        let reason = match pod::text(&made, "/status/error/message") {
            _ if !is_ours => "it is another one's; remove it, or give it another name",
            "" => "no reason is told",
            reason => reason,
        };
        Ok(Some(format!(
            "{object} is not ready: {reason}. {} is kept until it is; if the snapshot itself is wrong, delete it, and \
             another one is made",
            note.claim()
        )))
    }

    /// Before a server is given a claim: waits for the end of an earlier one of its name, which belonged to a server that
    /// is deleted for ever.
    pub(super) async fn leave_archived(
        &self,
        server: &Server,
        until: Instant,
        steps: &mut Steps<'_>,
    ) -> Result<(), SpawnError> {
        if !self.archives_claims() || !server.traits.storage_pvc_ensure {
            return Ok(());
        }
        let legacy = server.legacy_pvc().map_err(failure)?;
        for claim in std::iter::once(&server.names.pvc).chain(&legacy) {
            let (namespace, name) = (server.names.namespace.as_str(), note_name(claim));
            let object = Object { kind: Kind::Secret, namespace, name: &name };
            let found = self.cluster.get(object).await.map_err(|error| failed(error, object))?;
            // Whatever else has that name is nothing to us.
            let Some(found) = found.filter(|found| pod::annotation(found, CLAIM) == claim) else { continue };
            let note = Note::read(namespace, &found);
            loop {
                let (why, has_failed) = match self.go_on(&note).await {
                    Ok(None) => break,
                    Ok(Some(why)) => (why, false),
                    Err(error) => (error.operator, true),
                };
                let trouble = being_archived(format!("{why}. To use the claim again, delete {object}"));
                if has_failed || Instant::now() >= until {
                    return Err(trouble.into_error());
                }
                steps.trouble(Some(&trouble));
                sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
            }
            steps.trouble(None);
        }
        Ok(())
    }
}

fn being_archived(operator: String) -> Trouble {
    let user = "The files of an earlier server of this name are still being archived. Try again in a while.";
    Trouble::new("archiving", Passing::Perhaps, user, operator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_of_one_deletion_and_says_whose_it_is() {
        let note = json!({ "metadata": { "name": "claim-ann-archive", "uid": "0123-4567-89ab", "annotations": {
            "hub.jupyter.org/username": "ann", "hub.jupyter.org/servername": "",
            "hub.jupyter.org/himalia-claim": "claim-ann", "hub.jupyter.org/himalia-claim-uid": "1" } } });
        let note = Note::read("ns", &note);
        let made = note.snapshot(&Traits::default());
        assert_eq!(pod::name(&made), "claim-ann-01234567");
        assert_eq!(pod::annotation(&made, pod::USER), "ann");
        assert_eq!(made["spec"], json!({ "source": { "persistentVolumeClaimName": "claim-ann" } }));
        let class = Some("slow".to_owned());
        let made = note.snapshot(&Traits { archive_snapshot_class: class, ..Traits::default() });
        assert_eq!(made["spec"]["volumeSnapshotClassName"], "slow");
    }
}
