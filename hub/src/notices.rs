//! What hubs on one database tell each other at once, and what they do when they are told.
//!
//! Each of them has a proxy, caches and requests of its own. What one of them ends in the database, the others would go
//! on with for as long as they do not look: websockets of sessions and tokens, answers about a login. So whoever ends it
//! leaves a notice there ([`hub_db::repo::notices`]) and everybody reads it: on PostgreSQL at once, woken by the
//! database, and everywhere within a few seconds. Notices are read by whoever left them as well; all of them may
//! be followed twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hub_core::Clock;
use hub_db::{Db, DbBackend, DbError, Waker, repo};
use hub_proxy::Cut;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::app::Hub;
use crate::app::tasks::Tasks;

/// Pause between two looks where the database wakes nobody.
const LOOK: Duration = Duration::from_secs(2);
/// The same where it does: a word may be lost.
const LOOK_UNASKED: Duration = Duration::from_secs(10);
/// Shortest pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Orders in one notice: each has less than 700 bytes.
const ORDERS: usize = 40;

/// Something that was ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Websockets that are to be cut.
    Cut(Vec<Cut>),
    /// What was found out about the login of this user, by id, is not to be relied on.
    Login(i32),
    /// A server was stopped: its route must go.
    Routes,
}

impl Notice {
    /// Orders to cut websockets, in as many notices as they need.
    pub fn of_cuts(orders: &[Cut]) -> Vec<Self> {
        orders.chunks(ORDERS).map(|orders| Self::Cut(orders.to_vec())).collect()
    }
}

/// Whether there may be other hubs.
fn has_others(db: &Db) -> bool {
    db.backend() != DbBackend::Sqlite
}

/// Tells the other hubs, beside whatever goes on.
pub fn tell(tasks: &Tasks, db: &Db, clock: &Arc<dyn Clock>, notices: Vec<Notice>) {
    if notices.is_empty() || !has_others(db) {
        return;
    }
    let (db, clock) = (db.clone(), Arc::clone(clock));
    // To its end: nobody would tell them later.
    tasks.spawn_to_end(async move {
        let told = async {
            for notice in notices {
                let text = serde_json::to_string(&notice)
                    .map_err(|error| DbError::Invalid(format!("a notice cannot be written: {error}")))?;
                repo::notices::put(db.conn(), text, clock.now()).await?;
            }
            db.wake().await
        };
        if let Err(error) = told.await {
            warn!(%error, "other hubs on this database may go on with what was ended");
        }
    });
}

/// Reads what the other hubs tell, for as long as this one runs.
pub async fn follow(hub: &Hub) {
    if !has_others(&hub.db) {
        return;
    }
    let mut seen = HashSet::new();
    let mut waker = None;
    let mut is_away = false;
    loop {
        if waker.is_none() {
            // The database may be away: then nothing is ended there either.
            let heard = tokio::time::timeout(LOOK, hub.db.waker()).await;
            waker = heard.ok().and_then(Result::ok).flatten();
        }
        match look(hub, &mut seen).await {
            Ok(()) => is_away = false,
            Err(error) => {
                if !is_away {
                    warn!(%error, "cannot read what other hubs on this database tell");
                }
                is_away = true;
            }
        }
        if !wait(&mut waker).await {
            waker = None;
            tokio::time::sleep(LOOK).await;
        }
        // Whoever ends much at once gives the word many times.
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until it is time for a look. `false`: nothing is heard from the database any more.
async fn wait(waker: &mut Option<Waker>) -> bool {
    let Some(waker) = waker else {
        tokio::time::sleep(LOOK).await;
        return true;
    };
    tokio::select! {
        woken = waker.woken() => woken.is_ok(),
        () = tokio::time::sleep(LOOK_UNASKED) => true,
    }
}

/// Follows the notices that were not seen before. Those that have gone are forgotten.
async fn look(hub: &Hub, seen: &mut HashSet<i32>) -> Result<(), DbError> {
    let recent = repo::notices::recent(hub.db.conn(), hub.clock.now()).await?;
    for notice in recent.iter().filter(|notice| !seen.contains(&notice.id)) {
        match serde_json::from_str(&notice.text) {
            Ok(notice) => obey(hub, notice).await,
            Err(error) => debug!(%error, "a notice that this version does not know"),
        }
    }
    *seen = recent.into_iter().map(|notice| notice.id).collect();
    Ok(())
}

async fn obey(hub: &Hub, notice: Notice) {
    match notice {
        Notice::Cut(orders) => {
            for order in orders {
                if let Err(error) = hub.routing.cut(order).await {
                    warn!(%error, "websockets of a session or token that ended may go on");
                }
            }
        }
        Notice::Login(user) => hub.auth.looks.forget(user),
        Notice::Routes => hub.routing.note_missing(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_fit_into_notices_however_many_there_are() {
        let longest = Cut { session: Some("s".repeat(255)), route: Some("/r".repeat(150)), ..Cut::default() };
        let notices = Notice::of_cuts(&vec![longest; 2 * ORDERS + 1]);
        assert_eq!(notices.len(), 3);
        for notice in notices {
            let text = serde_json::to_string(&notice).unwrap();
            assert!(text.len() <= repo::notices::LONGEST, "{}", text.len());
            assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice);
        }
    }
}
