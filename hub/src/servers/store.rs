//! The rows of one server, changed together: `spawners`, `servers`, its token and its OAuth client.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::scopes::{
    Client, ExpandContext, Owner, ScopeTable, client_allowed_scopes, requested_server_scopes,
    resolve_requested,
};
use hub_core::secret::{ExposeSecret as _, SecretString, random_hex32};
use hub_core::{Clock, ServerKey, ServerName, ServerRef, SpawnError, UserName, token};
use hub_db::repo::{self, spawners::Address, spawners::Spawner as Row};
use hub_db::{Db, DbError, Tx};
use serde_json::{Map, Value, json};
use tracing::warn;
use url::Url;

use super::notes::{self, AtWork, HubName};
use super::{SpawnerId, failures};
use crate::auth::crypt::Crypt;
use crate::rbac::{HUB_CLIENT, Holder, Rbac};
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
    hub: HubName,
}

/// What the database tells of one server.
#[derive(Debug, Clone)]
pub struct Record {
    /// Row in `spawners`.
    pub id: SpawnerId,
    /// Whose, which.
    pub key: ServerKey,
    /// Owner's row.
    pub user_id: i32,
    /// Saved state, `{}` when there is none.
    pub state: Value,
    /// Why the last start failed, where nothing was started since.
    pub failure: Option<Arc<SpawnError>>,
    /// Which hub works on the start.
    pub at_work: Option<AtWork>,
    /// Until when a start is owed, where the server was stopped to be started again.
    pub restart_until: Option<DateTime<Utc>>,
    /// Row in `servers`.
    pub server_id: Option<i32>,
    /// Where it is, once that is known.
    pub address: Option<Url>,
    /// OAuth client.
    pub oauth_client_id: Option<String>,
    /// When it was started.
    pub started: Option<DateTime<Utc>>,
    /// When somebody last used it.
    pub last_activity: Option<DateTime<Utc>>,
}

impl Record {
    /// Whether it runs, or is on its way.
    pub fn is_active(&self) -> bool {
        self.server_id.is_some()
    }

    /// Whether a spawner saved anything.
    pub fn has_state(&self) -> bool {
        self.state.as_object().is_some_and(|map| !map.is_empty())
    }

    /// For the spawner.
    pub fn server_ref(&self) -> ServerRef {
        ServerRef { key: self.key.clone(), state: self.state.clone(), address: self.address.clone() }
    }

    /// From rows, with the owner's name.
    pub fn of(row: &Row, owner: &str) -> Self {
        let name = ServerName::stored(row.row.name.clone());
        let mut state = row.row.state.clone().map_or_else(|| json!({}), |state| state.0);
        let failure = failures::take(&mut state).map(Arc::new);
        let at_work = notes::take_start(&mut state);
        let restart_until = notes::take_restart(&mut state);
        Self {
            id: row.row.id,
            key: ServerKey::new(UserName::stored(owner), name),
            user_id: row.row.user_id.unwrap_or_default(),
            state,
            failure,
            at_work,
            restart_until,
            server_id: row.server.as_ref().map(|server| server.id),
            address: row.server.as_ref().and_then(address),
            oauth_client_id: row.row.oauth_client_id.clone(),
            started: row.row.started.map(hub_db::Timestamp::utc),
            last_activity: row.row.last_activity.map(hub_db::Timestamp::utc),
        }
    }
}

/// The address in a `servers` row; none while it is not known (port 0).
pub fn address(server: &hub_db::entities::servers::Model) -> Option<Url> {
    let port = server.port.filter(|port| *port > 0)?;
    let proto = server.proto.as_deref().unwrap_or("http");
    let ip = match server.ip.as_deref().unwrap_or_default() {
        // Stock stores the address that the server binds; "everywhere" is reached on this machine.
        "" | "0.0.0.0" | "::" => "127.0.0.1",
        ip => ip,
    };
    let host = if ip.contains(':') && !ip.starts_with('[') { format!("[{ip}]") } else { ip.to_owned() };
    Url::parse(&format!("{proto}://{host}:{port}")).ok()
}

