//! Follows one collection of objects for ever: a list in pages, then a watch from where the list ended, resumed at its
//! last place whenever it ends, and a new list only when the cluster has forgotten that place (410).

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use crate::cluster::{ApiError, Cluster, Query};
use crate::pause::Pause;

/// Objects of one page.
const PAGE: u32 = 250;
/// A watch ends after a time within this range, in seconds, and is resumed: a connection that died without a word is
/// not believed for longer. Bookmarks come about every minute.
const WATCH_SECONDS: std::ops::Range<u64> = 50..70;
/// How long after its time the end of a watch is waited for.
const GRACE: Duration = Duration::from_secs(10);
/// Pauses between two tries. The longest one is short, because people wait for the end of an outage.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A watch that lived for less than this counts as a failed try, so that an API server which ends every watch at once
/// is not asked without a pause.
const SHORTEST: Duration = Duration::from_secs(1);

/// Which objects the list at the beginning brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// All there are.
    All,
    /// None: only what happens from now on counts.
    Now,
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new, or has changed.
    Set,
    /// It is gone.
    Gone,
}

/// Who keeps what is followed.
pub(super) trait Keeper: Send + Sync {
    /// What is kept of an object. A list is cut down page by page, so that it is nowhere whole.
    type Kept: Send;

    /// Cuts an object down.
    fn keep(object: Value) -> Self::Kept;
    /// All objects there are; others are gone.
    fn replace(&self, objects: Vec<Self::Kept>);
    /// One change.
    fn change(&self, change: Change, object: Self::Kept);
    /// The watch is up, or has just told that it is.
    fn heard(&self);
    /// The watch is down; what is kept may be old.
    fn lost(&self, error: ApiError);
    /// Whether nobody asks any more: the feed then ends. Asked about once a minute.
    fn is_idle(&self) -> bool;
}

/// How a watch ended.
enum End {
    /// In good order.
    Done,
    /// The cluster has forgotten the place that was to be gone on from.
    Forgotten,
}

/// One collection and its keeper.
pub(super) struct Feed<K> {
    pub(super) cluster: Arc<Cluster>,
    pub(super) query: Query,
    pub(super) begin: Begin,
    pub(super) keeper: Arc<K>,
}

impl<K: Keeper> Feed<K> {
    /// Follows until the keeper is idle.
    pub(super) async fn run(self) {
        let mut version = None;
        let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut told = false;
        loop {
            let began = Instant::now();
            match self.round(&mut version).await {
                Ok(End::Done) => {
                    told = false;
                    if self.keeper.is_idle() {
                        return;
                    }
                    if began.elapsed() >= SHORTEST {
                        pause.reset();
                        continue;
                    }
                }
                Ok(End::Forgotten) => {
                    debug!(namespace = self.query.namespace, kind = ?self.query.kind, "listing anew");
                    version = None;
                    if began.elapsed() >= SHORTEST {
                        pause.reset();
                        continue;
                    }
                }
                Err(error) => {
                    // A long outage is told once, not every three seconds.
                    if !told {
                        warn!(namespace = self.query.namespace, kind = ?self.query.kind, %error, "the watch is down; trying again");
                        told = true;
                    }
                    self.keeper.lost(error);
                    if self.keeper.is_idle() {
                        return;
                    }
                }
            }
            sleep(pause.next()).await;
        }
    }

    async fn round(&self, version: &mut Option<String>) -> Result<End, ApiError> {
        let from = match version.clone() {
            Some(from) => from,
            None => self.list().await?,
        };
        *version = Some(from.clone());
        match self.watch(from, version).await {
            Err(error) if error.is_forgotten() => Ok(End::Forgotten),
            other => other,
        }
    }

    /// Lists everything, and tells where the watch goes on.
    async fn list(&self) -> Result<String, ApiError> {
        if self.begin == Begin::Now {
            return Ok(self.cluster.page(&self.query, 1, "").await?.version);
        }
        let mut objects = Vec::new();
        let mut more = String::new();
        let mut restarted = false;
        loop {
            match self.cluster.page(&self.query, PAGE, &more).await {
                Ok(page) => {
                    objects.extend(page.items.into_iter().map(K::keep));
                    more = page.more;
                    if more.is_empty() {
                        self.keeper.replace(objects);
                        return Ok(page.version);
                    }
                }
                // The list has changed too much since its first page.
                Err(error) if error.is_forgotten() && !restarted => {
                    restarted = true;
                    objects.clear();
                    more.clear();
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn watch(&self, from: String, version: &mut Option<String>) -> Result<End, ApiError> {
        let length = Duration::from_secs(rand::rng().random_range(WATCH_SECONDS));
        let mut lines = self.cluster.watch(&self.query, &from, length).await?;
        self.keeper.heard();
        let until = Instant::now() + length + GRACE;
        loop {
            let line = timeout_at(until, lines.next())
                .await
                .map_err(|_| ApiError::Unreachable("the watch has gone silent".to_owned()))??;
            let Some(line) = line else { return Ok(End::Done) };
            let event: Value = serde_json::from_slice(&line)
                .map_err(|error| ApiError::Unreachable(format!("the watch told no JSON: {error}")))?;
            if self.take(event, version)? {
                return Ok(End::Forgotten);
            }
        }
    }

    /// Takes one event over. True when the cluster has forgotten where the watch was.
    fn take(&self, mut event: Value, version: &mut Option<String>) -> Result<bool, ApiError> {
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        let place = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
        match event.get("type").and_then(Value::as_str).unwrap_or_default() {
            "ADDED" | "MODIFIED" => self.keeper.change(Change::Set, K::keep(object)),
            "DELETED" => self.keeper.change(Change::Gone, K::keep(object)),
            "BOOKMARK" => {}
            "ERROR" => {
                let code = object.get("code").and_then(Value::as_u64).unwrap_or(500);
                let message = object.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
                let error = ApiError::Answer { status: u16::try_from(code).unwrap_or(500), message };
                return if error.is_forgotten() { Ok(true) } else { Err(error) };
            }
            other => debug!(kind = other, "an unknown kind of event"),
        }
        self.keeper.heard();
        if place.is_some() {
            *version = place;
        }
        Ok(false)
    }
}
