//! A start waits for its turn, and tells so.

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::Progress;
use hub_core::spawner::{Phase, QueuePlace};
use tracing::warn;

use super::Servers;
use super::live::Live;
use super::queue::{Place, StartPermit};
use super::store::Record;
use crate::metrics::Metrics;

impl Servers {
    /// Waits for a turn. People who are in the same groups share their turns with each other, not with all.
    pub(super) async fn enter_queue(&self, live: &Live, record: Option<&Record>) -> StartPermit {
        let mut group = String::new();
        if let Some(record) = record.filter(|_| self.queue.is_full()) {
            match self.store.groups_of(record.user_id).await {
                Ok(groups) => group = groups.join(","),
                Err(error) => warn!(user = %live.key.user, %error, "cannot read whose turn it is"),
            }
        }
        let mut waiting = None;
        self.queue
            .enter(&group, |place| {
                live.set_place(place.map(|place| place.number));
                if let Some(place) = place {
                    waiting.get_or_insert_with(|| Waiting::new(&self.metrics));
                    live.progress(queued(place, self.clock.now()));
                }
            })
            .await
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
