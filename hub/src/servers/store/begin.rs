//! The rows of a start: from the order to the first answer.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use hub_core::scopes::{
    Client, ExpandContext, Owner, ScopeTable, client_allowed_scopes, requested_server_scopes,
    resolve_requested,
};
use hub_core::secret::{ExposeSecret as _, SecretString, random_hex32};
use hub_core::{ServerKey, token};
use hub_db::repo::{self, spawners::Address};
use hub_db::{DbError, Tx};
use serde_json::{Map, Value};
use tracing::warn;
use url::Url;

use super::{Store, note_activity, token_note};
use crate::rbac::{HUB_CLIENT, Holder};
use crate::servers::SpawnerId;
use crate::servers::notes;

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
            // Without the public host unless it is the server's own, as servers ask for it.
            redirect_uri: format!("{}oauth_callback", self.urls.server_url(key)),
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
                .map(|d| crate::auth::lease::without_mark(d.state)),
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
    pub(in crate::servers) fn noted(&self, state: Value) -> Value {
        notes::note_start(state, &self.hub, self.clock.now())
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

    /// This hub works on a start no more, and another one is to go on with it: says so beside the state.
    pub(in crate::servers) async fn let_go(
        &self,
        id: SpawnerId,
        run: i32,
        state: Value,
    ) -> Result<(), DbError> {
        let state = notes::note_end(state, &self.hub, self.clock.now());
        repo::spawners::set_state_of_run(self.db.conn(), id, run, state).await.map(drop)
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
            // As old as the one in its place: it is the server's since the server was started.
            let made = old.created.map_or(now, Into::into);
            repo::tokens::create(&tx, theirs.expose_secret(), new, made).await?;
        }
        repo::tokens::delete(&tx, old.id).await?;
        if let Some(client) = &record.oauth_client_id {
            repo::oauth::set_secret(&tx, client, secret).await?;
        }
        tx.commit().await
    }
}

/// The OAuth client id of a server: stock's, unless another server has it. The server `b` of `a` and the default
/// server of `a-b` would share one, and each could lock the other out.
async fn free_client_id(tx: &Tx, id: SpawnerId, key: &ServerKey) -> Result<String, DbError> {
    let usual = repo::fitting::kept(tx, key.oauth_client_id(), 255);
    let taken = repo::spawners::by_oauth_client(tx, &usual).await?.is_some_and(|row| row.id != id);
    // No escaped name holds an exclamation mark.
    Ok(if taken { repo::fitting::kept(tx, format!("{usual}!{id}"), 255) } else { usual })
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
