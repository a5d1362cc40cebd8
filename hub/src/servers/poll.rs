//! Looks after running servers: who ended by itself is cleaned up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use hub_core::{PollStatus, ServerRef};
use tracing::{error, info, warn};

use super::Servers;
use super::live::Snapshot;
use super::notes;
use super::store::Record;
use super::supervisor::{Intent, StartOrder};

/// How much longer than its limits allow a start may take before it counts as left behind.
const GRACE: Duration = Duration::from_mins(1);
/// Servers looked at once.
const CONCURRENCY: usize = 32;

impl Servers {
    /// Looks at all servers found in the database once the hub is up: those that ran before it was restarted, and
    /// those whose start was under way. Waits at most `limit`; the rest goes on beside.
    pub async fn find_again(self: &Arc<Self>, records: &[Record], limit: Duration) {
        let began = Instant::now();
        let entries: Vec<_> = records.iter().map(|r| self.ask(r.id, &r.key, Intent::Check)).collect();
        let all = async {
            for entry in &entries {
                entry.live.wait(limit, Snapshot::is_settled).await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            warn!(servers = records.len(), "still looking for servers that ran before; going on beside");
        }
        self.metrics.servers_found(began.elapsed());
    }

    /// Starts the watch over running servers: periodic looks, and what spawners notice by themselves.
    pub fn watch(self: &Arc<Self>) {
        let interval = self.settings.poll_interval;
        if !interval.is_zero() {
            let servers = Arc::clone(self);
            self.tasks.every(interval, move || {
                let servers = Arc::clone(&servers);
                async move { servers.poll_all().await }
            });
        }
        for spawner in self.spawners.all() {
            let (servers, spawner) = (Arc::clone(self), Arc::clone(spawner));
            self.tasks.spawn(async move {
                loop {
                    let event = spawner.next_event().await;
                    if let PollStatus::Exited(_) = event.status {
                        match servers.store.find(&event.key).await {
                            Ok(Some(record)) => servers.poll_one(record).await,
                            Ok(None) => {}
                            Err(error) => warn!(user = %event.key.user, server = %event.key.server, %error, "cannot look at a server that ended"),
                        }
                    }
                }
            });
        }
    }

    async fn poll_all(self: &Arc<Self>) {
        let records = match self.store.active().await {
            Ok(records) => records,
            Err(error) => {
                error!(%error, "cannot look at running servers");
                return;
            }
        };
        let known: Vec<ServerRef> = records.iter().map(Record::server_ref).collect();
        let looks = futures_util::stream::iter(records)
            .for_each_concurrent(CONCURRENCY, |record| self.poll_one(record));
        looks.await;
        for spawner in self.spawners.all() {
            spawner.collect_orphans(&known).await;
        }
        self.pay_restarts(notes::is_forgotten).await;
    }

    /// Starts the servers that were stopped to be started again by a hub that has died in between.
    pub async fn pay_restarts(self: &Arc<Self>, due: impl Fn(DateTime<Utc>, DateTime<Utc>) -> bool) {
        let records = match self.store.restarts_owed().await {
            Ok(records) => records,
            Err(error) => {
                error!(%error, "cannot look for servers that are to be started again");
                return;
            }
        };
        for record in records {
            if record.restart_until.is_some_and(|until| due(until, self.clock.now())) {
                info!(user = %record.key.user, server = %record.key.server, "going on with a restart");
                self.start(record.id, &record.key, StartOrder::default());
            }
        }
    }

    /// Looks at one server that nothing is being done to.
    pub async fn poll_one(self: &Arc<Self>, record: Record) {
        let busy = self.entries.get(record.id).is_some_and(|entry| !entry.live.snapshot().is_settled());
        if busy {
            return;
        }
        if self.store.is_elsewhere(&record) {
            return;
        }
        if record.stopping.is_some() {
            if !self.store.is_being_stopped_elsewhere(&record) {
                self.ask(record.id, &record.key, Intent::Check);
            }
            return;
        }
        if record.address.is_none() {
            // A hub that noted that it works on the start, and does so no more, has died over it.
            if record.at_work.is_some() || self.is_overdue(&record) {
                warn!(user = %record.key.user, server = %record.key.server, "a start was left unfinished; looking what became of it");
                self.ask(record.id, &record.key, Intent::Check);
            }
            return;
        }
        let server = record.server_ref();
        let began = Instant::now();
        let status = self.spawners.of_state(&server.state).poll(&server).await;
        match status {
            Ok(PollStatus::Running) => self.metrics.poll(true, began.elapsed()),
            Ok(PollStatus::Exited(exit)) => {
                self.metrics.poll(false, began.elapsed());
                let order = Self::order_after(exit);
                self.ask(record.id, &record.key, Intent::Stop(order));
            }
            Err(failure) => {
                warn!(user = %record.key.user, server = %record.key.server, cause = %failure.cause, error = %failure.operator,
                    "cannot tell whether the server is alive; keeping it");
            }
        }
    }

    /// How long a start may take at most, with a minute of grace.
    pub(super) fn longest_start(&self) -> Duration {
        // Which profile it has is not known before it has a state: the most patient one counts.
        let all = std::iter::once(&self.settings).chain(self.profiles.values());
        let longest = all.map(|settings| settings.start_timeout + settings.http_timeout).max();
        longest.unwrap_or_default() + GRACE
    }

    /// Whether a start that nobody here works on should have ended by now, wherever it was made.
    pub(super) fn is_overdue(&self, record: &Record) -> bool {
        let limit = self.longest_start();
        let limit = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
        record.started.is_none_or(|started| self.clock.now() - started > limit)
    }
}