/// What a start was given.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The row in `servers` of this run.
    pub server_id: i32,
    /// The fresh token.
    pub api_token: String,
    /// The OAuth client.
    pub client_id: String,
    /// Options of this start.
    pub options: Map<String, Value>,
    /// State kept from the run before.
    pub state: Value,
    /// Name shown to people.
    pub display_name: Option<String>,
    /// Number of the owner.
    pub owner: i32,
    /// Whether the owner is an administrator.
    pub admin: bool,
    /// Groups of the owner.
    pub groups: Vec<String>,
    /// What the authenticator keeps about the owner.
    pub auth_state: Option<Value>,
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
    ) -> Self {
        Self { db, rbac, crypt, urls, clock, grants, hub: HubName::fresh() }
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

    /// The servers of one user that run or are on their way.
    pub async fn active_of(&self, user_id: i32, owner: &str) -> Result<Vec<Record>, DbError> {
        let rows = repo::spawners::of_user(self.db.conn(), user_id).await?;
        Ok(rows.iter().map(|row| Record::of(row, owner)).filter(Record::is_active).collect())
    }

    /// Rows for a start: an empty address, a fresh token, the OAuth client with the token as its secret, options.
    /// Leftovers of an earlier run go. `seen` is the row in `servers` that was there before; where there is another one
    /// now, another hub has just begun to start the server, and there is nothing to do: none.
    pub async fn prepare_start(
        &self,
        id: SpawnerId,
        seen: Option<i32>,
        options: Option<&Map<String, Value>>,
    ) -> Result<Option<Prepared>, DbError> {
        let gone = || DbError::Invalid("the server was deleted before it could start".to_owned());
        let record = self.load(id).await?.ok_or_else(gone)?;
        let owner = repo::users::by_id(self.db.conn(), record.user_id).await?.ok_or_else(gone)?;
        let mut groups = repo::groups::names_of_users(self.db.conn(), &[owner.id]).await?;
        let groups = groups.remove(&owner.id).unwrap_or_default();
        let scopes = self.token_scopes(&owner.name, owner.id, &record.key).await?;
        let key = &record.key;
        let api_token = random_hex32();
        let prefix = self.urls.server(key);
        let client = Client::Server { user: key.user.as_str(), server: key.server.as_str() };
        let allowed = client_allowed_scopes(&self.grants.client_allowed_scopes, &client);
        let now = self.clock.now();
        let secret = repo::oauth::hash_secret(&api_token).await?;

        let tx = self.db.begin().await?;
        // Locked, so that nobody is deleted or renamed while a server of theirs begins to start.
        repo::users::lock(&tx, owner.id).await?.filter(|now| now.name == owner.name).ok_or_else(gone)?;
        let row = repo::spawners::by_id(&tx, id).await?.filter(|row| row.row.name == key.server.as_str());
        let row = row.ok_or_else(gone)?;
        if row.server.as_ref().map(|server| server.id) != seen {
            return Ok(None);
        }
        let client_id = free_client_id(&tx, id, key).await?;
        repo::tokens::delete_of_server(&tx, owner.id, &token_note(&prefix)).await?;
        let address =
            Address { proto: "http".to_owned(), ip: String::new(), port: 0, base_url: prefix.clone() };
        let server_id = repo::spawners::set_server(&tx, id, &address).await?.id;
        let spec = repo::oauth::ClientSpec {
            identifier: client_id.clone(),
            description: format!("Server at {prefix}"),
            // Without the public host, as servers ask for it.
            redirect_uri: format!("{prefix}oauth_callback"),
            allowed_scopes: allowed.into_iter().collect(),
        };
        repo::oauth::upsert_client(&tx, spec, secret).await?;
        repo::spawners::set_oauth_client(&tx, id, Some(&client_id)).await?;
        let new = server_token(owner.id, &prefix, token::GENERATED_ROUNDS, scopes.into_iter().collect());
        repo::tokens::create(&tx, &api_token, new, now).await?;
        if let Some(options) = options {
            repo::spawners::set_user_options(&tx, id, Some(Value::Object(options.clone()))).await?;
        }
        repo::spawners::set_state(&tx, id, Some(self.noted(record.state.clone()))).await?;
        repo::spawners::set_started(&tx, id, Some(now)).await?;
        note_activity(&tx, id, owner.id, now).await?;
        tx.commit().await?;

        let saved = row.row.user_options.and_then(|saved| saved.0.as_object().cloned()).unwrap_or_default();
        Ok(Some(Prepared {
            server_id,
            api_token,
            client_id,
            options: options.cloned().unwrap_or(saved),
            state: record.state,
            display_name: row.row.display_name,
            owner: owner.id,
            admin: owner.is_admin(),
            groups,
            auth_state: owner
                .encrypted_auth_state
                .as_deref()
                .and_then(|s| self.crypt.decrypt(s))
                .map(|d| d.state),
        }))
    }

    /// What the token of a server may do: what is configured, as far as its owner may do it.
    async fn token_scopes(&self, name: &str, id: i32, key: &ServerKey) -> Result<BTreeSet<String>, DbError> {
        let configured = if self.grants.server_token_scopes.is_empty() {
            repo::roles::by_name(self.db.conn(), hub_core::scopes::SERVER_ROLE)
                .await?
                .map(|role| role.scopes.0)
                .unwrap_or_default()
        } else {
            self.grants.server_token_scopes.clone()
        };
        let (requested, added) = requested_server_scopes(configured, name, key.server.as_str());
        if added && !self.grants.server_token_scopes.is_empty() {
            warn!("spawner.server_token_scopes lacks users:activity!user; adding it");
        }
        let holder = Holder::User { id, name: name.to_owned() };
        let held = self.rbac.held(self.db.conn(), &holder, true).await?;
        let mut have = held.raw;
        have.insert("inherit".to_owned());
        let cx = ExpandContext::token(Owner::User(name), Client::Hub);
        let table: &ScopeTable = self.rbac.table();
        let wanted = table.expand_stored(&requested, &cx).scopes;
        let groups = self.rbac.membership(self.db.conn(), &wanted, &held.scopes).await?;
        Ok(resolve_requested(table, &requested, &have, &cx, &groups).allowed)
    }

    /// A state with the note that this hub works on the start.
    pub(super) fn noted(&self, state: Value) -> Value {
        notes::note_start(state, &self.hub, self.clock.now())
    }

    /// Whether another hub works on the server at this moment.
    pub fn is_elsewhere(&self, record: &Record) -> bool {
        record.at_work.as_ref().is_some_and(|at_work| at_work.is_another(&self.hub, self.clock.now()))
    }

    /// Saves what a spawner wants to find again while the server is on its way, and notes that this hub works on it.
    /// `run` is the row in `servers`. An error when the server was stopped meanwhile.
    pub async fn save_state(&self, id: SpawnerId, run: i32, state: Value) -> Result<(), DbError> {
        if repo::spawners::set_state_of_run(self.db.conn(), id, run, self.noted(state)).await? {
            Ok(())
        } else {
            Err(DbError::Conflict("the server was stopped while it started".to_owned()))
        }
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

    /// Forgets that a start is owed: nobody wants it any more.
    pub(super) async fn forget_restart(&self, id: SpawnerId) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        if repo::spawners::by_id(&tx, id).await?.is_some_and(|row| row.server.is_none()) {
            repo::spawners::set_state(&tx, id, Some(json!({}))).await?;
        }
        tx.commit().await
    }

    /// Saves where a server is. `run` is the row in `servers`.
    pub async fn save_started(
        &self,
        id: SpawnerId,
        run: Option<i32>,
        address: &Url,
        state: &Value,
    ) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        let Some(row) = repo::spawners::by_id(&tx, id).await? else {
            return Err(DbError::Invalid("the server was deleted while it started".to_owned()));
        };
        if row.server.is_none() || row.server.as_ref().map(|server| server.id) != run {
            return Err(DbError::Conflict("the server was stopped while it started".to_owned()));
        }
        let base_url = row.server.and_then(|server| server.base_url).unwrap_or_default();
        let address = Address {
            proto: address.scheme().to_owned(),
            ip: address.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: address.port_or_known_default().unwrap_or_default(),
            base_url,
        };
        repo::spawners::set_server(&tx, id, &address).await?;
        repo::spawners::set_state(&tx, id, Some(state.clone())).await?;
        tx.commit().await
    }

    /// The server answered: the start is over, and that counts as activity.
    pub async fn mark_ready(&self, id: SpawnerId, run: i32, state: Value) -> Result<(), DbError> {
        repo::spawners::set_state_of_run(self.db.conn(), id, run, state).await?;
        let resolution = TimeDelta::zero();
        repo::spawners::bump_activity(self.db.conn(), id, self.clock.now(), resolution).await.map(drop)
    }

    /// A spawner found a server that runs with another token: that one counts from now on.
    pub async fn replace_server_token(
        &self,
        id: SpawnerId,
        ours: &str,
        theirs: &SecretString,
    ) -> Result<(), DbError> {
        let record =
            self.load(id).await?.ok_or_else(|| DbError::Invalid("the server was deleted".to_owned()))?;
        let now = self.clock.now();
        let prefix = self.urls.server(&record.key);
        // The server's token is also what it knows itself by as an OAuth client.
        let secret = repo::oauth::hash_secret(theirs.expose_secret()).await?;
        let tx = self.db.begin().await?;
        let Some(old) = repo::tokens::find(&tx, ours, now).await? else { return Ok(()) };
        if let Some(known) = repo::tokens::find(&tx, theirs.expose_secret(), now).await? {
            if known.user_id != Some(record.user_id) {
                repo::tokens::delete(&tx, known.id).await?;
                tx.commit().await?;
                return Err(DbError::Invalid(
                    "the server that was found runs with the token of another user".to_owned(),
                ));
            }
        } else {
            let new = server_token(record.user_id, &prefix, token::CHOSEN_ROUNDS, old.scopes.0.clone());
            repo::tokens::create(&tx, theirs.expose_secret(), new, now).await?;
        }
        repo::tokens::delete(&tx, old.id).await?;
        if let Some(client) = &record.oauth_client_id {
            repo::oauth::set_secret(&tx, client, secret).await?;
        }
        tx.commit().await
    }

    /// After a stop: address, token and OAuth client (with the sessions that hang on it) go; of the state stays what the
    /// spawner keeps for the next start. With `restart` it is noted that a start is to follow.
    pub async fn finish_stop(
        &self,
        id: SpawnerId,
        record: &Record,
        mut kept: Value,
        restart: bool,
    ) -> Result<(), DbError> {
        if restart {
            notes::owe_restart(&mut kept, self.clock.now());
        }
        let prefix = self.urls.server(&record.key);
        let tx = self.db.begin().await?;
        note_activity(&tx, id, record.user_id, self.clock.now()).await?;
        repo::spawners::clear_server(&tx, id).await?;
        repo::spawners::set_state(&tx, id, Some(kept)).await?;
        repo::spawners::set_started(&tx, id, None).await?;
        repo::tokens::delete_of_server(&tx, record.user_id, &token_note(&prefix)).await?;
        repo::spawners::set_oauth_client(&tx, id, None).await?;
        let client = record.oauth_client_id.clone().unwrap_or_else(|| record.key.oauth_client_id());
        if repo::spawners::by_oauth_client(&tx, &client).await?.is_none() {
            repo::oauth::delete_client(&tx, &client).await?;
        }
        tx.commit().await
    }

    /// Keeps why a start failed, for the next hub. Where something is left of the start, its state is worth more.
    pub async fn save_failure(&self, id: SpawnerId, error: &SpawnError) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        let row = repo::spawners::by_id(&tx, id).await?.filter(|row| row.server.is_none());
        let Some(row) = row else { return Ok(()) };
        let kept = row.row.state.map(|state| state.0).unwrap_or_default();
        let state = failures::state_after(kept, error, self.clock.now());
        repo::spawners::set_state(&tx, id, Some(state)).await?;
        tx.commit().await
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

/// The OAuth client id of a server: stock's, unless another server has it. The server `b` of `a` and the default
/// server of `a-b` would share one, and each could lock the other out.
async fn free_client_id(tx: &Tx, id: SpawnerId, key: &ServerKey) -> Result<String, DbError> {
    let usual = repo::fitting::kept(tx, key.oauth_client_id(), 255);
    let taken = repo::spawners::by_oauth_client(tx, &usual).await?.is_some_and(|row| row.id != id);
    // No escaped name holds an exclamation mark.
    Ok(if taken { repo::fitting::kept(tx, format!("{usual}!{id}"), 255) } else { usual })
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

/// What to store for a server's own token. It never ends: it goes when the server stops.
fn server_token(user: i32, prefix: &str, rounds: u32, scopes: Vec<String>) -> repo::tokens::NewToken {
    repo::tokens::NewToken {
        owner: repo::Owner::User(user),
        rounds,
        client_id: HUB_CLIENT.to_owned(),
        scopes,
        note: token_note(prefix),
        session_id: None,
        expires_at: None,
    }
}
