//! What became of a server while no hub was there: it is taken over, gone on with, or cleaned up.

use std::sync::Arc;

use hub_core::{Adoption, SpawnError, Spawner, Started, StopMode};
use tokio::sync::{AcquireError, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Servers;
use super::live::Failure;
use super::spawners::{mark, profile_of};
use super::stop::{LOOK, Taken};
use super::store::Record;
use super::supervisor::Entry;

/// The right to look at a server; an error when no more are looked at.
type Turn<'s> = Result<SemaphorePermit<'s>, AcquireError>;

impl Servers {
    /// Carries out a check: the server lives, its start or stop goes on, or it is cleaned up.
    pub(super) async fn run_check(&self, entry: &Arc<Entry>, cancel: &CancellationToken) {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.check_in_turn(entry) => {}
        }
    }

    async fn active_record(&self, entry: &Arc<Entry>) -> Option<Record> {
        match self.store.load(entry.id).await {
            Ok(record) => record.filter(Record::is_active),
            Err(error) => {
                let key = &entry.live.key;
                error!(user = %key.user, server = %key.server, %error, "cannot check the server");
                None
            }
        }
    }

    /// While thousands wait for their turn, each of them takes little memory.
    async fn check_in_turn(&self, entry: &Arc<Entry>) {
        let turn = self.checks.acquire().await;
        Box::pin(self.check(entry, turn)).await;
    }

    async fn check<'s>(&'s self, entry: &Arc<Entry>, mut turn: Turn<'s>) {
        let key = &entry.live.key;
        let Some(mut record) = self.active_record(entry).await else { return };
        while self.store.is_being_stopped_elsewhere(&record) {
            drop(turn);
            tokio::time::sleep(LOOK).await;
            turn = self.checks.acquire().await;
            match self.active_record(entry).await {
                Some(now) => record = now,
                None => return,
            }
        }
        if let Some(stopping) = record.stopping.take() {
            if stopping.is_forgotten(self.clock.now()) {
                // From another time: a backup, or weeks under another hub. Nobody waits for that stop.
                self.forget_stop(&record).await;
            } else {
                info!(user = %key.user, server = %key.server, "going on with a stop");
                return entry.resume_stop(stopping.order(self.clock.now()));
            }
        }
        if self.is_started_elsewhere(&record) {
            // That may take as long as a start: others get on meanwhile.
            drop(turn);
            match self.follow(entry).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(failure) => return entry.live.fail(Failure::Failed(Arc::new(failure))),
            }
            turn = self.checks.acquire().await;
            match self.active_record(entry).await {
                Some(now) => record = now,
                None => return,
            }
        }
        let _turn = turn;
        let server = record.server_ref();
        let spawner = Arc::clone(self.spawners.of_state(&server.state));
        let was_starting = record.address.is_none();
        match spawner.adopt(&server).await {
            Ok(Adoption::Running(found)) => self.take_over(entry, &record, &spawner, found).await,
            Ok(Adoption::Starting) => {
                info!(user = %key.user, server = %key.server, "resuming the start");
                entry.resume();
            }
            Ok(Adoption::Gone(_)) if was_starting => {
                let text = "The hub was restarted while your server was starting. Please start it again.";
                let failure =
                    SpawnError::broken("interrupted", text, "the hub ended during the start").retryable();
                self.clean_up_lost(entry, &record, failure).await;
            }
            Ok(Adoption::Gone(exit)) if self.is_started_again(&record, &exit) => {
                entry.resume_stop(Self::order_after(exit));
            }
            Ok(Adoption::Gone(exit)) => {
                let text =
                    exit.message.unwrap_or_else(|| "Your server ended while the hub was away.".to_owned());
                let operator = format!("not there any more, exit code {:?}", exit.code);
                let failure = SpawnError::broken("gone", text, operator).retryable();
                self.clean_up_lost(entry, &record, failure).await;
            }
            Err(failure) => {
                // Not to know is no reason to stop anything: the polls go on asking.
                warn!(user = %key.user, server = %key.server, cause = %failure.cause, error = %failure.operator,
                    "cannot tell whether the server still runs; keeping it");
            }
        }
    }

    /// Takes over a server that was found. It is ended only if it does not answer: that the database or the proxy is
    /// away for a moment is no fault of a server in which people work.
    async fn take_over(
        &self,
        entry: &Arc<Entry>,
        record: &Record,
        spawner: &Arc<dyn Spawner>,
        found: Started,
    ) {
        let key = &entry.live.key;
        // Spawners keep what they know, and do not know which of them the hub has chosen, nor with which authorities.
        let authorities = self.authorities.as_ref().filter(|_| found.address.scheme() == "https");
        let found = Started { state: mark(found.state, profile_of(&record.state), authorities), ..found };
        // After a restart of the hub nearly all are as they were: no write for each of them.
        if !record.is_at(&found.address, &found.state)
            && let Err(error) =
                self.store.save_started(entry.id, record.server_id, &found.address, &found.state).await
        {
            error!(user = %key.user, server = %key.server, %error, "cannot write down where a server was found; keeping it");
        }
        if let Err(failure) = self.answers(entry, spawner, &found.address, found.state).await {
            return self.clean_up_lost(entry, record, failure).await;
        }
        if let Err(error) = self.open_route(key, &found.address).await {
            error!(user = %key.user, server = %key.server, %error, "cannot open the route to a server; the next check will");
        }
        info!(user = %key.user, server = %key.server, address = %found.address, "server found again");
    }

    async fn clean_up_lost(&self, entry: &Arc<Entry>, record: &Record, mut failure: SpawnError) {
        let key = &entry.live.key;
        warn!(user = %key.user, server = %key.server, cause = %failure.cause, error = %failure.operator, "cleaning up a server that did not survive");
        let server = record.server_ref();
        if failure.log_tail.is_empty() {
            failure.log_tail = self.spawners.of_state(&server.state).recent_log(&server).await;
        }
        failure.at = Some(self.clock.now());
        if self.take_down(entry, record, StopMode::Now).await == Taken::Gone {
            self.events.failed(key, &failure);
        }
        self.store.tell_routes(&self.tasks);
        self.keep_failure(entry, &failure).await;
        entry.live.fail(Failure::Failed(Arc::new(failure)));
    }
}
