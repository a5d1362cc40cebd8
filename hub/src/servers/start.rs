//! One start, from the request to the first answer of the server. Answers to `BaseHandler.spawn_single_user` and
//! `User.spawn`.

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use hub_core::secret::{SecretString, random_hex32};
use hub_core::spawner::{Overrides, Owner, Phase, SpawnFault};
use hub_core::{
    HookContext, HookError, Progress, ServerKey, SpawnError, Spawner, StartJob, StartSink, Started, StopMode,
};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use super::env::server_env;
use super::live::{Failure, Live};
use super::notes::BEAT;
use super::spawners::{OPTION_KEY, mark};
use super::stop::Taken;
use super::store::{Prepared, Record};
use super::supervisor::{Entry, StartOrder};
use super::{HOOK_FAILED, ServerSettings, Servers};
use crate::metrics::Outcome;
use crate::routing::{self, RoutingError};

/// Where a spawner reports to: people see progress, the database keeps state.
struct Sink<'a> {
    servers: &'a Servers,
    entry: &'a Entry,
    profile: Option<&'a str>,
    /// The row in `servers` of this run.
    run: i32,
    /// Held while the state is written, so that an older one is never written over a newer one.
    writing: Mutex<()>,
}

impl Sink<'_> {
    /// Tells other hubs again and again that this one is at work on the start.
    async fn beat(&self) -> Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            let _turn = self.writing.lock().await;
            let Some(state) = self.entry.remembered() else { continue };
            if let Err(error) = self.servers.store.save_state(self.entry.id, self.run, state).await {
                let key = &self.entry.live.key;
                warn!(user = %key.user, server = %key.server, %error, "cannot tell other hubs that the start goes on");
            }
        }
    }
}

#[async_trait]
impl StartSink for Sink<'_> {
    fn progress(&self, progress: Progress) {
        self.entry.live.progress(progress);
    }

    async fn save_state(&self, state: Value) -> Result<(), SpawnError> {
        let state = mark(state, self.profile, self.servers.authorities.as_ref());
        let _turn = self.writing.lock().await;
        self.entry.remember(Some(state.clone()));
        self.servers.store.save_state(self.entry.id, self.run, state).await.map_err(database_error)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn database_error(error: hub_db::DbError) -> SpawnError {
    let operator = format!("the database did not take the server's state: {error}");
    SpawnError::broken("database", "The hub could not write down the state of your server.", operator)
        .retryable()
}

impl From<HookError> for FailedStart {
    fn from(error: HookError) -> Self {
        Self::from(match error {
            HookError::Refused(text) => SpawnError::refused("hook-refused", text),
            HookError::Broken { user, operator, retry } => {
                SpawnError { retry, ..SpawnError::broken(HOOK_FAILED, user, operator) }
            }
        })
    }
}

/// A [`SpawnError`] on its way, so that `?` converts what else can go wrong.
struct FailedStart {
    error: SpawnError,
    /// Whether the start had begun, so that there may be something to take away.
    begun: bool,
}

impl From<SpawnError> for FailedStart {
    fn from(error: SpawnError) -> Self {
        Self { error, begun: true }
    }
}

impl From<hub_db::DbError> for FailedStart {
    fn from(error: hub_db::DbError) -> Self {
        Self::from(database_error(error))
    }
}

/// How a start ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    /// It was started.
    Started,
    /// It ran already.
    Before,
}

