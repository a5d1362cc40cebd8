//! Whether a login still holds, asked of the authenticator when it was not asked for a while. Answers to
//! `refresh_auth`.

use hub_core::{Identity, LoginRequest, Refresh};
use hub_db::entities::users;
use hub_db::repo;
use tracing::{info, warn};

use crate::app::Hub;
use crate::web::error::ApiResult;

/// The user, brought up to date; none when the person must log in again.
///
/// At most one question per user and `auth_refresh_age`. While the identity service is away, people who are in stay
/// in.
pub async fn still_valid(
    hub: &Hub,
    user: users::Model,
    request: impl FnOnce() -> LoginRequest,
) -> ApiResult<Option<users::Model>> {
    if hub.auth.settings.refresh_age.is_zero() || hub.auth.refreshed.contains_key(&user.id) {
        return Ok(Some(user));
    }
    let identity = Identity {
        name: user.name.clone(),
        admin: user.admin,
        auth_state: hub.auth_state(&user),
        ..Identity::default()
    };
    match hub.auth.authenticator.refresh(&identity, Some(&request())).await {
        Ok(Refresh::Valid) => {}
        Ok(Refresh::Updated(newer)) => {
            let updated = super::login::update(hub, &user, &newer).await?;
            hub.auth.refreshed.insert(user.id, ());
            return Ok(Some(updated));
        }
        Ok(Refresh::Stale) => {
            info!(user = %user.name, "the login does not hold any more");
            return Ok(None);
        }
        Err(error) => {
            warn!(user = %user.name, %error, "cannot ask whether the login still holds; it does for now")
        }
    }
    hub.auth.refreshed.insert(user.id, ());
    Ok(Some(user))
}

/// Forgets when a user was asked about, so that the next request asks again.
pub fn forget(hub: &Hub, user: i32) {
    hub.auth.refreshed.invalidate(&user);
}

/// The row of a user as it is now.
pub(super) async fn reload(hub: &Hub, id: i32) -> ApiResult<users::Model> {
    repo::users::by_id(hub.db.conn(), id)
        .await?
        .ok_or_else(|| crate::web::error::ApiError::internal("the user vanished while being updated"))
}
