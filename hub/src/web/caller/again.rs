//! The owner's login, looked at again just before a server starts or stops. Answers to `refresh_pre_spawn` and
//! `refresh_pre_stop`.

use actix_web::web;
use hub_core::LoginRequest;
use hub_db::entities::users;
use tracing::warn;

use super::{Caller, Via};
use crate::app::Hub;
use crate::auth::refresh::still_valid_since;
use crate::web::error::{ApiError, ApiResult};
use crate::web::facts::Facts;

/// What is about to be done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// It starts.
    Start,
    /// It stops.
    Stop,
}

impl Caller {
    /// The owner as a fresh look tells, where the configuration wants one. Whoever asks for their own server in a
    /// browser can log in again and is told so; for others, and for whoever asks by token, a login that cannot be
    /// refreshed counts only with `auth_refresh_strict`, and never keeps somebody else from stopping a server.
    ///
    /// # Errors
    /// 403 when the owner has to log in first.
    pub async fn owner_before(
        &self,
        hub: &web::Data<Hub>,
        about: About,
        owner: users::Model,
        facts: &Facts,
        request: impl FnOnce() -> LoginRequest,
    ) -> ApiResult<users::Model> {
        let settings = &hub.auth.settings;
        let wanted = match about {
            About::Start => settings.refresh_pre_spawn,
            About::Stop => settings.refresh_pre_stop,
        };
        if !wanted {
            return Ok(owner);
        }
        if let Some(owner) = still_valid_since(hub, owner.id, facts.received, request()).await? {
            return Ok(owner);
        }
        let own = self.user().is_some_and(|user| user.id == owner.id);
        let can_log_in = own && matches!(self.via, Via::Cookie);
        if can_log_in || settings.refresh_strict && (own || about == About::Start) {
            return Err(ApiError::forbidden(format!("auth has expired for {}, login again", owner.name)));
        }
        warn!(user = %owner.name, ?about, "the login of the owner cannot be refreshed; going on without");
        Ok(owner)
    }
}
