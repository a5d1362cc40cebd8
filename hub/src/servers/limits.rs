//! What may be started: names of new servers, how many per person, how many at all.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use hub_config::{BeyondLimit, ExistingInvalidNames, ServerNames};
use hub_core::ServerName;
use hub_db::entities::users;
use hub_db::{DbError, repo};
use jupyterhub_api_compat::requests::{check_server_name, quoted};

use super::{Servers, SpawnerId};
use crate::app::Hub;
use crate::metrics::Outcome;
use crate::web::error::{ApiError, ApiResult};

/// Seconds after which a request beyond `active_server_limit` may be tried again.
const RETRY_SECONDS: &str = "60";

/// Seconds after which a request beyond `concurrent_spawn_limit` may be tried again, where it does not wait in line.
const RETRY_START_SECONDS: RangeInclusive<u32> = 30..=60;

/// Seconds after which there should be a hub again.
const CLOSING_SECONDS: &str = "10";

/// The right to ask for one start, counted until it is dropped.
#[derive(Debug)]
#[must_use = "it counts until the start was asked for"]
pub struct Admission(Arc<Servers>);

impl Drop for Admission {
    fn drop(&mut self) {
        *self.0.admitted() -= 1;
    }
}

impl Servers {
    fn admitted(&self) -> MutexGuard<'_, usize> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to start one more server, unless as many others as `limit` run, are to start or have been given that
    /// right. `own` is the server itself, which may be stopping or starting already.
    async fn admit(
        self: &Arc<Self>,
        limit: usize,
        own: Option<SpawnerId>,
    ) -> Result<Option<Admission>, DbError> {
        let starting = || self.entries.starting().into_iter().map(|entry| entry.id);
        // Before and after: one may become active and settle while the database is asked.
        let mut servers: BTreeSet<SpawnerId> = starting().collect();
        servers.extend(self.store.active_ids().await?);
        // A right is given back after the start was asked for: under the lock every server counts at least once.
        let mut admitted = self.admitted();
        servers.extend(starting());
        if let Some(own) = own {
            servers.remove(&own);
        }
        if servers.len() + *admitted >= limit {
            return Ok(None);
        }
        *admitted += 1;
        drop(admitted);
        Ok(Some(Admission(Arc::clone(self))))
    }
}

impl Hub {
    /// Whether a server of this name is one that could not be made today (it may still be used).
    pub fn is_old_name(&self, name: &ServerName) -> bool {
        self.config.hub.server_names == ServerNames::Safe && !name.is_safe() && self.workspaces.is_none()
    }

    /// Whether a named server may be used or, when it does not exist yet, made.
    pub async fn check_named_server(
        &self,
        owner: &users::Model,
        name: &ServerName,
        exists: bool,
    ) -> ApiResult<()> {
        self.check_named_servers_enabled()?;
        if self.check_workspace(owner, name).await? {
            return Ok(());
        }
        if exists {
            return self.check_old_name(name);
        }
        self.check_named_server_limit(owner).await?;
        self.check_new_server_name(name)
    }

    /// Whether a server of a name that could not be made today may be more than stopped and deleted.
    pub fn check_old_name(&self, name: &ServerName) -> ApiResult<()> {
        let allowed =
            self.config.hub.allow_existing_invalid_named_servers != ExistingInvalidNames::AllowDelete;
        if allowed || name.is_default() || !self.is_old_name(name) {
            return Ok(());
        }
        let name = quoted(name.as_str());
        let text = format!("Starting invalid server_name {name} is disabled, contact your administrator");
        Err(ApiError::bad_request(text))
    }

    /// Whether there are named servers at all.
    pub fn check_named_servers_enabled(&self) -> ApiResult<()> {
        if self.config.hub.allow_named_servers {
            return Ok(());
        }
        Err(ApiError::bad_request("Named servers are not enabled."))
    }

