//! What stands in the cluster about a claim that is to go: a secret without data, in the hub's own namespace, so that
//! one list finds all of them wherever the claims are.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cluster::{Kind, Object};
use crate::traits::Traits;
use crate::view::pod;

/// Label of notes, and annotation of snapshots with the id of their note.
pub(super) const ARCHIVE: &str = "hub.jupyter.org/himalia-archive";
/// Annotations of a note: the claim, by namespace, name and id.
const NAMESPACE: &str = "hub.jupyter.org/himalia-namespace";
const CLAIM: &str = "hub.jupyter.org/himalia-claim";
const CLAIM_UID: &str = "hub.jupyter.org/himalia-claim-uid";
/// Annotation of a note: the section of the options of the spawner that is to archive the claim.
const SPAWNER: &str = "hub.jupyter.org/himalia-spawner";
/// Digits of a note's id in the name of its snapshot: each deletion has a snapshot of its own.
const DIGITS: usize = 8;
/// The longest name that a secret may have.
const LONGEST_NAME: usize = 253;

/// That a claim is to go, as the cluster has it.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// Where the note is.
    home: String,
    name: String,
    pub(super) uid: String,
    /// When the claim was given up.
    pub(super) made: String,
    namespace: String,
    claim: String,
    pub(super) claim_uid: String,
    pub(super) user: String,
    pub(super) server: String,
}

impl Note {
    /// The note in a secret; none when it is not one.
    pub(super) fn read(home: &str, secret: &Value) -> Option<Self> {
        let annotation = |name: &str| pod::annotation(secret, name).to_owned();
        let note = Self {
            home: home.to_owned(),
            name: pod::name(secret).to_owned(),
            uid: pod::uid(secret).to_owned(),
            made: pod::text(secret, "/metadata/creationTimestamp").to_owned(),
            namespace: annotation(NAMESPACE),
            claim: annotation(CLAIM),
            claim_uid: annotation(CLAIM_UID),
            user: annotation(pod::USER),
            server: annotation(pod::SERVER),
        };
        (!note.claim.is_empty() && !note.namespace.is_empty()).then_some(note)
    }

    pub(super) fn object(&self) -> Object<'_> {
        Object { kind: Kind::Secret, namespace: &self.home, name: &self.name }
    }

    pub(super) fn claim(&self) -> Object<'_> {
        Object { kind: Kind::Claim, namespace: &self.namespace, name: &self.claim }
    }

    pub(super) fn is_about(&self, claim: Object<'_>) -> bool {
        self.claim == claim.name && self.namespace == claim.namespace
    }

    /// The name of the snapshot.
    pub(super) fn snapshot_name(&self) -> String {
        let id: String = self.uid.chars().filter(char::is_ascii_alphanumeric).take(DIGITS).collect();
        format!("{}-{id}", self.claim)
    }

    /// The snapshot. It says whose it is, as the claim does.
    pub(super) fn snapshot(&self, traits: &Traits) -> Value {
        let mut spec = json!({ "source": { "persistentVolumeClaimName": self.claim } });
        if let Some(class) = &traits.archive_snapshot_class {
            spec["volumeSnapshotClassName"] = class.as_str().into();
        }
        json!({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {
                "name": self.snapshot_name(),
                "labels": traits.common_labels,
                "annotations": { (pod::USER): self.user, (pod::SERVER): self.server, (ARCHIVE): self.uid },
            },
            "spec": spec,
        })
    }
}

/// Who is to archive a claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeper<'a> {
    /// The hub, by its id.
    pub(super) hub: &'a str,
    /// The section of the spawner's options.
    pub(super) spawner: &'a str,
}

impl Keeper<'_> {
    /// Whether a note is for this one. Each spawner has a class of snapshots of its own.
    pub(super) fn is_for(&self, secret: &Value) -> bool {
        pod::annotation(secret, pod::HUB) == self.hub && pod::annotation(secret, SPAWNER) == self.spawner
    }
}

/// The note about a claim that is found.
pub(super) fn manifest(claim: Object<'_>, found: &Value, keeper: Keeper<'_>, traits: &Traits) -> Value {
    let mut labels = traits.common_labels.clone();
    labels.insert(ARCHIVE.to_owned(), "pending".into());
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name(claim),
            "labels": labels,
            "annotations": {
                (pod::USER): pod::annotation(found, pod::USER),
                (pod::SERVER): pod::annotation(found, pod::SERVER),
                (pod::HUB): keeper.hub,
                (SPAWNER): keeper.spawner,
                (NAMESPACE): claim.namespace,
                (CLAIM): claim.name,
                (CLAIM_UID): pod::uid(found),
            },
        },
    })
}

/// The name of the note about a claim. No namespace has a dot in its name, so two claims never share one.
pub(super) fn name(claim: Object<'_>) -> String {
    let name = format!("{}.{}.archive", claim.namespace, claim.name);
    if name.len() <= LONGEST_NAME {
        return name;
    }
    format!("{}.archive", hex::encode(Sha256::digest(name.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM_OF_ANN: Object<'_> = Object { kind: Kind::Claim, namespace: "ws", name: "claim-ann" };

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_snapshot_is_of_one_deletion() {
        let found =
            json!({ "metadata": { "uid": "1", "annotations": { (pod::USER): "ann", (pod::SERVER): "" } } });
        let keeper = Keeper { hub: "this", spawner: "spawner" };
        let mut made = manifest(CLAIM_OF_ANN, &found, keeper, &Traits::default());
        assert!(keeper.is_for(&made) && !Keeper { spawner: "other", ..keeper }.is_for(&made));
        assert_eq!(pod::name(&made), "ws.claim-ann.archive");
        made["metadata"]["uid"] = "0123-4567-89ab".into();
        let note = Note::read("hub", &made).unwrap();
        assert!(note.is_about(CLAIM_OF_ANN));
        assert_eq!((note.claim_uid.as_str(), note.user.as_str()), ("1", "ann"));
        assert_eq!(note.object().to_string(), "secret ws.claim-ann.archive in hub");
        let made = note.snapshot(&Traits::default());
        assert_eq!(pod::name(&made), "claim-ann-01234567");
        assert_eq!(pod::annotation(&made, pod::USER), "ann");
        assert_eq!(made["spec"], json!({ "source": { "persistentVolumeClaimName": "claim-ann" } }));
        let class = Some("slow".to_owned());
        let made = note.snapshot(&Traits { archive_snapshot_class: class, ..Traits::default() });
        assert_eq!(made["spec"]["volumeSnapshotClassName"], "slow");
    }

    #[test]
    fn what_is_no_note_is_not_read_and_names_have_an_end() {
        assert!(Note::read("hub", &json!({ "metadata": { "name": "ws.claim-ann.archive" } })).is_none());
        let long = "c".repeat(250);
        assert_eq!(name(Object { name: &long, ..CLAIM_OF_ANN }).len(), 64 + ".archive".len());
    }
}
