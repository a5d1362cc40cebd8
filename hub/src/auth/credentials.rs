//! Credentials of running servers, renewed without a restart where the application at which people log in gives them to
//! the person's browser alone (OpenHEXA). Stock has nothing like it.
//!
//! A browser that asks the hub anything brings the person's session at the application along. The hub then asks there
//! anew for those of the person's servers whose credentials are old, beside the request, and keeps the answer encrypted
//! in the database; a server gets it by `GET /hub/api/user` with its own token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use chrono::TimeDelta;
use hub_core::{AuthError, LoginRequest};
use hub_db::entities::{api_tokens, users};
use hub_db::repo;
use moka::sync::Cache;
use tracing::{info, warn};

use crate::app::Hub;
use crate::rbac::HUB_CLIENT;
use crate::servers::store::{Record, token_note};
use crate::web::error::{ApiError, ApiResult};

/// Most people whose last look is remembered.
const MOST: u64 = 100_000;
/// Shortest and longest pause between two looks at the servers of one person.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Most servers for which one look asks.
const MOST_SERVERS: usize = 50;

/// When the servers of whom were looked at.
#[derive(Debug)]
pub struct Renewals {
    age: Option<TimeDelta>,
    looked: Cache<i32, ()>,
}

impl Renewals {
    /// Renewals of credentials that are older than this; none never renews.
    pub fn new(age: Option<Duration>) -> Self {
        let pause = age.map_or(PAUSE.1, |age| (age / 4).clamp(PAUSE.0, PAUSE.1));
        Self {
            age: age.and_then(|age| TimeDelta::from_std(age).ok()),
            looked: Cache::builder().max_capacity(MOST).time_to_live(pause).build(),
        }
    }

    /// Whether it is this request's turn to look at the servers of a user.
    fn is_due(&self, user: i32) -> bool {
        self.looked.entry(user).or_insert(()).is_fresh()
    }
}

/// A browser of a user asked something: renews what is old, beside the request.
pub fn seen(hub: &web::Data<Hub>, user: &users::Model, request: impl FnOnce() -> LoginRequest) {
    let Some(age) = hub.auth.renewals.age else { return };
    if !hub.auth.crypt.is_enabled() || !hub.auth.renewals.is_due(user.id) {
        return;
    }
    let (hub, user, request) = (Arc::clone(hub), user.clone(), request());
    hub.clone().tasks.spawn(async move {
        if let Err(error) = renew(&hub, &user, age, &request).await {
            warn!(user = %user.name, %error, "the credentials of running servers are not renewed");
        }
    });
}

async fn renew(hub: &Hub, user: &users::Model, age: TimeDelta, request: &LoginRequest) -> ApiResult<()> {
    let records = hub.servers.store.active_of(user.id, &user.name).await?;
    let ready = records.iter().filter(|it| !it.key.server.is_default() && it.address.is_some());
    for record in ready.take(MOST_SERVERS) {
        let now = hub.clock.now();
        let kept = repo::environments::find(hub.db.conn(), user.id, record.id, now).await?;
        let since = kept.map(|kept| kept.at).max(record.started);
        if since.is_some_and(|since| now - since < age) {
            continue;
        }
        let key = &record.key;
        match hub.auth.authenticator.fresh_environment(key, request).await {
            Ok(Some(variables)) => {
                keep(hub, user, record, &variables).await?;
                info!(user = %key.user, server = %key.server, "credentials of a running server renewed");
            }
            // The browser brought nothing by which to ask: neither for this server nor for another one.
            Ok(None) | Err(AuthError::Elsewhere { .. }) => return Ok(()),
            Err(error @ AuthError::Unavailable(_)) => return Err(error.into()),
            Err(error) => {
                info!(user = %key.user, server = %key.server, %error, "credentials of a running server are not renewed");
            }
        }
    }
    Ok(())
}

async fn keep(
    hub: &Hub,
    user: &users::Model,
    record: &Record,
    variables: &BTreeMap<String, String>,
) -> ApiResult<()> {
    let encrypted = hub.auth.crypt.encrypt(&serde_json::json!(variables));
    let encrypted = encrypted.and_then(|bytes| String::from_utf8(bytes).ok());
    let encrypted = encrypted.ok_or_else(|| ApiError::internal("an environment cannot be encrypted"))?;
    let tx = hub.db.begin().await?;
    repo::environments::put(&tx, user.id, record.id, encrypted, hub.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// The variables that were renewed since the start of the server whose own token this is.
///
/// # Errors
/// When the database does not answer.
pub async fn renewed(
    hub: &Hub,
    user: &users::Model,
    token: &api_tokens::Model,
) -> ApiResult<BTreeMap<String, String>> {
    let nothing = BTreeMap::new();
    let of_hub = token.client_id.as_deref() == Some(HUB_CLIENT) && token.session_id.is_none();
    let Some(note) = token.note.as_deref().filter(|_| of_hub && hub.auth.renewals.age.is_some()) else {
        return Ok(nothing);
    };
    let records = hub.servers.store.active_of(user.id, &user.name).await?;
    let is_own = |record: &&Record| {
        token_note(&hub.urls.server(&record.key)) == note
            && record.started.is_some_and(|started| token.created.is_some_and(|at| at.utc() <= started))
    };
    let Some(record) = records.iter().find(is_own) else { return Ok(nothing) };
    let kept = repo::environments::find(hub.db.conn(), user.id, record.id, hub.clock.now()).await?;
    // What is older than the start was for the run before.
    let Some(kept) = kept.filter(|kept| record.started.is_none_or(|started| started <= kept.at)) else {
        return Ok(nothing);
    };
    let variables = hub.auth.crypt.decrypt(kept.encrypted.as_bytes());
    Ok(variables.and_then(|found| serde_json::from_value(found.state).ok()).unwrap_or(nothing))
}
