//! Several servers started or stopped by one call. Not in JupyterHub.
//!
//! Every server is decided about by itself, as a call for it alone would be; nothing is waited for. Starts beyond
//! `concurrent_spawn_limit` wait in line.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::ServerName;
use hub_db::entities::users;
use hub_db::repo;
use jupyterhub_api_compat::models::{BulkAnswer, BulkOutcome};
use jupyterhub_api_compat::requests::{BulkServer, BulkServers, normalise_display_name};
use tracing::info;

use super::call::Call;
use super::{answer, servers};
use crate::servers::live::Pending;
use crate::servers::supervisor::StartOrder;
use crate::web::caller::About;
use crate::web::error::{ApiError, ApiResult};
use crate::web::pages::context::{ServerState, server_of};

/// `POST /servers/start`.
pub(super) async fn start(call: Call) -> ApiResult<HttpResponse> {
    let wanted = BulkServers::read_to_start(&call.body)?;
    let mut outcomes = Vec::with_capacity(wanted.servers.len());
    for server in wanted.servers {
        let result = start_one(&call, &server).await;
        outcomes.push(outcome(server, result)?);
    }
    told(&call, "start", outcomes)
}

/// `POST /servers/stop`.
pub(super) async fn stop(call: Call) -> ApiResult<HttpResponse> {
    let wanted = BulkServers::read_to_stop(&call.body)?;
    let mut outcomes = Vec::with_capacity(wanted.servers.len());
    for server in wanted.servers {
        let result = stop_one(&call, &server).await;
        outcomes.push(outcome(server, result)?);
    }
    told(&call, "stop", outcomes)
}

fn told(call: &Call, what: &str, servers: Vec<BulkOutcome>) -> ApiResult<HttpResponse> {
    let done = servers.iter().filter(|one| one.status < 400).count();
    info!(by = call.who()?.name(), done, of = servers.len(), "bulk {what} asked for");
    answer::ok(&BulkAnswer { servers })
}

/// A failure of the hub itself ends the whole call; any other concerns its server alone.
fn outcome(server: BulkServer, result: ApiResult<StatusCode>) -> ApiResult<BulkOutcome> {
    let (status, message) = match result {
        Ok(status) => (status.as_u16(), None),
        Err(error) if error.status.is_server_error() => return Err(error),
        Err(error) => (error.status.as_u16(), error.message),
    };
    Ok(BulkOutcome { user: server.user, server: server.server, status, message })
}

/// The user, if the caller's scopes reach the server.
async fn owner(call: &Call, scope: &str, wanted: &BulkServer) -> ApiResult<users::Model> {
    call.caller.require_server(&call.hub, &[scope], &wanted.user, &wanted.server).await?;
    repo::users::by_name(call.db(), &wanted.user).await?.ok_or_else(ApiError::not_found)
}

async fn start_one(call: &Call, wanted: &BulkServer) -> ApiResult<StatusCode> {
    let user = owner(call, "start:servers", wanted).await?;
    let found = server_of(&call.hub, &user, &wanted.server).await?;
    let under_way = found.as_ref().is_some_and(|state| state.pending().is_some());
    let user = if under_way { user } else { call.owner_before(About::Start, user).await? };
    let name = ServerName::stored(wanted.server.as_str());
    if !name.is_default() {
        call.hub.check_named_server(&user, &name, found.is_some()).await?;
    }
    if found.as_ref().is_some_and(ServerState::is_ready) {
        return Err(ApiError::bad_request(format!("{}/{} is already running", user.name, wanted.server)));
    }
    let _admission = call.hub.check_may_start(found.as_ref().map(|state| state.record.id)).await?;
    let state = match found {
        Some(state) => state,
        None if name.is_default() => servers::make(call, &user, "", None).await?,
        None => {
            let display_name = normalise_display_name(name.as_str())?;
            servers::make(call, &user, name.as_str(), Some(&display_name)).await?
        }
    };
    let request = Some(call.as_login_request(BTreeMap::new()));
    let person = call.caller.user().map(|user| user.name.clone());
    let order = StartOrder { options: wanted.user_options.clone(), request, person, ..StartOrder::default() };
    call.hub.servers.start(state.record.id, state.key(), order);
    Ok(StatusCode::ACCEPTED)
}

async fn stop_one(call: &Call, wanted: &BulkServer) -> ApiResult<StatusCode> {
    let user = owner(call, "delete:servers", wanted).await?;
    if !wanted.server.is_empty() {
        call.hub.check_named_servers_enabled()?;
    }
    let Some(state) = server_of(&call.hub, &user, &wanted.server).await? else {
        if wanted.server.is_empty() {
            return Ok(StatusCode::NO_CONTENT);
        }
        let text = format!("{} has no server named '{}'", user.name, super::users::short(&wanted.server));
        return Err(ApiError::new(StatusCode::NOT_FOUND, text));
    };
    if !state.is_active() {
        return Ok(StatusCode::NO_CONTENT);
    }
    if state.pending() != Some(Pending::Stop) {
        call.owner_before(About::Stop, user).await?;
    }
    call.hub.servers.stop(state.record.id, state.key(), false);
    Ok(StatusCode::ACCEPTED)
}