    /// Whether a person may have one more named server.
    pub async fn check_named_server_limit(&self, owner: &users::Model) -> ApiResult<()> {
        let limit = u64::from(self.config.hub.named_server_limit_per_user);
        if limit > 0 && repo::spawners::count_named(self.db.conn(), owner.id).await? >= limit {
            return Err(ApiError::bad_request(format!(
                "User {} already has the maximum of {limit} named servers.  One must be deleted before a new server \
                 can be created",
                owner.name
            )));
        }
        Ok(())
    }

    /// Whether a new named server may have this name.
    pub fn check_new_server_name(&self, name: &ServerName) -> ApiResult<()> {
        match self.config.hub.server_names {
            ServerNames::Safe => check_server_name(name.as_str()).map(drop).map_err(ApiError::from),
            ServerNames::Any if name.is_default() => Err(ApiError::bad_request("Invalid server_name: ''")),
            ServerNames::Any => ServerName::any(name.as_str()).map(drop).map_err(|error| {
                ApiError::bad_request(format!("Invalid server_name: {}: {error}", quoted(name.as_str())))
            }),
        }
    }

    /// Whether one more server may start and run now. Where starts wait in line (`beyond_spawn_limit`), as many as
    /// like may start. What is returned is kept until the start has been asked for, so that of many requests at once
    /// no more get in than may. `own` is the server to start, where it has a record.
    pub async fn check_may_start(&self, own: Option<SpawnerId>) -> ApiResult<Option<Admission>> {
        if self.servers.is_closing() {
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The hub is about to end.")
                .with_header(RETRY_AFTER, CLOSING_SECONDS));
        }
        if self.config.hub.beyond_spawn_limit == BeyondLimit::Refuse {
            self.check_may_start_at_once(own)?;
        }
        let limit = self.config.hub.active_server_limit as usize;
        if limit == 0 {
            return Ok(None);
        }
        let admission = self.servers.admit(limit, own).await?;
        if admission.is_none() {
            self.metrics.spawn(Outcome::Failure, "too-many-users", Duration::ZERO);
            return Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Active user limit exceeded. Try again in a few minutes.",
            )
            .with_header(RETRY_AFTER, RETRY_SECONDS));
        }
        Ok(admission)
    }

    /// Whether fewer servers than `concurrent_spawn_limit` are starting, `own` aside.
    fn check_may_start_at_once(&self, own: Option<SpawnerId>) -> ApiResult<()> {
        let limit = self.config.hub.concurrent_spawn_limit as usize;
        let starting = self.servers.entries.starting();
        if limit == 0 || starting.iter().filter(|entry| Some(entry.id) != own).count() < limit {
            return Ok(());
        }
        self.metrics.spawn(Outcome::Failure, "throttled", Duration::ZERO);
        // Not the same for all, or they would all come back at once.
        let seconds: u32 = rand::random_range(RETRY_START_SECONDS);
        let text = format!(
            "Too many users trying to log in right now. Try again in {} seconds.",
            seconds.next_multiple_of(10)
        );
        Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).with_header(RETRY_AFTER, &seconds.to_string()))
    }

    /// Whether starts are preceded by a form.
    pub fn has_options_form(&self) -> bool {
        !self.config.spawner.options_form.is_empty()
            || !self.config.spawner.profiles.is_empty()
            || self.servers.spawners.default_spawner().has_options_form()
    }

    /// What the authenticator keeps about a user, decrypted; none when that is not enabled or cannot be read.
    pub fn auth_state(&self, user: &users::Model) -> Option<serde_json::Value> {
        if !self.auth.settings.auth_state {
            return None;
        }
        let stored = user.encrypted_auth_state.as_deref()?;
        let state = self.auth.crypt.decrypt(stored);
        if state.is_none() {
            tracing::warn!(user = %user.name, "the stored auth_state cannot be decrypted with the configured keys");
        }
        state.map(|decrypted| crate::auth::lease::without_mark(decrypted.state))
    }
}
