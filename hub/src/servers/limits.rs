//! What may be started: names of new servers, how many per person, how many at all.

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use hub_config::ServerNames;
use hub_core::ServerName;
use hub_db::entities::users;
use hub_db::repo;

use crate::app::Hub;
use crate::web::error::{ApiError, ApiResult};

/// Seconds after which a request beyond `active_server_limit` may be tried again.
const RETRY_SECONDS: &str = "60";

impl Hub {
    /// Whether a server of this name is one that could not be made today (it may still be used).
    pub fn is_old_name(&self, name: &ServerName) -> bool {
        self.config.hub.server_names == ServerNames::Safe && !name.is_safe()
    }

    /// Whether a named server may be used or, when it does not exist yet, made.
    pub async fn check_named_server(&self, owner: &users::Model, name: &ServerName, exists: bool) -> ApiResult<()> {
        let settings = &self.config.hub;
        if !settings.allow_named_servers {
            return Err(ApiError::bad_request("Named servers are not enabled."));
        }
        if exists {
            return Ok(());
        }
        let problem = match settings.server_names {
            ServerNames::Safe if !name.is_safe() => Some(
                "it must have 1 to 30 characters of a-z, 0-9 and single hyphens, begin with a letter and end with a letter or digit"
                    .to_owned(),
            ),
            ServerNames::Any => ServerName::any(name.as_str()).err().map(|error| error.to_string()),
            ServerNames::Safe => None,
        };
        if let Some(problem) = problem {
            let shown: String = name.as_str().chars().take(80).collect();
            return Err(ApiError::bad_request(format!("Invalid server name {shown:?}: {problem}")));
        }
        let limit = u64::from(settings.named_server_limit_per_user);
        if limit > 0 && repo::spawners::count_named(self.db.conn(), owner.id).await? >= limit {
            return Err(ApiError::bad_request(format!(
                "User {} already has the maximum of {limit} named servers.  One must be deleted before a new one can be created",
                owner.name
            )));
        }
        Ok(())
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
        !self.config.spawner.options_form.is_empty() || !self.config.spawner.profiles.is_empty()
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
        state.map(|decrypted| decrypted.state)
    }
}
