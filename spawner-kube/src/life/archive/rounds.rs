//! What a hub does about archives beside: it looks for those that are not done, its own of before and those of hubs that
//! were killed over them, and goes on with each after growing pauses.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::note::{ARCHIVE, Note};
use crate::cluster::{ApiError, Kind, Query};
use crate::pause::Pause;
use crate::spawner::KubeSpawner;

/// Pauses between two tries beside, and between two lists that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// The longest time between two looks for notes: another hub's, that was killed over them.
const IDLE: Duration = Duration::from_mins(10);
/// How long one round may hold up what the hub does after it.
const ROUND: Duration = Duration::from_mins(1);
/// Notes of one page, and most that are gone on with in one round.
const PAGE: u32 = 250;
const MOST: usize = 1_000;
/// Archives that are gone on with at once.
const TOGETHER: usize = 8;

/// When archives are looked at again.
#[derive(Debug, Default)]
pub(crate) struct Archives(Mutex<Plan>);

#[derive(Debug)]
pub(super) struct Plan {
    /// By the id of the note.
    tries: HashMap<String, Try>,
    /// When notes are looked for; none at once.
    look: Option<Instant>,
    /// Until the next list where one failed.
    failed: Pause,
}

impl Default for Plan {
    fn default() -> Self {
        Self { tries: HashMap::new(), look: None, failed: Pause::new(FIRST_PAUSE, IDLE) }
    }
}

#[derive(Debug)]
struct Try {
    pause: Pause,
    /// When the last one was.
    made: Instant,
    due: Instant,
}

impl Archives {
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        // no code panics while it holds the lock, and what it guards is whole at every step
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// One more try is made, or has not come to the end.
    pub(super) fn put_off(&mut self, note: &Note) {
        let now = Instant::now();
        let first = || Try { pause: Pause::new(FIRST_PAUSE, LONGEST_PAUSE), made: now, due: now };
        let next = self.tries.entry(note.uid.clone()).or_insert_with(first);
        (next.made, next.due) = (now, now + next.pause.next());
        self.look = self.look.map(|look| look.min(next.due));
    }

    fn is_due(&self, note: &Note) -> bool {
        self.tries.get(&note.uid).is_none_or(|next| next.due <= Instant::now())
    }

    /// Forgets the tries of notes that were not there any more in a list that began then.
    fn keep_only(&mut self, there: &HashSet<String>, began: Instant) {
        self.tries.retain(|uid, next| next.made >= began || there.contains(uid));
    }

    /// When the next archive is due, if that is soon.
    fn next(&self) -> Instant {
        let idle = Instant::now() + IDLE;
        self.tries.values().map(|next| next.due).fold(idle, Instant::min)
    }
}

/// This hub's notes in one list.
struct Found {
    /// Ids of all.
    there: HashSet<String>,
    due: Vec<Note>,
    /// Whether these are all that are due.
    is_all: bool,
}

impl KubeSpawner {
    /// Goes on with the archives that are due.
    pub(crate) async fn go_on_archiving(&self) {
        let now = Instant::now();
        if !self.archives_claims() || self.archives.plan().look.is_some_and(|look| look > now) {
            return;
        }
        let found = match self.find_notes().await {
            Ok(found) => found,
            Err(error) => {
                let mut plan = self.archives.plan();
                plan.look = Some(Instant::now() + plan.failed.next());
                drop(plan);
                let namespace = self.blueprint.usual_namespace();
                warn!(namespace, %error, "cannot look for claims to archive: `archive_pvc` needs the right to list secrets");
                return;
            }
        };
        self.archives.plan().keep_only(&found.there, now);
        let tries = stream::iter(&found.due).for_each_concurrent(TOGETHER, |note| self.try_again(note));
        let is_done = timeout(ROUND, tries).await.is_ok() && found.is_all;
        let mut plan = self.archives.plan();
        plan.failed.reset();
        plan.look = is_done.then(|| plan.next());
    }

    async fn try_again(&self, note: &Note) {
        // First, so that one that takes too long for a round does not keep others waiting in the next one.
        self.archives.plan().put_off(note);
        let why = match self.go_on(note).await {
            Ok(None) => {
                self.archives.plan().tries.remove(&note.uid);
                return;
            }
            Ok(Some(why)) => why,
            Err(error) => error.operator,
        };
        warn!(claim = %note.claim(), user = note.user, server = note.server, why, "files are not archived yet");
    }

    async fn find_notes(&self) -> Result<Found, ApiError> {
        let home = self.blueprint.usual_namespace();
        let query = Query {
            kind: Kind::Secret,
            namespace: home.to_owned(),
            labels: ARCHIVE.to_owned(),
            fields: String::new(),
        };
        let mut found = Found { there: HashSet::new(), due: Vec::new(), is_all: true };
        let (keeper, mut more) = (self.keeper(), String::new());
        loop {
            let page = self.cluster.page(&query, PAGE, &more).await?;
            let own = page.items.iter().filter(|secret| keeper.is_for(secret));
            let plan = self.archives.plan();
            for note in own.filter_map(|secret| Note::read(home, secret)) {
                found.there.insert(note.uid.clone());
                if !plan.is_due(&note) {
                    continue;
                }
                if found.due.len() < MOST {
                    found.due.push(note);
                } else {
                    found.is_all = false;
                }
            }
            drop(plan);
            more = page.more;
            if more.is_empty() {
                return Ok(found);
            }
        }
    }
}
