//! From rows, and what this process knows of servers, to the models of the REST API.
//!
//! Models are built whole; `restrict` then takes away what the caller's scopes do not show. Everything that a page of
//! models needs is loaded before, in a fixed number of queries.

use std::collections::{BTreeMap, HashMap};

use hub_core::scopes::ScopeSet;
use hub_db::entities::{api_tokens, groups, services};
use hub_db::repo::shares::Shared;
use hub_db::repo::users::UserDetails;
use hub_db::repo::{self, spawners::Spawner as Row};
use hub_db::{ConnectionTrait, DbError};
use jupyterhub_api_compat::Timestamp;
use jupyterhub_api_compat::models::{Group, Kind, Pending, Queue, Server, Service, ShareServer, Token, User};
use serde_json::{Map, Value, json};

use super::pages::context::ServerState;
use crate::app::Hub;
use crate::servers::live;

fn moment(at: Option<hub_db::Timestamp>) -> Option<Timestamp> {
    at.map(|at| at.utc().into())
}

fn pending(of: live::Pending) -> Pending {
    match of {
        live::Pending::Spawn => Pending::Spawn,
        live::Pending::Stop => Pending::Stop,
        live::Pending::Check => Pending::Check,
    }
}

/// A server. Its state is shown: restrict it.
pub fn server(hub: &Hub, state: &ServerState) -> Server {
    let row = &state.row.row;
    let key = state.key();
    let active = state.is_active();
    let url = hub.urls.server(key);
    let progress_url = hub.urls.progress(key);
    let public = |path: &str| hub.urls.public().map(|_| hub.urls.for_browser(path));
    // What a start would use: nothing saved is an empty object. Stock shows null for some servers that its process has
    // had nothing to do with yet.
    let in_use = |saved: Option<Value>| saved.or_else(|| Some(json!({})));
    Server {
        name: row.name.clone(),
        display_name: row.display_name.clone(),
        full_name: key.scope_value(),
        last_activity: moment(row.last_activity),
        started: moment(row.started),
        pending: state.pending().map(pending),
        queue: state
            .live
            .queue
            .as_ref()
            .map(|queue| Queue { place: queue.place, expected_at: queue.expected_at.map(Timestamp::from) }),
        ready: state.is_ready(),
        stopped: !active,
        full_url: public(&url),
        url,
        user_options: in_use(row.user_options.clone().map(|options| options.0)),
        full_progress_url: public(&progress_url),
        progress_url,
        state: in_use(row.state.is_some().then(|| {
            let state = state.record.state.clone();
            hub.servers.spawners.of_state(&state).shown_state(state)
        }))
        .into(),
    }
}

/// A user with all servers that are active, and with `stopped` the others, too. Restrict it. The login state is
/// null: whoever may show it fills it in.
pub fn user(hub: &Hub, details: &UserDetails, stopped: bool) -> User {
    let row = &details.user;
    let states: Vec<ServerState> =
        details.spawners.iter().map(|spawner| ServerState::of(hub, spawner.clone(), &row.name)).collect();
    let default = states.iter().find(|state| state.key().server.is_default());
    let servers: BTreeMap<String, Server> = states
        .iter()
        .filter(|state| stopped || state.is_active())
        .map(|state| (state.key().server.to_string(), server(hub, state)))
        .collect();
    let ready = default.filter(|state| state.is_ready());
    User {
        kind: Kind::User,
        name: row.name.clone(),
        admin: row.is_admin().into(),
        roles: details.roles.clone().into(),
        groups: details.groups.clone().into(),
        server: ready.map(|state| hub.urls.server(state.key())).into(),
        pending: default.and_then(ServerState::pending).map(pending).into(),
        created: moment(row.created).into(),
        last_activity: moment(row.last_activity).into(),
        auth_state: None.into(),
        servers: servers.into(),
        user_info: row.user_info.clone().map(|info| info.0).into(),
    }
}

/// Whether any server of a user can be used.
pub fn has_ready_server(hub: &Hub, details: &UserDetails) -> bool {
    let name = &details.user.name;
    details.spawners.iter().any(|spawner| ServerState::of(hub, spawner.clone(), name).is_ready())
}

/// A group with its members and roles. Restrict it.
pub fn group(row: &groups::Model, users: Vec<String>, roles: Vec<String>) -> Group {
    let properties = row.properties.as_ref().and_then(|properties| properties.0.as_object().cloned());
    Group {
        kind: Kind::Group,
        name: row.name.clone(),
        roles: roles.into(),
        users: users.into(),
        properties: properties.unwrap_or_default().into(),
    }
}

/// Groups with members and roles, as far as `scopes` show them: two queries, however many there are.
pub async fn groups(
    db: &impl ConnectionTrait,
    rows: &[groups::Model],
    scopes: &ScopeSet,
) -> Result<Vec<Option<Group>>, DbError> {
    let ids: Vec<i32> = rows.iter().map(|row| row.id).collect();
    let mut users = repo::groups::members(db, &ids).await?;
    let mut roles = repo::role_members::names_of_groups(db, &ids).await?;
    let take = |map: &mut HashMap<i32, Vec<String>>, id: i32| map.remove(&id).unwrap_or_default();
    Ok(rows
        .iter()
        .map(|row| group(row, take(&mut users, row.id), take(&mut roles, row.id)).restrict(scopes))
        .collect())
}

/// A service with its roles. Restrict it.
pub fn service(hub: &Hub, row: &services::Model, roles: Vec<String>) -> Service {
    let url = row.url.clone().unwrap_or_default();
    let prefix = if url.is_empty() { String::new() } else { hub.urls.service(&row.name) };
    Service {
        kind: Kind::Service,
        name: row.name.clone(),
        roles: roles.into(),
        admin: row.is_admin().into(),
        url: url.into(),
        prefix: prefix.into(),
        command: row.command.0.clone().into(),
        pid: row.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default().into(),
        info: row.info.clone().map_or_else(|| Value::Object(Map::new()), |info| info.0).into(),
        display: row.display.unwrap_or(true).into(),
    }
}

/// A token of an owner; `scopes` is what it allows at this moment.
pub fn token(row: &api_tokens::Model, owner: &str, oauth_client: Option<String>, scopes: &ScopeSet) -> Token {
    let name = |id: Option<i32>| id.map(|_| owner.to_owned());
    Token {
        user: name(row.user_id),
        service: name(row.service_id),
        id: Token::id_of(row.id.into()),
        kind: Kind::ApiToken,
        roles: Vec::new(),
        scopes: scopes.to_vec(),
        created: moment(row.created),
        last_activity: moment(row.last_activity),
        expires_at: moment(row.expires_at),
        note: row.note.clone(),
        session_id: row.session_id.clone(),
        oauth_client: oauth_client.unwrap_or_default(),
    }
}

/// What is told of shared servers, by their id in the database. Two queries.
pub async fn shared_servers(
    hub: &Hub,
    servers: impl Iterator<Item = &Shared>,
) -> Result<HashMap<i32, ShareServer>, DbError> {
    let owners: HashMap<i32, &str> =
        servers.map(|server| (server.owner_id, server.owner_name.as_str())).collect();
    let ids: Vec<i32> = owners.keys().copied().collect();
    let rows = repo::spawners::of_users(hub.db.conn(), &ids).await?;
    let mut models = HashMap::new();
    for (owner, rows) in rows {
        let Some(owner) = owners.get(&owner) else { continue };
        models.extend(rows.into_iter().map(|row: Row| {
            let state = ServerState::of(hub, row, owner);
            (state.record.id, ShareServer::of(owner, &server(hub, &state)))
        }));
    }
    Ok(models)
}
