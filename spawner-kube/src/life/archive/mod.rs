//! Claims that go once their content is kept as a snapshot. That a claim is to go stands in the cluster, as a note:
//! whichever hub looks next goes on where another one stopped, until the snapshot can be relied on and the claim is gone.
//!
//! A claim is deleted only when a snapshot of it is ready, no pod has mounted it since it was given up, and the note still
//! stands. Each step asks the cluster anew.

mod note;
mod rounds;
mod start;
mod users;

use std::time::Duration;

use hub_core::{ServerRef, SpawnError};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

pub(crate) use rounds::Archives;

use self::note::{ARCHIVE, Keeper, Note};
use self::users::Use;
use super::ending::failed;
use crate::cluster::{ApiError, Kind, Object};
use crate::spawner::KubeSpawner;
use crate::view::pod;

/// How long whoever deletes a server, or starts the next one of its name, waits for the archive. After that the hub goes
/// on with it beside.
const AT_FIRST: Duration = Duration::from_secs(10);
/// Pause between two looks while somebody waits.
const LOOK: Duration = Duration::from_secs(1);

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

    fn keeper(&self) -> Keeper<'_> {
        Keeper { hub: self.hub.as_deref().unwrap_or_default(), spawner: &self.section }
    }

    /// Writes down that a claim is to go, and waits a little for its end.
    pub(super) async fn archive(
        &self,
        server: &ServerRef,
        claim: Object<'_>,
        found: &Value,
    ) -> Result<(), SpawnError> {
        let note = self.write_note(claim, found).await?;
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

    /// Makes the note about a claim that is found.
    async fn write_note(&self, claim: Object<'_>, found: &Value) -> Result<Note, SpawnError> {
        let manifest = note::manifest(claim, found, self.keeper(), self.blueprint.traits());
        let home = self.blueprint.usual_namespace();
        let object = Object { kind: Kind::Secret, namespace: home, name: pod::name(&manifest) };
        let told = |error: ApiError| {
            let mut error = failed(error, object);
            error.operator.push_str("; so nothing tells that the claim is to be archived, and it is kept");
            error
        };
        // An earlier one makes way: each deletion has a note, and so a snapshot, of its own.
        let until = Instant::now() + AT_FIRST;
        loop {
            let error = match self.cluster.create(Kind::Secret, home, &manifest).await {
                Ok(made) => {
                    let unread = || told(ApiError::Unreachable(format!("{made} is not what was made")));
                    return Note::read(home, &made).ok_or_else(unread);
                }
                Err(error) if error.status() == Some(409) => error,
                Err(error) => return Err(told(error)),
            };
            let there = self.cluster.get(object).await.map_err(told)?;
            let there = there.map(|there| Note::read(home, &there));
            match there {
                // Whatever else has that name is left alone.
                Some(None) => return Err(told(error)),
                // The claim may have been in use since, and an earlier snapshot not have all of it.
                Some(Some(note)) => {
                    self.cluster.delete(object, None, Some(&note.uid)).await.map_err(told)?;
                }
                // 409 is also said when a quota was counted by two at once.
                None => {}
            }
            if Instant::now() >= until {
                return Err(told(error));
            }
            sleep(LOOK).await;
        }
    }

    /// The note about a claim, if there is one.
    async fn find_note(&self, claim: Object<'_>) -> Result<Option<Note>, ApiError> {
        let (name, home) = (note::name(claim), self.blueprint.usual_namespace());
        let found = self.cluster.get(Object { kind: Kind::Secret, namespace: home, name: &name }).await?;
        Ok(found.and_then(|found| Note::read(home, &found)).filter(|note| note.is_about(claim)))
    }

    /// Whether a note stands that was read before: who wants the claim back deletes it.
    async fn stands(&self, note: &Note) -> Result<bool, SpawnError> {
        let found = self.cluster.get(note.object()).await.map_err(|error| failed(error, note.object()))?;
        Ok(found.is_some_and(|found| pod::uid(&found) == note.uid))
    }

    /// Takes a note away; true when it was there.
    async fn forget(&self, note: &Note) -> Result<bool, SpawnError> {
        let deleted = self.cluster.delete(note.object(), None, Some(&note.uid)).await;
        deleted.map_err(|error| failed(error, note.object()))
    }

    /// One step more; none when nothing is left to do, else what is waited for.
    async fn go_on(&self, note: &Note) -> Result<Option<String>, SpawnError> {
        if !self.stands(note).await? {
            return Ok(None);
        }
        let claim = note.claim();
        let found = self.cluster.get(claim).await.map_err(|error| failed(error, claim))?;
        let is_meant = |found: &Value| {
            pod::uid(found) == note.claim_uid && pod::annotation(found, pod::USER) == note.user
        };
        let Some(found) = found.filter(is_meant) else {
            // Also where snapshots are not to be had at all: then somebody has given the files up.
            let kept =
                self.snapshot_of(note).await.is_ok_and(|kept| kept.is_some_and(|kept| is_ready(&kept, note)));
            if !kept {
                warn!(%claim, user = note.user, server = note.server, "the claim is gone, and its files were not archived");
            }
            self.forget(note).await?;
            return Ok(None);
        };
        if !pod::is_ending(&found) {
            let kept = if has_content(&found) { self.keep(note).await? } else { May::Go };
            // Nobody has had it meanwhile, nor wants it back.
            let may = if matches!(kept, May::Go) { self.is_free(note).await? } else { kept };
            match may {
                May::Go if self.stands(note).await? => {}
                May::Go | May::Never => return Ok(None),
                May::Wait(why) => return Ok(Some(why)),
            }
            let deleted = self.cluster.delete(claim, None, Some(&note.claim_uid)).await;
            if deleted.map_err(|error| failed(error, claim))? {
                info!(%claim, user = note.user, server = note.server, "files archived, volume claim deleted");
            }
        }
        Ok(Some(format!("{claim} is being deleted")))
    }

    /// Whether no pod has a claim. One that is in use again is not to go any more.
    async fn is_free(&self, note: &Note) -> Result<May, SpawnError> {
        let claim = note.claim();
        match self.use_of(note).await.map_err(|error| failed(error, claim))? {
            Use::None => Ok(May::Go),
            Use::Ending(pod) => {
                Ok(May::Wait(format!("{claim} is in use by pod {pod}, which is being ended")))
            }
            Use::Again(pod) => {
                warn!(%claim, pod, user = note.user, server = note.server,
                    "the claim of a server that was deleted for ever is in use by a pod: it is neither archived nor deleted");
                self.forget(note).await?;
                Ok(May::Never)
            }
        }
    }

    async fn snapshot_of(&self, note: &Note) -> Result<Option<Value>, SpawnError> {
        let name = note.snapshot_name();
        let object = Object { kind: Kind::Snapshot, name: &name, ..note.claim() };
        self.cluster.get(object).await.map_err(|error| unanswered(error, object))
    }

    /// Makes the snapshot of a claim, and tells whether it can be relied on.
    async fn keep(&self, note: &Note) -> Result<May, SpawnError> {
        let name = note.snapshot_name();
        let object = Object { kind: Kind::Snapshot, name: &name, ..note.claim() };
        let made = match self.snapshot_of(note).await? {
            Some(made) => made,
            None => match self.is_free(note).await? {
                May::Go => self.make_snapshot(note, object).await?,
                not => return Ok(not),
            },
        };
        if is_ready(&made, note) {
            return Ok(May::Go);
        }
        let reason = match pod::text(&made, "/status/error/message") {
            _ if pod::annotation(&made, ARCHIVE) != note.uid => {
                "it is another one's; remove it, or give it another name"
            }
            "" => "no reason is told",
            reason => reason,
        };
        Ok(May::Wait(format!(
            "{object} is not ready: {reason}. {} is kept until it is; if the snapshot itself is wrong, delete it, and \
             another one is made",
            note.claim()
        )))
    }

    async fn make_snapshot(&self, note: &Note, object: Object<'_>) -> Result<Value, SpawnError> {
        let manifest = note.snapshot(self.blueprint.traits());
        match self.cluster.create(object.kind, object.namespace, &manifest).await {
            Ok(made) => {
                info!(snapshot = %object, claim = %note.claim(), "keeping the content of a claim");
                Ok(made)
            }
            // Another hub has made it meanwhile.
            Err(error) if error.status() == Some(409) => {
                self.snapshot_of(note).await?.ok_or_else(|| failed(error, object))
            }
            Err(error) => Err(unanswered(error, object)),
        }
    }
}

/// What is told where a snapshot can neither be looked for nor made.
fn unanswered(error: ApiError, object: Object<'_>) -> SpawnError {
    let mut error = failed(error, object);
    error.operator.push_str(
        "; `archive_pvc` needs the snapshot API of the cluster and rights on it. The claim is kept, and this is tried again",
    );
    error
}

/// Whether the next step may be made.
enum May {
    Go,
    /// Not yet, and why.
    Wait(String),
    /// The claim is in use again.
    Never,
}

/// Whether a snapshot is that of a note and can be relied on.
fn is_ready(snapshot: &Value, note: &Note) -> bool {
    let is_ready = snapshot.pointer("/status/readyToUse") == Some(&Value::Bool(true));
    is_ready && pod::annotation(snapshot, ARCHIVE) == note.uid && !pod::is_ending(snapshot)
}
