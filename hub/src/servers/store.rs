//! The rows of one server, changed together: `spawners`, `servers`, its token and its OAuth client.

mod begin;
mod end;
mod record;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::{Clock, ServerKey, ServerName};
use hub_db::repo;
use hub_db::{Db, DbError, Tx};

pub use self::begin::Prepared;
pub use self::record::{Record, address};
use super::SpawnerId;
use super::notes::HubName;
use crate::app::tasks::Tasks;
use crate::auth::crypt::Crypt;
use crate::notices::{Notice, Notices};
use crate::rbac::Rbac;
use crate::urls::Urls;

/// Settings of what a server's token and client may do.
#[derive(Debug, Clone, Default)]
pub struct GrantSettings {
    /// Scopes of a server's token; empty means those of the role `server`.
    pub server_token_scopes: Vec<String>,
    /// Scopes that a server's OAuth client may ask for besides access to the server.
    pub client_allowed_scopes: Vec<String>,
}

/// Reads and writes the rows of servers.
#[derive(Debug)]
pub struct Store {
    db: Db,
    rbac: Arc<Rbac>,
    crypt: Arc<Crypt>,
    urls: Arc<Urls>,
    clock: Arc<dyn Clock>,
    grants: GrantSettings,
    notices: Notices,
    hub: HubName,
}

impl Store {
    /// Over a database.
    pub fn new(
        db: Db,
        rbac: Arc<Rbac>,
        crypt: Arc<Crypt>,
        urls: Arc<Urls>,
        clock: Arc<dyn Clock>,
        grants: GrantSettings,
        notices: Notices,
    ) -> Self {
        Self { db, rbac, crypt, urls, clock, grants, notices, hub: HubName::fresh() }
    }

    /// Tells other hubs that a server runs elsewhere than before or no more, whose route they may have as well.
    pub(super) fn tell_routes(&self, tasks: &Tasks) {
        self.notices.tell(tasks, vec![Notice::Routes]);
    }

    /// One server.
    pub async fn load(&self, id: SpawnerId) -> Result<Option<Record>, DbError> {
        let Some(row) = repo::spawners::by_id(self.db.conn(), id).await? else { return Ok(None) };
        let owner = repo::users::by_id(self.db.conn(), row.row.user_id.unwrap_or_default()).await?;
        Ok(owner.map(|owner| Record::of(&row, &owner.name)))
    }

    /// One server by its name.
    pub async fn find(&self, key: &ServerKey) -> Result<Option<Record>, DbError> {
        let Some(owner) = repo::users::by_name(self.db.conn(), key.user.as_str()).await? else {
            return Ok(None);
        };
        let row = repo::spawners::by_name(self.db.conn(), owner.id, key.server.as_str()).await?;
        Ok(row.map(|row| Record::of(&row, &owner.name)))
    }

    /// The groups of a user, sorted.
    pub async fn groups_of(&self, user_id: i32) -> Result<Vec<String>, DbError> {
        let mut groups = repo::groups::names_of_users(self.db.conn(), &[user_id]).await?;
        let mut names = groups.remove(&user_id).unwrap_or_default();
        names.sort();
        Ok(names)
    }

    /// The record of a server of a user, made unless there is one. Of several who ask at once, one makes it: the table
    /// itself would take a second one. None when the user is gone.
    pub async fn find_or_make(
        &self,
        user_id: i32,
        name: &str,
        display_name: &str,
    ) -> Result<Option<SpawnerId>, DbError> {
        let tx = self.db.begin().await?;
        if repo::users::lock(&tx, user_id).await?.is_none() {
            return Ok(None);
        }
        let id = if let Some(known) = repo::spawners::by_name(&tx, user_id, name).await? {
            known.row.id
        } else {
            let row = repo::spawners::create(&tx, user_id, name).await?;
            if may_have_display_name(&ServerName::stored(name)) {
                repo::spawners::set_display_name(&tx, row.id, Some(display_name)).await?;
            }
            row.id
        };
        tx.commit().await?;
        Ok(Some(id))
    }

    /// Every server that runs or is on its way, in a fixed number of queries.
    pub async fn active(&self) -> Result<Vec<Record>, DbError> {
        let rows = repo::spawners::active(self.db.conn()).await?;
        let owners: Vec<i32> = rows.iter().filter_map(|row| row.row.user_id).collect();
        let owners = repo::users::by_ids(self.db.conn(), &owners).await?;
        Ok(rows
            .iter()
            .filter_map(|row| Some(Record::of(row, &owners.get(&row.row.user_id?)?.name)))
            .collect())
    }

    /// The rows of all servers that run or are on their way.
    pub async fn active_ids(&self) -> Result<Vec<SpawnerId>, DbError> {
        repo::spawners::active_ids(self.db.conn()).await
    }

    /// The servers of one user that run or are on their way.
    pub async fn active_of(&self, user_id: i32, owner: &str) -> Result<Vec<Record>, DbError> {
        let rows = repo::spawners::of_user(self.db.conn(), user_id).await?;
        Ok(rows.iter().map(|row| Record::of(row, owner)).filter(Record::is_active).collect())
    }

    /// Whether another hub works on the server at this moment.
    pub fn is_elsewhere(&self, record: &Record) -> bool {
        record.at_work.as_ref().is_some_and(|at_work| at_work.is_another(&self.hub, self.clock.now()))
    }

    /// Whether another hub stops the server at this moment.
    pub fn is_being_stopped_elsewhere(&self, record: &Record) -> bool {
        record.stopping.as_ref().is_some_and(|it| it.is_another(&self.hub, self.clock.now()))
    }

    /// Deletes a named server's row for ever.
    pub async fn delete(&self, id: SpawnerId) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        repo::spawners::delete(&tx, id).await?;
        tx.commit().await
    }
}

/// A start or a stop counts as activity of the server and of its owner, as in stock.
async fn note_activity(tx: &Tx, id: SpawnerId, owner: i32, at: DateTime<Utc>) -> Result<(), DbError> {
    repo::spawners::bump_activity(tx, id, at, TimeDelta::zero()).await?;
    repo::users::bump_activity(tx, owner, at, TimeDelta::zero()).await?;
    Ok(())
}

/// Whether a server of this name may have another one to be shown. Stock does not start when a server has both a name
/// from before version 6 and a display name.
pub fn may_have_display_name(name: &ServerName) -> bool {
    name.is_default() || name.is_safe()
}

/// The note by which a server's own token is told from others.
pub fn token_note(prefix: &str) -> String {
    repo::fitting::fitting(&format!("Server at {prefix}"), 1023)
}
