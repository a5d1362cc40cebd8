//! What became of a server while no hub was there: it is taken over, gone on with, or cleaned up.

use std::sync::Arc;

use hub_core::{Adoption, SpawnError, Spawner, Started, StopMode};
use serde_json::Value;
use tokio::sync::{AcquireError, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use super::Servers;
use super::answer::NO_ANSWER;
use super::live::Failure;
use super::spawners::{authorities_of, mark, profile_of};
use super::stop::{LOOK, Taken};
use super::store::Record;
use super::supervisor::Entry;
use crate::internal_ssl::Fingerprints;

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
    /// away for a moment is no fault of a server in which people work. Nor is it, that this hub is one with other
    /// authorities than those that the server believes.
    async fn take_over(
        &self,
        entry: &Arc<Entry>,
        record: &Record,
        spawner: &Arc<dyn Spawner>,
        found: Started,
    ) {
        let (key, address) = (&entry.live.key, &found.address);
        // Spawners keep what they know, and do not know which of them the hub has chosen, nor with which authorities.
        let (profile, known) = (profile_of(&record.state), authorities_of(&record.state));
        let state = mark(found.state.clone(), profile, known.as_ref());
        // After a restart of the hub nearly all are as they were: no write for each of them.
        if !record.is_at(address, &state) {
            self.note_found(entry, record, address, &state).await;
        }
        let own = self.authorities.as_ref().filter(|_| address.scheme() == "https");
        match self.answers(entry, spawner, address, state).await {
            // It has shown a certificate of these, or none.
            Ok(()) if own != known.as_ref() => {
                self.note_found(entry, record, address, &mark(found.state, profile, own)).await;
            }
            Ok(()) => {}
            Err(failure)
                if failure.cause == NO_ANSWER && self.may_be_unreachable(address, known.as_ref()) =>
            {
                warn!(user = %key.user, server = %key.server, error = %failure.operator,
                    "a server that was not begun with the authorities of this hub does not answer; keeping it");
            }
            Err(failure) => return self.clean_up_lost(entry, record, failure).await,
        }
        if let Err(error) = self.open_route(key, address).await {
            error!(user = %key.user, server = %key.server, %error, "cannot open the route to a server; the next check will");
        }
        info!(user = %key.user, server = %key.server, address = %found.address, "server found again");
    }

    async fn note_found(&self, entry: &Arc<Entry>, record: &Record, address: &Url, state: &Value) {
        if let Err(error) = self.store.save_started(entry.id, record.server_id, address, state).await {
            let key = &entry.live.key;
            error!(user = %key.user, server = %key.server, %error, "cannot write down where a server was found; keeping it");
        }
    }

    /// Whether that a server does not answer may be because it speaks TLS with the authorities of another hub.
    fn may_be_unreachable(&self, address: &Url, known: Option<&Fingerprints>) -> bool {
        let of_this_hub = known.is_some() && known == self.authorities.as_ref();
        !self.ends_unreachable && address.scheme() == "https" && !of_this_hub
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
