//! Why a credential allows what it allows. Not in JupyterHub.

use actix_web::HttpResponse;
use hub_core::scopes::{Resource, ScopeSet};
use jupyterhub_api_compat::models::{Explanation, ScopeDecision};

use super::answer;
use super::call::Call;
use super::tokens;
use crate::rbac::Holder;
use crate::rbac::explain::decide;
use crate::web::error::{ApiError, ApiResult};

/// `GET /authorizations/scopes`: of the caller.
pub(super) async fn own(call: Call) -> ApiResult<HttpResponse> {
    let holder = call.who()?.holder();
    let (explanation, scopes) = call.hub.rbac.explain(call.db(), &holder, call.caller.token()).await?;
    respond(&call, explanation, &scopes).await
}

/// `GET /users/{user}/tokens/{token}/scopes`.
pub(super) async fn of_token(call: Call) -> ApiResult<HttpResponse> {
    let user = call.named_user().await?;
    let token = tokens::find(&call, &user).await?.token;
    let holder = Holder::User { id: user.id, name: user.name };
    let (explanation, scopes) = call.hub.rbac.explain(call.db(), &holder, Some(&token)).await?;
    respond(&call, explanation, &scopes).await
}

async fn respond(call: &Call, mut explanation: Explanation, scopes: &ScopeSet) -> ApiResult<HttpResponse> {
    explanation.decision = decision(call, scopes).await?;
    answer::ok(&explanation)
}

/// The answer to the question in the query.
async fn decision(call: &Call, scopes: &ScopeSet) -> ApiResult<Option<ScopeDecision>> {
    let on = |name: &str| call.query(name).filter(|text| !text.is_empty());
    let (user, group, service) = (on("on_user"), on("on_group"), on("on_service"));
    let server = call.query("on_server");
    let Some(scope) = on("scope") else {
        if user.is_some() || group.is_some() || service.is_some() || server.is_some() {
            return Err(ApiError::bad_request("to decide, name the scope as well: scope=read:users"));
        }
        return Ok(None);
    };
    if !call.hub.rbac.table().contains(&scope) {
        let scope = super::users::short(&scope);
        return Err(ApiError::bad_request(format!("there is no scope {scope}; name one without a filter")));
    }
    let several = [user.is_some(), group.is_some(), service.is_some()].iter().filter(|one| **one).count() > 1;
    if several || (server.is_some() && user.is_none()) {
        let text = "name one of on_user, on_group and on_service; on_server goes with on_user";
        return Err(ApiError::bad_request(text));
    }
    let groups = match &user {
        Some(name) => {
            let found = call.hub.rbac.groups_of(call.db(), std::slice::from_ref(name)).await?;
            found.0.get(name).cloned().unwrap_or_default()
        }
        None => Vec::new(),
    };
    let resource = match (&user, &server, &group, &service) {
        (Some(user), Some(server), ..) => Resource::Server { user, server, user_groups: &groups },
        (Some(name), None, ..) => Resource::User { name, groups: &groups },
        (_, _, Some(group), _) => Resource::Group(group),
        (_, _, _, Some(service)) => Resource::Service(service),
        _ => Resource::None,
    };
    Ok(Some(decide(scopes, &scope, &resource)))
}
