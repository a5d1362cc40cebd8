//! What a hub does about archives beside: it looks for those that are not done, its own of before and those of hubs that
//! were killed over them, and goes on with each after growing pauses.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tracing::warn;

use super::{ARCHIVE, Note};
use crate::cluster::{ApiError, Kind, Query};
use crate::pause::Pause;
use crate::spawner::KubeSpawner;
use crate::view::pod;

/// Pauses between two tries beside.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// How long nobody looks for notes where there was none: another hub's, that was killed over them.
const IDLE: Duration = Duration::from_mins(10);
/// Notes of one page, and most that are read of one namespace in one round.
const PAGE: u32 = 250;
const MOST: usize = 1_000;
/// Archives, and namespaces, that are looked at at once.
const TOGETHER: usize = 8;

/// When archives are looked at again.
#[derive(Debug, Default)]
pub(crate) struct Archives(Mutex<Plan>);

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By the id of the note.
    tries: HashMap<String, Try>,
    /// When notes are looked for; none at once.
    look: Option<Instant>,
}

#[derive(Debug)]
struct Try {
    pause: Pause,
    due: Instant,
}

impl Archives {
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        // no code panics while it holds the lock, and what it guards is whole at every step
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// One more try has not come to the end.
    pub(super) fn put_off(&mut self, note: &Note) {
        let first = || Try { pause: Pause::new(FIRST_PAUSE, LONGEST_PAUSE), due: Instant::now() };
        let next = self.tries.entry(note.uid.clone()).or_insert_with(first);
        next.due = Instant::now() + next.pause.next();
        self.look = None;
    }

    fn is_due(&self, note: &Note) -> bool {
        self.tries.get(&note.uid).is_none_or(|next| next.due <= Instant::now())
    }
}

impl KubeSpawner {
    /// Goes on with the archives that are due, in the namespaces that are watched.
    pub(crate) async fn go_on_archiving(&self) {
        let traits = self.blueprint.traits();
        if !self.archives_claims() || self.archives.plan().look.is_some_and(|look| look > Instant::now()) {
            return;
        }
        let mut namespaces: BTreeSet<String> =
            self.view.spaces().iter().map(|space| space.namespace().to_owned()).collect();
        if !traits.enable_user_namespaces {
            namespaces.insert(self.blueprint.usual_namespace().to_owned());
        }
        let found: Vec<Option<Vec<Note>>> = stream::iter(namespaces)
            .map(|namespace| async move {
                let notes = self.notes_in(&namespace).await;
                notes.inspect_err(|error| warn!(namespace, %error, "cannot look for claims to archive")).ok()
            })
            .buffer_unordered(TOGETHER)
            .collect()
            .await;
        let is_all_known = found.iter().all(Option::is_some);
        let notes: Vec<Note> = found.into_iter().flatten().flatten().collect();
        let due: Vec<&Note> = {
            let mut plan = self.archives.plan();
            if is_all_known {
                plan.tries.retain(|uid, _| notes.iter().any(|note| note.uid == *uid));
                plan.look = notes.is_empty().then(|| Instant::now() + IDLE);
            }
            notes.iter().filter(|note| plan.is_due(note)).collect()
        };
        stream::iter(due).for_each_concurrent(TOGETHER, |note| self.try_again(note)).await;
    }

    async fn try_again(&self, note: &Note) {
        let why = match self.go_on(note).await {
            Ok(None) => return,
            Ok(Some(why)) => why,
            Err(error) => error.operator,
        };
        self.archives.plan().put_off(note);
        warn!(claim = %note.claim(), user = note.user, server = note.server, why, "files are not archived yet");
    }

    /// This hub's notes.
    async fn notes_in(&self, namespace: &str) -> Result<Vec<Note>, ApiError> {
        let query = Query {
            kind: Kind::Secret,
            namespace: namespace.to_owned(),
            labels: ARCHIVE.to_owned(),
            fields: String::new(),
        };
        let hub = self.hub.as_deref().unwrap_or_default();
        let (mut notes, mut more) = (Vec::new(), String::new());
        loop {
            let page = self.cluster.page(&query, PAGE, &more).await?;
            let own = page.items.iter().filter(|secret| pod::annotation(secret, pod::HUB) == hub);
            notes.extend(
                own.map(|secret| Note::read(namespace, secret)).filter(|note| !note.claim.is_empty()),
            );
            more = page.more;
            if more.is_empty() || notes.len() >= MOST {
                return Ok(notes);
            }
        }
    }
}
