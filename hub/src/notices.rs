//! What hubs on one database tell each other at once, and what they do when they are told.
//!
//! Each of them has a proxy, caches and requests of its own. What one of them ends in the database, the others would
//! go on with for as long as they do not look: websockets of sessions and tokens, answers about a login. So whoever
//! ends it leaves a notice there ([`hub_db::repo::notices`]) and everybody else reads it: on PostgreSQL at once,
//! woken by the database, and everywhere within a few seconds. All of them may be followed twice. The same word wakes
//! those who listen to what happens to servers ([`crate::events`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hub_core::Clock;
use hub_core::secret::random_hex32;
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
/// Most orders in one notice.
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
    /// Orders to cut websockets, in as many notices as they need: names may have letters of many bytes.
    pub fn of_cuts(orders: &[Cut]) -> Vec<Self> {
        orders.chunks(ORDERS).flat_map(fitting).collect()
    }
}

/// Halves orders until each part fits. One alone always does: names have 255 letters at most.
fn fitting(orders: &[Cut]) -> Vec<Notice> {
    let notice = Notice::Cut(orders.to_vec());
    let fits = Told::size(&notice) <= repo::notices::LONGEST;
    if orders.len() < 2 || fits {
        return vec![notice];
    }
    let (first, second) = orders.split_at(orders.len() / 2);
    [fitting(first), fitting(second)].concat()
}

/// A notice as it stands in the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Told {
    /// Who left it.
    by: String,
    what: Notice,
}

impl Told {
    fn text(&self) -> Result<String, DbError> {
        serde_json::to_string(self)
            .map_err(|error| DbError::Invalid(format!("a notice cannot be written: {error}")))
    }

    /// How much room a notice takes, whoever leaves it; one that cannot be written is told of when it is left.
    fn size(what: &Notice) -> usize {
        let told = Self { by: "0".repeat(32), what: what.clone() };
        told.text().map_or(0, |text| repo::notices::stored_size(&text))
    }

    /// What another hub tells: what this one has told it has done itself.
    fn by_another(self, own: &str) -> Option<Notice> {
        (self.by != own).then_some(self.what)
    }
}

/// Whether there may be other hubs.
fn has_others(db: &Db) -> bool {
    db.backend() != DbBackend::Sqlite
}

/// What this hub has to say to the others. Clones speak for the same hub.
#[derive(Debug, Clone)]
pub struct Notices {
    db: Db,
    clock: Arc<dyn Clock>,
    by: Arc<str>,
}

impl Notices {
    /// Of a hub that has said nothing yet.
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock, by: random_hex32().into() }
    }

    /// Tells the other hubs, beside whatever goes on: nobody waits for it, and no request fails by it.
    pub fn tell(&self, tasks: &Tasks, notices: Vec<Notice>) {
        if notices.is_empty() || !has_others(&self.db) {
            return;
        }
        let own = self.clone();
        // To its end: nobody would tell them later.
        tasks.spawn_to_end(async move {
            for what in notices {
                own.leave(what).await;
            }
            if let Err(error) = own.db.wake().await {
                debug!(%error, "the other hubs read what was told a little later");
            }
        });
    }

    /// Leaves one notice. That it does not work keeps none of the others from being left.
    async fn leave(&self, what: Notice) {
        let told = async {
            let text = Told { by: self.by.to_string(), what }.text()?;
            repo::notices::put(self.db.conn(), text, self.clock.now()).await
        };
        if let Err(error) = told.await {
            warn!(%error, "other hubs on this database may go on with what was ended");
        }
    }
}

/// Reads what the other hubs tell, for as long as this one runs.
pub async fn follow(hub: &Hub) {
    if !has_others(&hub.db) {
        return;
    }
    let mut seen = BTreeSet::new();
    let mut waker = None;
    let mut is_away = false;
    loop {
        if waker.is_none() {
            // The database may be away: then nothing is ended there either.
            let heard = tokio::time::timeout(LOOK, hub.db.waker()).await;
            waker = heard.ok().and_then(Result::ok).flatten();
        }
        hub.events.exchange().note();
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

/// Follows the notices that were not seen before.
async fn look(hub: &Hub, seen: &mut BTreeSet<i32>) -> Result<(), DbError> {
    for notice in repo::notices::unseen(hub.db.conn(), seen, hub.clock.now()).await? {
        match serde_json::from_str::<Told>(&notice.text) {
            Ok(told) => {
                if let Some(what) = told.by_another(&hub.notices.by) {
                    obey(hub, what).await;
                }
            }
            Err(error) => debug!(%error, "a notice that this version does not know"),
        }
    }
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

    fn order(user: &str, server: &str) -> Cut {
        let route = format!("/user/{}/{}", user.repeat(255), server.repeat(255));
        Cut { session: Some("s".repeat(255)), route: Some(route), ..Cut::default() }
    }

    #[test]
    fn orders_fit_into_notices_however_many_there_are_and_whatever_their_names() {
        for (order, least) in
            [(order("a", "b"), 3), (order("é", "\""), 3), (order("\u{1F600}", "\u{20BB7}"), 17)]
        {
            let orders = vec![order; 2 * ORDERS + 1];
            let notices = Notice::of_cuts(&orders);
            assert!(notices.len() >= least, "{}", notices.len());
            let mut read = Vec::new();
            for what in notices {
                let text = Told { by: random_hex32(), what: what.clone() }.text().unwrap();
                let size = repo::notices::stored_size(&text);
                assert!(size <= repo::notices::LONGEST, "{size}");
                assert_eq!(size, Told::size(&what));
                let Notice::Cut(part) = serde_json::from_str::<Told>(&text).unwrap().what else { panic!() };
                read.extend(part);
            }
            assert_eq!(read, orders, "none is lost, and none is told twice");
        }
    }

    #[test]
    fn what_a_hub_has_told_itself_is_not_done_again() {
        for what in [Notice::Routes, Notice::Login(7), Notice::Cut(vec![order("a", "b")])] {
            let text = Told { by: "one".to_owned(), what: what.clone() }.text().unwrap();
            let told: Told = serde_json::from_str(&text).unwrap();
            assert_eq!(told.clone().by_another("one"), None);
            assert_eq!(told.by_another("two"), Some(what));
        }
    }
}