impl Servers {
    /// Carries out a start and records how it ended.
    pub(super) async fn run_start(&self, entry: &Arc<Entry>, order: StartOrder, cancel: &CancellationToken) {
        let began = Instant::now();
        entry.live.progress(Progress::new(0, Phase::Queued, "Server requested"));
        let result = tokio::select! {
            () = cancel.cancelled() => None,
            result = self.bring_up(entry, order) => Some(result),
        };
        let key = &entry.live.key;
        match result {
            Some(Ok(Up::Before)) => {}
            Some(Ok(Up::Started)) => {
                let seconds = began.elapsed().as_secs_f64();
                self.metrics.spawn(Outcome::Success, "", began.elapsed());
                info!(user = %key.user, server = %key.server, "User {} took {seconds:.3} seconds to start", key.user);
                self.count_success();
                self.events.started(key);
            }
            Some(Err(FailedStart { error: mut failure, begun })) => {
                // A failure with a time is that of a start by another hub, which was followed here and is told there.
                let is_told = failure.at.is_some();
                failure.at = Some(self.clock.now());
                if begun {
                    self.give_up(entry, &mut failure).await;
                    self.keep_failure(entry, &failure).await;
                }
                let (outcome, reason) = match failure.fault {
                    SpawnFault::Refused => (Outcome::Failure, failure.cause.as_ref()),
                    SpawnFault::Broken => (Outcome::Error, failure.cause.as_ref()),
                    SpawnFault::TimedOut => (Outcome::Error, "timeout"),
                };
                self.metrics.spawn(outcome, reason, began.elapsed());
                error!(user = %key.user, server = %key.server, cause = %failure.cause, error = %failure.operator,
                    "server did not start");
                self.count_failure(&failure);
                if !is_told {
                    self.events.failed(key, &failure);
                }
                entry.live.fail(Failure::Failed(Arc::new(failure)));
            }
            None => {
                info!(user = %key.user, server = %key.server, "start cancelled");
                self.events.cancelled(key);
                entry.live.fail(Failure::Cancelled);
            }
        }
    }

    /// What the database tells before a start. Not to know whether the server runs is no reason to take it down.
    async fn known(&self, entry: &Entry) -> Result<Option<Record>, FailedStart> {
        let unread = |error| FailedStart { error: database_error(error), begun: false };
        self.store.load(entry.id).await.map_err(unread)
    }

    async fn bring_up(&self, entry: &Arc<Entry>, order: StartOrder) -> Result<Up, FailedStart> {
        let live = &entry.live;
        // What another hub does is no reason to take anything down.
        let untouched = |error| FailedStart { error, begun: false };
        let mut record = self.after_stops(entry).await.map_err(|error| untouched(database_error(error)))?;
        let elsewhere = record.as_ref().is_some_and(|record| self.is_started_elsewhere(record));
        if !elsewhere && record.as_ref().is_some_and(|record| record.address.is_some()) {
            return Ok(Up::Before);
        }
        if elsewhere && !order.resumed {
            if self.follow(entry).await.map_err(untouched)? {
                return Ok(Up::Before);
            }
            record = self.known(entry).await?;
        }
        let _permit = self.enter_queue(entry, record.as_ref(), order.options.as_ref()).await;
        let seen = record.and_then(|record| record.server_id);
        let Some(prepared) = self.store.prepare_start(entry.id, seen, order.options.as_ref()).await? else {
            let up = self.follow(entry).await.map_err(untouched)?;
            return if up { Ok(Up::Before) } else { Err(untouched(super::elsewhere::not_up())) };
        };
        // From here on what fails is cleaned up by this run.
        entry.begin_run(prepared.server_id);
        let profile = self.spawners.chosen(&prepared.options, &live.key.server);
        let profile = profile.map_err(|why| SpawnError::refused("no-such-profile", why.to_string()))?;
        let profile = profile.map(str::to_owned);
        let spawner = Arc::clone(self.spawners.of_profile(profile.as_deref()));
        let sink = Sink {
            servers: self,
            entry: entry.as_ref(),
            profile: profile.as_deref(),
            run: prepared.server_id,
            writing: Mutex::default(),
        };
        entry.remember(Some(mark(prepared.state.clone(), profile.as_deref(), self.authorities.as_ref())));
        let settings = self.settings_of(profile.as_deref());
        let settings = settings.for_start(&prepared.groups, &prepared.options)?;
        let mut job = self.job(live, &prepared, &settings);
        if profile.is_some() {
            // It names the spawner, and nothing that this spawner lets people choose from.
            job.options.remove(OPTION_KEY);
        }
        job.timeout = spawner.start_timeout(&job).unwrap_or(job.timeout);
        let timeout = job.timeout;
        let starting = async {
            let context = HookContext { request: order.request, person: order.person };
            for hook in &self.hooks {
                hook.before_start(&context, &mut job).await?;
            }
            Ok::<_, FailedStart>(spawner.start(job, &sink).await?)
        };
        let up = async {
            let started = tokio::time::timeout(timeout, starting).await.unwrap_or_else(|_| {
                let text = format!("Your server did not start within {} seconds.", timeout.as_secs());
                Err(SpawnError::timed_out("start-timeout", text).into())
            })?;
            self.finish_start(entry, &sink, &spawner, &prepared, started).await
        };
        tokio::select! {
            up = up => up,
            never = sink.beat() => match never {},
        }
    }

