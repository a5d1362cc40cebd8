//! Servers at work: start, stop, restart. Answers to the busy half of `UserServerAPIHandler`.
//!
//! A call writes down what is wanted and waits a while for it; what takes longer goes on beside, and the answer is 202.
//! Where stock refuses a start while a stop is under way, it waits in line here.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::ServerName;
use hub_db::entities::users;
use hub_db::repo;
use jupyterhub_api_compat::requests::{ServerOptions, StopServer, normalise_display_name};
use tracing::info;

use super::call::Call;
use super::users::short;
use super::{answer, servers, wait};
use crate::servers::live::{Pending, Snapshot};
use crate::servers::store::may_have_display_name;
use crate::servers::supervisor::{Entry, StartOrder};
use crate::web::caller::About;
use crate::web::error::{ApiError, ApiResult};
use crate::web::pages::context::{ServerState, server_of};

/// A start with these options by this request.
fn order(call: &Call, options: ServerOptions) -> StartOrder {
    let request = Some(call.as_login_request(std::collections::BTreeMap::new()));
    let person = call.caller.user().map(|user| user.name.clone());
    StartOrder { options: options.user_options, request, person, ..StartOrder::default() }
}

/// Waits until nothing is being done any more, for some time or until the hub ends.
pub(super) async fn settled(call: &Call, entry: &Arc<Entry>, limit: Duration) -> Snapshot {
    tokio::select! {
        seen = entry.live.wait(limit, Snapshot::is_settled) => seen,
        () = call.hub.tasks.stopping().cancelled_owned() => entry.live.snapshot(),
    }
}

/// Waits for a start and tells how it went.
async fn follow(call: &Call, entry: &Arc<Entry>) -> ApiResult<HttpResponse> {
    let limit = wait::asked(call)?.unwrap_or(call.hub.config.hub.slow_spawn_timeout);
    let seen = settled(call, entry, limit).await;
    match (seen.is_settled(), seen.failure) {
        (false, _) => Ok(answer::empty_text(StatusCode::ACCEPTED)),
        (true, None) => Ok(answer::empty_text(StatusCode::CREATED)),
        (true, Some(failure)) => Err(wait::failed(&failure, &entry.live.key)),
    }
}

/// The answer to a start while something is under way already: at once, unless the caller wants to wait.
async fn under_way(call: &Call, entry: &Arc<Entry>) -> ApiResult<HttpResponse> {
    if wait::asked(call)?.is_some() {
        return follow(call, entry).await;
    }
    Ok(answer::empty_text(StatusCode::ACCEPTED))
}

/// `POST` on a server: starts it, and makes a named one if need be.
pub(super) async fn start(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let options = ServerOptions::read(&call.body)?;
    wait::asked(&call)?;
    let found = servers::find(&call, &user).await?;
    let under_way_already = found.as_ref().is_some_and(|state| state.pending().is_some());
    let user = if under_way_already { user } else { call.owner_before(About::Start, user).await? };
    let state = if let Some(state) = known(&call, &user, found).await? {
        state
    } else {
        let name = call.argument("server");
        let display_name = normalise_display_name(options.display_name_or(name))?;
        servers::make(&call, &user, name, Some(&display_name)).await?
    };
    match state.pending() {
        Some(Pending::Spawn) => {
            // Nothing new, unless the start under way has been cancelled.
            let entry = call.hub.servers.start(state.record.id, state.key(), order(&call, options));
            return under_way(&call, &entry).await;
        }
        Some(Pending::Stop | Pending::Check) => {
            let admission = call.hub.check_may_start(Some(state.record.id)).await?;
            let entry = call.hub.servers.start(state.record.id, state.key(), order(&call, options));
            drop(admission);
            return under_way(&call, &entry).await;
        }
        None => {}
    }
    if state.is_ready() && is_alive(&call, &user, &state).await? {
        return Err(ApiError::bad_request(format!("{} is already running", state.key())));
    }
    let admission = call.hub.check_may_start(Some(state.record.id)).await?;
    update_display_name(&call, &state, &options).await?;
    info!(by = call.who()?.name(), user = %user.name, server = %state.key().server, "server asked for");
    let entry = call.hub.servers.start(state.record.id, state.key(), order(&call, options));
    drop(admission);
    follow(&call, &entry).await
}

