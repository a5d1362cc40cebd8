//! One stop, and the end of a server's rows. Answers to `User.stop`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_core::{PollStatus, ServerRef, SpawnError, StopMode};
use hub_db::DbError;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use super::Servers;
use super::live::Failure;
use super::notes::BEAT;
use super::spawners::{mark, profile_of};
use super::store::Record;
use super::supervisor::{Entry, StopOrder};
use crate::metrics::Outcome;
use crate::routing;

/// How soon a start that is asked for during a stop is noted.
const STOP_LOOK: Duration = Duration::from_millis(500);

/// Pause between two looks at a server that another hub stops.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// What became of a server that was to be taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is gone, and so are its rows. Of several hubs this one has seen to that, and tells it.
    Gone,
    /// It is gone, but another hub was first with its rows, and tells it.
    GoneBefore,
    /// It did not stop and is kept.
    Kept,
    /// It is gone, which the database has not taken.
    RowsLeft,
    /// Another hub was first: its run is over, and perhaps there is another one.
    Over,
}

impl Servers {
    /// The row of a server once no other hub stops it any more. A stop that was left is carried out, so that a start
    /// finds nothing that is about to end.
    pub(super) async fn after_stops(&self, entry: &Arc<Entry>) -> Result<Option<Record>, DbError> {
        loop {
            let record = self.store.load(entry.id).await?;
            let Some(stopped) = record.as_ref().filter(|record| record.is_active()) else {
                return Ok(record);
            };
            if self.store.is_being_stopped_elsewhere(stopped) {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let left = stopped.stopping.as_ref().is_some_and(|it| !it.is_forgotten(self.clock.now()));
            if !left {
                return Ok(record);
            }
            match self.take_down(entry, stopped, StopMode::Graceful).await {
                Taken::Gone => self.events.ended(&entry.live.key, None),
                Taken::GoneBefore => {}
                Taken::Kept | Taken::RowsLeft | Taken::Over => return Ok(record),
            }
        }
    }

    /// Carries out a stop.
    pub(super) async fn run_stop(&self, entry: &Arc<Entry>, mut order: StopOrder) {
        let began = Instant::now();
        let key = entry.live.key.clone();
        let record = match self.store.load(entry.id).await {
            Ok(Some(record)) => record,
            Ok(None) => return self.end_unrecorded(entry).await,
            Err(error) => {
                error!(user = %key.user, server = %key.server, %error, "cannot stop: the database does not answer");
                return self.end_unrecorded(entry).await;
            }
        };
        if order.exited.is_some() && !self.has_ended(&record).await {
            info!(user = %key.user, server = %key.server, "the server that ended was replaced meanwhile");
            if !entry.is_stop_wanted() {
                return;
            }
            order = StopOrder::graceful();
        }
        if let Some(exit) = &order.exited {
            let code = exit.code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
            warn!(user = %key.user, server = %key.server, cause = exit.cause, "User {key} server stopped, with exit code: {code}");
            self.start_again_after(entry, &record, exit);
        }
        let was_active = record.is_active();
        let restart = entry.is_start_queued();
        let taken = match (was_active, record.has_state()) {
            (true, _) if order.exited.is_none() => self.take_down_noted(entry, &record, order.mode).await,
            (true, _) | (_, true) => self.take_down(entry, &record, order.mode).await,
            (false, false) => Taken::Gone,
        };
        if taken == Taken::Over {
            info!(user = %key.user, server = %key.server, "another hub has come to an end with the server meanwhile; looking again");
            return Box::pin(self.run_stop(entry, order)).await;
        }
        let stopped = matches!(taken, Taken::Gone | Taken::GoneBefore);
        if !stopped && entry.drop_queued_start() && taken == Taken::Kept {
            let text = "Your server did not stop, so it was not started again.";
            let failure =
                SpawnError::broken("not-stopped", text, "the stop before the start failed").retryable();
            entry.live.fail(Failure::Failed(Arc::new(failure)));
        }
        if stopped {
            entry.remember(None);
        }
        let outcome = if stopped { Outcome::Success } else { Outcome::Failure };
        // Stock counts and logs what it is asked for, not ends by themselves, nor those with the hub.
        let asked = order.exited.is_none() && !self.is_closing();
        if was_active && asked {
            self.metrics.stop(outcome, began.elapsed());
        }
        if taken == Taken::Gone && was_active {
            info!(user = %key.user, server = %key.server, "User {key} server took {:.3} seconds to stop", began.elapsed().as_secs_f64());
            if asked {
                self.events.stopped(&key);
            } else {
                let cause = order.exited.as_ref().map(|exit| exit.cause.unwrap_or("exited"));
                self.events.ended(&key, cause);
            }
            self.store.tell_routes(&self.tasks);
        }
        if stopped && !entry.is_start_queued() && (record.restart_until.is_some() || restart) {
            self.forget_restart(entry).await;
        }
        if stopped && entry.is_to_be_removed() && !key.server.is_default() {
            self.delete(entry, &record).await;
        }
    }

    /// Takes a server down that somebody wants to be stopped. That is written down before anything happens to the
    /// server, and again and again while it lasts, for the hub that comes after this one.
    async fn take_down_noted(&self, entry: &Arc<Entry>, record: &Record, mode: StopMode) -> Taken {
        // Held while a note is written, so that none is written over its end.
        let writing = Mutex::new(());
        let taking = async {
            {
                let _turn = writing.lock().await;
                if !self.note_stop(entry, record).await {
                    return Taken::Over;
                }
            }
            let taken = self.take_down(entry, record, mode).await;
            if taken == Taken::Kept {
                let _turn = writing.lock().await;
                self.forget_stop(record).await;
            }
            taken
        };
        tokio::select! {
            taken = taking => taken,
            never = self.keep_noting_stop(entry, record, &writing) => match never {},
        }
    }

    /// Whether the run that is to be stopped is still that of the row; where the database does not tell, it is.
    async fn note_stop(&self, entry: &Arc<Entry>, record: &Record) -> bool {
        let (remove, then) = (entry.is_to_be_removed(), entry.queued_start());
        self.store.note_stop(record, remove, then.as_ref()).await.unwrap_or_else(|error| {
            let key = &entry.live.key;
            warn!(user = %key.user, server = %key.server, %error, "cannot note that the server is being stopped");
            true
        })
    }

    pub(super) async fn forget_stop(&self, record: &Record) {
        if let Err(error) = self.store.forget_stop(record).await {
            let key = &record.key;
            warn!(user = %key.user, server = %key.server, %error, "cannot note that the server is kept");
        }
    }

    /// Notes the stop again and again, and soon when something else is to follow it.
    async fn keep_noting_stop(&self, entry: &Arc<Entry>, record: &Record, writing: &Mutex<()>) -> Infallible {
        let wanted = || (entry.is_to_be_removed(), entry.is_start_queued());
        let (mut noted, mut at) = (wanted(), Instant::now());
        loop {
            tokio::time::sleep(STOP_LOOK).await;
            if wanted() != noted || at.elapsed() >= BEAT {
                (noted, at) = (wanted(), Instant::now());
                let _turn = writing.lock().await;
                self.note_stop(entry, record).await;
            }
        }
    }

    /// Somebody has changed their mind while the server was being stopped.
    async fn forget_restart(&self, entry: &Arc<Entry>) {
        if let Err(error) = self.store.forget_restart(entry.id).await {
            let key = &entry.live.key;
            warn!(user = %key.user, server = %key.server, %error, "cannot take back the start after a stop");
        }
    }

    /// Whether a server is still the one that was seen to end, and not one that was started since.
    async fn has_ended(&self, record: &Record) -> bool {
        let server = record.server_ref();
        record.is_active()
            && matches!(self.spawners.of_state(&server.state).poll(&server).await, Ok(PollStatus::Exited(_)))
    }

    /// Ends what a failed or cancelled start left where the database cannot tell it: it does not answer, or the
    /// server's row is gone. What rows there are stay for a later look.
    pub(super) async fn end_unrecorded(&self, entry: &Arc<Entry>) {
        let Some(state) = entry.remembered() else { return };
        let key = &entry.live.key;
        let server = ServerRef { key: key.clone(), state, address: None };
        warn!(user = %key.user, server = %key.server, "ending a start that the database does not know");
        match self.spawners.of_state(&server.state).stop(&server, StopMode::Now).await {
            Ok(()) => entry.remember(None),
            Err(failure) => {
                error!(user = %key.user, server = %key.server, cause = %failure.cause, error = %failure.operator,
                    "what a start left cannot be ended");
            }
        }
    }

    /// Route, process and rows of a server away. One that does not stop is kept as it was, route included.
    pub(super) async fn take_down(&self, entry: &Arc<Entry>, record: &Record, mode: StopMode) -> Taken {
        let key = &entry.live.key;
        let routespec = self.urls.server_route(key);
        if let Err(error) = self.routing.remove(&routespec).await {
            warn!(%routespec, %error, "cannot remove the route; the next check will");
        }
        let server = record.server_ref();
        let spawner = self.spawners.of_state(&server.state);
        if let Err(failure) = spawner.stop(&server, mode).await {
            error!(user = %key.user, server = %key.server, cause = %failure.cause, error = %failure.operator, "server did not stop");
            if !matches!(spawner.poll(&server).await, Ok(PollStatus::Exited(_))) {
                self.reopen_route(record, &routespec).await;
                return Taken::Kept;
            }
        }
        for hook in &self.hooks {
            if let Err(error) = hook.after_stop(key).await {
                warn!(user = %key.user, server = %key.server, %error, "a hook failed after the stop");
            }
        }
        let mut kept = spawner.state_after_stop(server.state);
        if kept.as_object().is_some_and(|map| !map.is_empty()) {
            kept = mark(kept, profile_of(&record.state), None);
        }
        match self.store.finish_stop(entry.id, record, kept, entry.queued_start().as_ref()).await {
            Ok(true) => Taken::Gone,
            Ok(false) => Taken::GoneBefore,
            Err(error) => {
                error!(user = %key.user, server = %key.server, %error, "the server is gone but its rows are not; the next poll will clean up");
                Taken::RowsLeft
            }
        }
    }

    async fn reopen_route(&self, record: &Record, routespec: &str) {
        if let Some(address) = &record.address {
            let added =
                self.routing.add(routespec, address.as_str(), routing::server_data(&record.key)).await;
            if let Err(error) = added {
                warn!(%routespec, %error, "cannot open the route again; the next check will");
            }
        }
    }

    /// Deletes a named server's record for ever.
    async fn delete(&self, entry: &Arc<Entry>, record: &Record) {
        let server = record.server_ref();
        let key = &entry.live.key;
        if let Err(failure) = self.spawners.of_state(&server.state).delete_forever(&server).await {
            error!(user = %key.user, server = %key.server, cause = %failure.cause, error = %failure.operator,
                "cannot delete what belonged to the server");
        }
        match self.store.delete(entry.id).await {
            Ok(()) => info!(user = %key.user, server = %key.server, "server deleted"),
            Err(error) => {
                error!(user = %key.user, server = %key.server, %error, "cannot delete the server's row");
            }
        }
    }
}
