//! `?wait=ready`: answers that wait for a server. Not in JupyterHub.

use std::time::Duration;

use actix_web::http::StatusCode;
use hub_db::entities::users;

use super::call::Call;
use super::server_start::settled;
use super::servers;
use crate::servers::live::Failure;
use crate::web::error::{ApiError, ApiResult};
use crate::web::pages::context::ServerState;

/// How long is waited where no time is named.
const DEFAULT: u64 = 60;
/// How long is waited at most: proxies between here and the client cut longer silences.
const MOST: u64 = 300;
/// Pause between two looks at a server that another hub works on.
const LOOK: Duration = Duration::from_secs(1);

/// How long the caller wants to wait; none if not at all.
pub(super) fn asked(call: &Call) -> ApiResult<Option<Duration>> {
    match call.query("wait").as_deref() {
        None => return Ok(None),
        Some("ready") => {}
        Some(_) => return Err(ApiError::bad_request("wait must be 'ready'")),
    }
    let wrong = || ApiError::bad_request(format!("timeout must be a number of seconds from 0 to {MOST}"));
    let seconds = match call.query("timeout") {
        None => DEFAULT,
        Some(text) => text.parse().ok().filter(|seconds| *seconds <= MOST).ok_or_else(wrong)?,
    };
    Ok(Some(Duration::from_secs(seconds)))
}

/// Waits until nothing is being done to the server any more, and gives its state then.
///
/// # Errors
/// With the reason, if its last start failed.
pub(super) async fn until_settled(
    call: &Call,
    user: &users::Model,
    mut state: ServerState,
    limit: Duration,
) -> ApiResult<ServerState> {
    let until = tokio::time::Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if state.pending().is_some() && !left.is_zero() {
            let entry = call.hub.servers.entries.get(state.record.id);
            match entry.filter(|entry| !entry.live.snapshot().is_settled()) {
                Some(entry) => drop(settled(call, &entry, left).await),
                None => tokio::time::sleep(left.min(LOOK)).await,
            }
            if call.hub.tasks.stopping().is_cancelled() {
                return Ok(state);
            }
            state = servers::find(call, user).await?.ok_or_else(ApiError::not_found)?;
            continue;
        }
        return match &state.live.failure {
            Some(failure) if state.pending().is_none() && !state.is_ready() => {
                Err(failed(failure, state.key()))
            }
            _ => Ok(state),
        };
    }
}

/// The answer to a start that did not succeed.
pub(super) fn failed(failure: &Failure, key: &hub_core::ServerKey) -> ApiError {
    match failure {
        Failure::Failed(error) => ApiError::from(error.as_ref()),
        Failure::Cancelled => {
            ApiError::new(StatusCode::CONFLICT, format!("The start of {key} was cancelled"))
        }
    }
}