    /// From "it is somewhere" to "it answers and is routed".
    async fn finish_start(
        &self,
        entry: &Arc<Entry>,
        sink: &Sink<'_>,
        spawner: &Arc<dyn Spawner>,
        prepared: &Prepared,
        started: Started,
    ) -> Result<Up, FailedStart> {
        if let Some(token) = &started.api_token {
            self.store.replace_server_token(entry.id, &prepared.api_token, token).await?;
        }
        let state = mark(started.state.clone(), sink.profile, self.authorities.as_ref());
        {
            let _turn = sink.writing.lock().await;
            entry.remember(Some(state.clone()));
            // Until it answers, other hubs are told that it is on its way.
            let noted = self.store.noted(state.clone());
            self.store.save_started(entry.id, Some(sink.run), &started.address, &noted).await?;
        }
        self.answers(entry, spawner, &started.address, state.clone()).await?;
        self.open_route(&entry.live.key, &started.address).await.map_err(|error| {
            let text = "The proxy did not take the route to your server.";
            SpawnError::broken("route", text, error.to_string()).retryable()
        })?;
        let _turn = sink.writing.lock().await;
        entry.remember(None);
        if let Err(error) = self.store.mark_ready(entry.id, sink.run, state).await {
            warn!(user = %entry.live.key.user, server = %entry.live.key.server, %error, "cannot note that a server is up");
        }
        // Others may still have the route to where it ran before: while it started they left that alone.
        self.store.tell_routes(&self.tasks);
        Ok(Up::Started)
    }

    /// Opens the route to a server.
    pub(crate) async fn open_route(&self, key: &ServerKey, address: &Url) -> Result<(), RoutingError> {
        self.routing.add(&self.urls.server_route(key), address.as_str(), routing::server_data(key)).await
    }

    fn job(&self, live: &Live, prepared: &Prepared, settings: &ServerSettings) -> StartJob {
        let key = live.key.clone();
        let mut command = settings.command.clone();
        command.extend(settings.args.iter().cloned());
        StartJob {
            env: server_env(
                &self.urls,
                &settings.env,
                &key,
                &prepared.client_id,
                &prepared.api_token,
                settings.resources,
            ),
            prefix: self.urls.server(&key),
            launch: random_hex32(),
            owner: Owner {
                id: i64::from(prepared.owner),
                admin: prepared.admin,
                groups: prepared.groups.clone(),
                auth_state: prepared.auth_state.clone(),
            },
            display_name: prepared.display_name.clone(),
            options: prepared.options.clone(),
            state: prepared.state.clone(),
            api_token: SecretString::from(prepared.api_token.clone()),
            command,
            resources: settings.resources,
            labels: std::collections::BTreeMap::new(),
            overrides: Overrides::default(),
            timeout: settings.start_timeout,
            key,
        }
    }

    /// Keeps the reason of a failure for the next hub; the log has it in any case.
    pub(super) async fn keep_failure(&self, entry: &Arc<Entry>, failure: &SpawnError) {
        if let Err(error) = self.store.save_failure(entry.id, failure).await {
            let key = &entry.live.key;
            warn!(user = %key.user, server = %key.server, %error, "cannot keep why a start failed");
        }
    }

    /// Takes away what a failed start left, and adds the server's last words to the report.
    async fn give_up(&self, entry: &Arc<Entry>, failure: &mut SpawnError) {
        let record = match self.store.load(entry.id).await {
            Ok(Some(record)) => record,
            Ok(None) => return self.end_unrecorded(entry).await,
            Err(error) => {
                error!(%error, "cannot read what a failed start left; the next look will clean up its rows");
                return self.end_unrecorded(entry).await;
            }
        };
        if record.server_id != entry.run() {
            // Stopped through another hub, perhaps started again: what the rows tell of is no work of this one.
            return self.end_unrecorded(entry).await;
        }
        let server = record.server_ref();
        let spawner = self.spawners.of_state(&server.state);
        if failure.log_tail.is_empty() {
            failure.log_tail = spawner.recent_log(&server).await;
        }
        let taken = self.take_down(entry, &record, StopMode::Now).await;
        if matches!(taken, Taken::Gone | Taken::GoneBefore) {
            entry.remember(None);
        }
    }
}
