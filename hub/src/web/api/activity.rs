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
    let Some(user) = call.user().await? else {
        let text = format!("No such user: {}", quoted(call.user_name()));
        return Err(ApiError::new(StatusCode::NOT_FOUND, text));
    };
    let activity = Activity::read(&call.body, call.hub.clock.now())?;
    let servers = repo::spawners::of_user(call.db(), user.id).await?;
    let mut found = Vec::with_capacity(activity.servers.len());
    for (name, at) in &activity.servers {
        let server = servers.iter().find(|server| server.row.name == *name).ok_or_else(|| {
            let name: String = name.chars().take(255).collect();
            ApiError::bad_request(format!("No such server '{name}' for user {}", user.name))
        })?;
        found.push((server.row.id, *at));
    }
    let any_change = TimeDelta::zero();
    let tx = call.hub.db.begin().await?;
    if let Some(at) = activity.last_activity {
        repo::users::bump_activity(&tx, user.id, at, any_change).await?;
    }
    for (server, at) in found {
        repo::spawners::bump_activity(&tx, server, at, any_change).await?;
    }
    tx.commit().await?;
    Ok(answer::empty_json(StatusCode::OK))
}
