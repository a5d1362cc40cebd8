//! The right to use what works only once: the refresh token in a user's kept state.
//!
//! Several hubs may share a database, and two that use one refresh token at once would end the person's session. The
//! right is written into the kept state itself, as `refreshing = {by, until}`, by a compare-and-swap of the encrypted
//! column: whoever swaps first has it, others wait and then read what was learned. It ends by itself, so that the end
//! of a hub in between costs nobody more than a refresh takes. Stock ignores the key.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::secret::random_hex32;
use hub_db::entities::users;
use hub_db::repo;
use serde_json::{Value, json};

use crate::app::Hub;
use crate::web::error::ApiResult;

/// Key in the kept state.
const KEY: &str = "refreshing";
/// What writing down a refresh may take on top of it.
const WRITING: TimeDelta = TimeDelta::seconds(15);
/// Longest right.
const LONGEST: TimeDelta = TimeDelta::minutes(15);
/// How often somebody who waits looks again.
const WAIT: Duration = Duration::from_millis(100);
/// How long one request waits for what another hub is doing.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kept state of a user, with the right to use it.
#[derive(Debug)]
pub(super) struct Lease {
    /// The row as it was read.
    pub(super) user: users::Model,
    /// The kept state without the mark.
    pub(super) state: Value,
    /// The column while the right lasts.
    marked: Vec<u8>,
}

/// What came of asking for the right.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is ours.
    Given(Box<Lease>),
    /// Somebody else used it since the row was read: here is what they left.
    Changed(Box<users::Model>),
    /// The user, the state or the key for it is gone.
    Gone,
    /// Somebody else has had it for long, or was killed with it.
    Busy,
}

/// Takes the mark off a kept state.
pub(crate) fn without_mark(mut state: Value) -> Value {
    if let Some(map) = state.as_object_mut() {
        map.remove(KEY);
    }
    state
}

/// When the right that is noted in a state ends.
fn held_until(state: &Value) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(state.get(KEY)?.get("until")?.as_i64()?, 0)
}

/// How long the right lasts: for as long as a refresh may take.
fn life(hub: &Hub) -> TimeDelta {
    let refresh = TimeDelta::from_std(hub.auth.authenticator.refresh_takes()).unwrap_or(LONGEST);
    (refresh + WRITING).min(LONGEST)
}

/// Asks for the right to use the kept state of a user as it was read.
pub(super) async fn ask(hub: &Hub, seen: &users::Model) -> ApiResult<Asked> {
    let mut user = seen.clone();
    let (db, life) = (hub.db.conn(), life(hub));
    let began = Instant::now();
    loop {
        let Some(stored) = user.encrypted_auth_state.clone() else { return Ok(Asked::Gone) };
        let Some(decrypted) = hub.auth.crypt.decrypt(&stored) else { return Ok(Asked::Gone) };
        let now = hub.clock.now();
        let taken = held_until(&decrypted.state).is_some_and(|until| now < until && until <= now + LONGEST);
        if taken && began.elapsed() > PATIENCE {
            return Ok(Asked::Busy);
        }
        if taken {
            tokio::time::sleep(WAIT).await;
        } else {
            let state = without_mark(decrypted.state);
            let mut marked = state.clone();
            if let Some(map) = marked.as_object_mut() {
                map.insert(KEY.to_owned(), json!({"by": random_hex32(), "until": (now + life).timestamp()}));
            }
            let Some(marked) = hub.auth.crypt.encrypt(&marked) else { return Ok(Asked::Gone) };
            if repo::auth_state::swap(db, user.id, &stored, Some(&marked)).await? {
                return Ok(Asked::Given(Box::new(Lease { user, state, marked })));
            }
        }
        let Some(now) = repo::users::by_id(db, user.id).await? else { return Ok(Asked::Gone) };
        let state = now.encrypted_auth_state.as_deref().and_then(|stored| hub.auth.crypt.decrypt(stored));
        let settled = state.is_some_and(|decrypted| held_until(&decrypted.state).is_none());
        if settled && now.encrypted_auth_state != seen.encrypted_auth_state {
            return Ok(Asked::Changed(Box::new(now)));
        }
        user = now;
    }
}

impl Lease {
    /// The column as it is while the right lasts.
    pub(super) fn marked(&self) -> &[u8] {
        &self.marked
    }

    /// Gives the right back and leaves the state as it was. Somebody who changed the state meanwhile wins.
    pub(super) async fn release(&self, hub: &Hub) -> ApiResult<()> {
        let before = hub.auth.crypt.encrypt(&self.state);
        repo::auth_state::swap(hub.db.conn(), self.user.id, &self.marked, before.as_deref()).await?;
        Ok(())
    }
}
