//! Reports of activity. Answers to `ActivityAPIHandler`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::TimeDelta;
use hub_db::repo;
use jupyterhub_api_compat::requests::{Activity, quoted};

use super::answer;
use super::call::Call;
use crate::web::error::{ApiError, ApiResult};

/// `POST /users/{user}/activity`: never backwards.
pub(super) async fn post(call: Call) -> ApiResult<HttpResponse> {
    let Some(user) = call.hub.known.user_id(&call.hub.db, call.user_name()).await? else {
        let text = format!("No such user: {}", quoted(call.user_name()));
        return Err(ApiError::new(StatusCode::NOT_FOUND, text));
    };
    let activity = Activity::read(&call.body, call.hub.clock.now())?;
    let mut found = Vec::with_capacity(activity.servers.len());
    // Most reports are about the user alone.
    let servers = if activity.servers.is_empty() {
        Vec::new()
    } else {
        repo::spawners::of_user(call.db(), user).await?
    };
    for (name, at) in &activity.servers {
        let server = servers.iter().find(|server| server.row.name == *name).ok_or_else(|| {
            let name: String = name.chars().take(255).collect();
            ApiError::bad_request(format!("No such server '{name}' for user {}", call.user_name()))
        })?;
        found.push((server.row.id, *at));
    }
    // Not in one transaction: each says something by itself, and whoever reports again after a failure changes nothing.
    let any_change = TimeDelta::zero();
    if let Some(at) = activity.last_activity {
        repo::users::bump_activity(call.db(), user, at, any_change).await?;
    }
    for (server, at) in found {
        repo::spawners::bump_activity(call.db(), server, at, any_change).await?;
    }
    Ok(answer::empty_json(StatusCode::OK))
}
