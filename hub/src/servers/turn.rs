//! A start waits for its turn, and tells so.

use std::convert::Infallible;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::Progress;
use hub_core::spawner::{Phase, QueuePlace};
use serde_json::{Map, Value};
use tracing::warn;

use super::Servers;
use super::notes::WAITING_BEAT;
use super::queue::{Place, StartPermit};
use super::store::Record;
use super::supervisor::Entry;
use crate::metrics::Metrics;

impl Servers {
    /// Waits for a turn. People who are in the same groups share their turns with each other, not with all. While it
    /// waits, the database tells that the start is owed: a hub that ends leaves its line to the next one.
    pub(super) async fn enter_queue(
        &self,
        entry: &Entry,
        record: Option<&Record>,
        options: Option<&Map<String, Value>>,
    ) -> StartPermit {
        let live = &entry.live;
        let mut group = String::new();
        let must_wait = record.filter(|_| self.queue.is_full());
        if let Some(record) = must_wait {
            match self.store.groups_of(record.user_id).await {
                Ok(groups) => group = groups.join(","),
                Err(error) => warn!(user = %live.key.user, %error, "cannot read whose turn it is"),
            }
        }
        let mut waiting = None;
        let told = |place: &QueuePlace| self.events.queued(&live.key, place);
        let turn = self.queue.enter(&group, |place| {
            let progress = place.map(|place| queued(place, self.clock.now()));
            live.set_place(progress.as_ref().and_then(|progress| progress.queue.clone()));
            if let Some(progress) = progress {
                if waiting.is_none() {
                    waiting = Some(Waiting::new(&self.metrics));
                    progress.queue.iter().for_each(told);
                }
                live.progress(progress);
            }
        });
        if must_wait.is_none() {
            return turn.await;
        }
        tokio::select! {
            permit = turn => permit,
            never = self.note_waiting(entry, options) => match never {},
        }
    }

    async fn note_waiting(&self, entry: &Entry, options: Option<&Map<String, Value>>) -> Infallible {
        loop {
            if let Err(error) = self.store.owe_start(entry.id, options).await {
                let key = &entry.live.key;
                warn!(user = %key.user, server = %key.server, %error, "cannot note that a start waits for its turn");
            }
            tokio::time::sleep(WAITING_BEAT).await;
        }
    }
}

/// What people who wait are told.
fn queued(place: Place, now: DateTime<Utc>) -> Progress {
    let number = place.number;
    let turn = match place.wait.map(|wait| wait.as_secs()) {
        None => String::new(),
        Some(0..=59) => ", your turn in less than a minute".to_owned(),
        Some(60..=119) => ", your turn in about a minute".to_owned(),
        Some(seconds) => format!(", your turn in about {} minutes", seconds / 60),
    };
    let text = format!("Many servers are starting right now. Your place in line: {number}{turn}");
    let expected_at = place.wait.and_then(|wait| Some(now + TimeDelta::from_std(wait).ok()?));
    let queue = Some(QueuePlace { place: number, expected_at });
    Progress { queue, ..Progress::new(0, Phase::Queued, text) }
}

/// A start that waits in line, counted until it goes on or is cancelled.
struct Waiting<'a>(&'a Metrics);

impl<'a> Waiting<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.queue_changed(1.0);
        Self(metrics)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue_changed(-1.0);
    }
}
