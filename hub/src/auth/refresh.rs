//! Whether a login still holds, asked of the authenticator when it was not asked for a while, when tokens are about to
//! run out, and just before something that needs to know. Answers to `refresh_auth`.
//!
//! One request of a user asks, the others wait for its answer. Asking goes on when the request that began it is gone:
//! a new refresh token must be kept, for the old one works no more.

use std::sync::Arc;

use actix_web::web;
use chrono::{DateTime, Utc};
use hub_core::{AuthError, Identity, LoginRequest, Refresh};
use hub_db::entities::users;
use hub_db::repo;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::lease::{self, Asked, Lease};
use super::login;
use super::looks::Found;
use crate::app::Hub;
use crate::web::error::{ApiError, ApiResult};

/// How often others may have been quicker before this request goes on with what there is.
const ROUNDS: usize = 3;

/// The user, brought up to date; none when the person must log in again.
///
/// At most one question per user and `auth_refresh_age`, sooner when tokens run out. While the identity service is
/// away, people who are in stay in for as long as the authenticator says.
pub async fn still_valid(
    hub: &web::Data<Hub>,
    user: users::Model,
    request: impl FnOnce() -> LoginRequest,
) -> ApiResult<Option<users::Model>> {
    match hub.auth.looks.known(&user, hub.clock.now()) {
        Some(Found::Stale(_)) => Ok(None),
        Some(Found::Holds) => Ok(Some(user)),
        // Only before starts and stops is anything asked.
        None if hub.auth.settings.refresh_age.is_zero() => Ok(Some(user)),
        None => asked(hub, user.id, None, request()).await,
    }
}

/// The same of a look that began at `since` or later, whatever was found before and whatever `auth_refresh_age` is.
pub async fn still_valid_since(
    hub: &web::Data<Hub>,
    user: i32,
    since: DateTime<Utc>,
    request: LoginRequest,
) -> ApiResult<Option<users::Model>> {
    asked(hub, user, Some(since), request).await
}

async fn asked(
    hub: &web::Data<Hub>,
    user: i32,
    since: Option<DateTime<Utc>>,
    request: LoginRequest,
) -> ApiResult<Option<users::Model>> {
    let (answer, answered) = oneshot::channel();
    let shared = Arc::clone(hub);
    hub.tasks.spawn_to_end(async move {
        // Nobody may be left to hear it; what was learned is in the database.
        let _ = answer.send(in_turn(&shared, user, since, &request).await);
    });
    answered.await.map_err(|_| ApiError::internal("a look at a login ended without an answer"))?
}

/// Looks, unless somebody else has while this one waited.
async fn in_turn(
    hub: &Hub,
    id: i32,
    since: Option<DateTime<Utc>>,
    rq: &LoginRequest,
) -> ApiResult<Option<users::Model>> {
    let turn = hub.auth.looks.turn(id);
    let mut last = turn.lock().await;
    let user = reload(hub, id).await?;
    let began = hub.clock.now();
    if since.is_none_or(|since| last.is_some_and(|last| since <= last)) {
        match hub.auth.looks.known(&user, began) {
            Some(Found::Holds) => return Ok(Some(user)),
            Some(Found::Stale(_)) => return Ok(None),
            None => {}
        }
    }
    let found = look(hub, user, rq).await?;
    *last = Some(began);
    Ok(found)
}

async fn look(hub: &Hub, mut user: users::Model, rq: &LoginRequest) -> ApiResult<Option<users::Model>> {
    let id = user.id;
    let authenticator = &hub.auth.authenticator;
    for _ in 0..ROUNDS {
        let who = identity(&user, hub.auth_state(&user));
        match authenticator.refresh(&who, Some(rq), false).await {
            Ok(Refresh::Alone) => match lease::ask(hub, &user).await? {
                Asked::Given(lease) => {
                    let who = identity(&lease.user, Some(lease.state.clone()));
                    let answer = authenticator.refresh(&who, Some(rq), true).await;
                    return settle(hub, user, &who, answer, Some(&lease)).await;
                }
                Asked::Changed(newer) => user = *newer,
                Asked::Gone => user = reload(hub, id).await?,
                Asked::Busy => break,
            },
            answer => return settle(hub, user, &who, answer, None).await,
        }
    }
    warn!(user = %user.name, "other hubs are at work on what is known about the login; it holds for now");
    hub.auth.looks.unknown(id, hub.clock.now());
    Ok(Some(user))
}

fn identity(user: &users::Model, auth_state: Option<serde_json::Value>) -> Identity {
    Identity { name: user.name.clone(), admin: user.admin, auth_state, ..Identity::default() }
}

/// Writes down what came of a look.
async fn settle(
    hub: &Hub,
    user: users::Model,
    who: &Identity,
    answer: Result<Refresh, AuthError>,
    lease: Option<&Lease>,
) -> ApiResult<Option<users::Model>> {
    let looks = &hub.auth.looks;
    let updated = match answer {
        Ok(Refresh::Updated(newer)) if login::may_stay(hub, &user.name, &newer) => Some(newer),
        Ok(Refresh::Updated(_)) => {
            info!(user = %user.name, "the rules of this hub do not allow the user any more");
            None
        }
        Ok(Refresh::Valid) => {
            release(hub, lease).await;
            looks.holds(user.id, hub.clock.now(), hub.auth.authenticator.fresh_until(who));
            return reload(hub, user.id).await.map(Some);
        }
        Ok(Refresh::Stale) => None,
        Err(AuthError::Denied(_)) => {
            info!(user = %user.name, "the authenticator does not let the user in any more");
            None
        }
        Ok(Refresh::Alone) | Err(_) => {
            let error = answer.err().map(|error| error.to_string()).unwrap_or_default();
            warn!(user = %user.name, error, "cannot ask whether the login still holds; it does for now");
            release(hub, lease).await;
            looks.unknown(user.id, hub.clock.now());
            return reload(hub, user.id).await.map(Some);
        }
    };
    let Some(newer) = updated else {
        release(hub, lease).await;
        let row = reload(hub, user.id).await?;
        looks.stale(&row, hub.clock.now());
        info!(user = %user.name, "the login does not hold any more");
        return Ok(None);
    };
    let (row, stored) = match lease {
        Some(lease) => (&lease.user, Some(lease.marked())),
        None => (&user, user.encrypted_auth_state.as_deref()),
    };
    let user = login::update(hub, row, stored, who, &newer).await?;
    looks.holds(user.id, hub.clock.now(), hub.auth.authenticator.fresh_until(&newer));
    Ok(Some(user))
}

async fn release(hub: &Hub, lease: Option<&Lease>) {
    if let Some(lease) = lease
        && let Err(error) = lease.release(hub).await
    {
        // It ends by itself.
        warn!(user = %lease.user.name, %error, "the right to refresh a login cannot be given back");
    }
}

/// The row of a user as it is now.
pub(super) async fn reload(hub: &Hub, id: i32) -> ApiResult<users::Model> {
    repo::users::by_id(hub.db.conn(), id)
        .await?
        .ok_or_else(|| ApiError::internal("the user vanished while being updated"))
}
