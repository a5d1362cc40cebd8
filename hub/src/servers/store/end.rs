//! The rows after a stop or a failed start, and the starts that are owed after one.

use hub_core::SpawnError;
use hub_db::DbError;
use hub_db::repo::{self, spawners::Spawner as Row};
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use super::{Record, Store, note_activity, token_note};
use crate::servers::notes::{self, Stopping};
use crate::servers::supervisor::StartOrder;
use crate::servers::{SpawnerId, failures};

impl Store {
    /// Notes that this hub stops a server, and what is to follow: until the next note the stop is its own, afterwards
    /// another hub goes on with it. False: that run of the server is over.
    pub(in crate::servers) async fn note_stop(
        &self,
        record: &Record,
        remove: bool,
        then: Option<&StartOrder>,
    ) -> Result<bool, DbError> {
        let Some(run) = record.server_id else { return Ok(false) };
        let stopping = Stopping::by(&self.hub, self.clock.now(), remove, then);
        let state = notes::note_stop(record.state.clone(), &stopping);
        repo::spawners::set_state_of_run(self.db.conn(), record.id, run, state).await
    }

    /// This hub carries a stop no further: the next one need not wait before it goes on.
    pub(in crate::servers) async fn let_go_stop(
        &self,
        id: SpawnerId,
        remove: bool,
        then: Option<&StartOrder>,
    ) -> Result<(), DbError> {
        let Some(record) = self.load(id).await? else { return Ok(()) };
        let (Some(run), Some(stopping)) = (record.server_id, record.stopping) else { return Ok(()) };
        if !stopping.is_by(&self.hub) {
            return Ok(());
        }
        let left = Stopping::left_by(&self.hub, self.clock.now(), remove, then);
        let state = notes::note_stop(record.state, &left);
        repo::spawners::set_state_of_run(self.db.conn(), id, run, state).await.map(drop)
    }

    /// The server did not stop and is kept, or its stop is none any more. Where it was on its way, somebody is to
    /// look what became of that.
    pub(in crate::servers) async fn forget_stop(&self, record: &Record) -> Result<(), DbError> {
        let Some(run) = record.server_id else { return Ok(()) };
        let mut state = record.state.clone();
        if record.at_work.is_some() {
            state = notes::note_end(state, &self.hub, self.clock.now());
        }
        repo::spawners::set_state_of_run(self.db.conn(), record.id, run, state).await.map(drop)
    }

    /// After a stop: address, token and OAuth client (with the sessions that hang on it) go; of the state stays what
    /// the spawner keeps for the next start. Of the start that is to follow, `then`, it is noted that it is owed.
    /// False: another hub was first. What it has written, and a run that it has begun since, stay as they are.
    pub async fn finish_stop(
        &self,
        id: SpawnerId,
        record: &Record,
        mut kept: Value,
        then: Option<&StartOrder>,
    ) -> Result<bool, DbError> {
        if then.is_some() {
            notes::owe_restart(&mut kept, self.clock.now());
        }
        let prefix = self.urls.server(&record.key);
        let tx = self.db.begin().await?;
        note_activity(&tx, id, record.user_id, self.clock.now()).await?;
        let was_first = match record.server_id {
            Some(run) => repo::spawners::clear_server(&tx, id, run).await?,
            None => repo::spawners::by_id(&tx, id).await?.is_some_and(|row| row.server.is_none()),
        };
        if !was_first {
            info!(user = %record.key.user, server = %record.key.server, "another hub has come to an end with the server before");
            return Ok(false);
        }
        repo::spawners::set_state(&tx, id, Some(kept)).await?;
        repo::spawners::set_started(&tx, id, None).await?;
        repo::tokens::delete_of_server(&tx, record.user_id, &token_note(&prefix)).await?;
        repo::spawners::set_oauth_client(&tx, id, None).await?;
        let client = record.oauth_client_id.clone().unwrap_or_else(|| record.key.oauth_client_id());
        if repo::spawners::by_oauth_client(&tx, &client).await?.is_none() {
            repo::oauth::delete_client(&tx, &client).await?;
        }
        tx.commit().await?;
        // By itself: options that the database does not take are no reason to keep the rows of a server that is gone.
        if let Some(options) = then.and_then(|order| order.options.clone())
            && let Err(error) =
                repo::spawners::set_user_options(self.db.conn(), id, Some(Value::Object(options))).await
        {
            warn!(user = %record.key.user, server = %record.key.server, %error, "cannot note with what the server is to be started again");
        }
        Ok(true)
    }

    /// Keeps why a start failed, for the next hub. Where something is left of the start, its state is worth more.
    pub async fn save_failure(&self, id: SpawnerId, error: &SpawnError) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        let row = repo::spawners::by_id(&tx, id).await?.filter(|row| row.server.is_none());
        let Some(row) = row else { return Ok(()) };
        let mut kept = row.row.state.map(|state| state.0).unwrap_or_default();
        notes::take_restart(&mut kept);
        let state = failures::state_after(kept, error, self.clock.now());
        repo::spawners::set_state(&tx, id, Some(state)).await?;
        tx.commit().await
    }

    /// Servers that were stopped to be started again by a hub that has not come to it.
    pub async fn restarts_owed(&self) -> Result<Vec<Record>, DbError> {
        let rows = repo::spawners::stopped_with(self.db.conn(), notes::RESTART_KEY).await?;
        let owners: Vec<i32> = rows.iter().filter_map(|row| row.user_id).collect();
        let owners = repo::users::by_ids(self.db.conn(), &owners).await?;
        let now = self.clock.now();
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let owner = owners.get(&row.user_id?)?;
                Some(Record::of(&Row { row, server: None }, &owner.name))
            })
            .filter(|record| record.restart_until.is_some_and(|until| now < until))
            .collect())
    }

    /// Notes, for the next hub, that a start with these options waits for its turn.
    pub(in crate::servers) async fn owe_start(
        &self,
        id: SpawnerId,
        options: Option<&Map<String, Value>>,
    ) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        let row = repo::spawners::by_id(&tx, id).await?.filter(|row| row.server.is_none());
        let Some(row) = row else { return Ok(()) };
        let mut state = row.row.state.map_or_else(|| json!({}), |state| state.0);
        notes::owe_waiting(&mut state, self.clock.now());
        repo::spawners::set_state(&tx, id, Some(state)).await?;
        if let Some(options) = options {
            repo::spawners::set_user_options(&tx, id, Some(Value::Object(options.clone()))).await?;
        }
        tx.commit().await
    }

    /// Forgets that a start is owed: nobody wants it any more. What the spawner keeps for the next start stays.
    pub(in crate::servers) async fn forget_restart(&self, id: SpawnerId) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        let row = repo::spawners::by_id(&tx, id).await?.filter(|row| row.server.is_none());
        if let Some(mut state) = row.and_then(|row| row.row.state).map(|state| state.0) {
            notes::take_restart(&mut state);
            repo::spawners::set_state(&tx, id, Some(state)).await?;
        }
        tx.commit().await
    }
}