/// The server of the path, as it was found, if it may be used or made.
async fn known(
    call: &Call,
    user: &users::Model,
    state: Option<ServerState>,
) -> ApiResult<Option<ServerState>> {
    let name = ServerName::stored(call.argument("server"));
    if !name.is_default() {
        call.hub.check_named_server(user, &name, state.is_some()).await?;
    }
    Ok(state)
}

/// Looks at a server that should run. One that does not is being cleaned up afterwards.
async fn is_alive(call: &Call, user: &users::Model, state: &ServerState) -> ApiResult<bool> {
    call.hub.servers.poll_one(state.record.clone()).await;
    let now = server_of(&call.hub, user, state.key().server.as_str()).await?;
    Ok(now.is_some_and(|state| state.is_ready()))
}

async fn update_display_name(call: &Call, state: &ServerState, options: &ServerOptions) -> ApiResult<()> {
    let Some(text) = options.display_name.as_deref().filter(|text| !text.is_empty()) else { return Ok(()) };
    let name = &state.key().server;
    if name.is_default()
        || !may_have_display_name(name)
        || state.row.row.display_name.as_deref() == Some(text)
    {
        return Ok(());
    }
    let text = normalise_display_name(text)?;
    repo::spawners::set_display_name(call.db(), state.record.id, Some(&text)).await?;
    Ok(())
}

/// `POST` on the `restart` of a server: stops it, if it runs, and starts it with the options of the last start or new
/// ones.
pub(super) async fn restart(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let options = ServerOptions::read(&call.body)?;
    wait::asked(&call)?;
    let state = existing(&call, &user).await?;
    let user = if state.is_active() { call.owner_before(About::Stop, user).await? } else { user };
    let user = call.owner_before(About::Start, user).await?;
    if !state.key().server.is_default() && !call.hub.check_workspace(&user, &state.key().server).await? {
        call.hub.check_old_name(&state.key().server)?;
    }
    let admission =
        if state.is_active() { None } else { call.hub.check_may_start(Some(state.record.id)).await? };
    update_display_name(&call, &state, &options).await?;
    info!(by = call.who()?.name(), user = %user.name, server = %state.key().server, "restart asked for");
    let entry = call.hub.servers.restart(state.record.id, state.key(), order(&call, options));
    drop(admission);
    follow(&call, &entry).await
}

/// The server of the path, which must exist.
async fn existing(call: &Call, user: &users::Model) -> ApiResult<ServerState> {
    let name = call.argument("server");
    if !name.is_empty() {
        call.hub.check_named_servers_enabled()?;
    }
    servers::find(call, user).await?.ok_or_else(|| {
        let text = format!("{} has no server named '{}'", user.name, short(name));
        ApiError::new(StatusCode::NOT_FOUND, text)
    })
}

/// `DELETE` on a server: stops it, and with `remove` deletes a named one.
pub(super) async fn stop(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let StopServer { remove } = StopServer::read(&call.body)?;
    let state = existing(&call, &user).await?;
    if remove && state.key().server.is_default() {
        return Err(ApiError::bad_request("Cannot delete the default server"));
    }
    if !state.is_active() && !remove {
        return Ok(answer::no_content());
    }
    let stopping = state.pending() == Some(Pending::Stop);
    let user =
        if state.is_active() && !stopping { call.owner_before(About::Stop, user).await? } else { user };
    info!(by = call.who()?.name(), user = %user.name, server = %state.key().server, remove, "stop asked for");
    let entry = call.hub.servers.stop(state.record.id, state.key(), remove);
    let limit = if stopping { Duration::ZERO } else { call.hub.config.hub.slow_stop_timeout };
    if !settled(&call, &entry, limit).await.is_settled() {
        return Ok(answer::empty_text(StatusCode::ACCEPTED));
    }
    match server_of(&call.hub, &user, state.key().server.as_str()).await? {
        Some(now) if now.is_ready() => {
            let text = format!("{} did not stop; the log of the hub tells why", state.key());
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
        _ => Ok(answer::no_content()),
    }
}
