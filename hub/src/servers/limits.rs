//! What may be started: names of new servers, how many per person, how many at all.

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use hub_config::{ExistingInvalidNames, ServerNames};
use hub_core::ServerName;
use hub_db::entities::users;
use hub_db::repo;
use jupyterhub_api_compat::requests::{check_server_name, quoted};

use crate::app::Hub;
use crate::web::error::{ApiError, ApiResult};

/// Seconds after which a request beyond `active_server_limit` may be tried again.
const RETRY_SECONDS: &str = "60";

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

    /// Whether one more server may run now. Starts at once are no matter of this: they wait in line.
    pub async fn check_may_start(&self) -> ApiResult<()> {
        let limit = self.config.hub.active_server_limit as usize;
        if limit > 0 && self.servers.store.active().await?.len() >= limit {
            self.metrics.spawn(crate::metrics::Outcome::Failure, "too-many-users", std::time::Duration::ZERO);
            return Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Active user limit exceeded. Try again in a few minutes.",
            )
            .with_header(RETRY_AFTER, RETRY_SECONDS));
        }
        Ok(())
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
