//! Who is behind a credential. Answers to `SelfAPIHandler` and to the deprecated handlers of `authorizations/`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::Identity;
use hub_core::names::escape_client_part;
use hub_core::scopes::{Access, ScopeSet};
use hub_db::repo;
use jupyterhub_api_compat::models::{Identified, SelfModel, Service, Token, User};
use serde::Serialize;

use super::answer;
use super::call::Call;
use crate::app::Hub;
use crate::auth::credentials;
use crate::rbac::identity;
use crate::web::caller::{Who, logged_in};
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;

/// A user's model as `scopes` show it.
async fn user_model(
    call: &Call,
    user: &hub_db::entities::users::Model,
    scopes: &ScopeSet,
) -> ApiResult<Option<User>> {
    let details = call.hub.known.details(&call.hub.db, user).await?;
    Ok(models::user(&call.hub, &details, call.include_stopped_servers()).restrict(scopes, &details.groups))
}

/// A service's model as `scopes` show it.
async fn service_model(
    call: &Call,
    service: &hub_db::entities::services::Model,
    scopes: &ScopeSet,
) -> ApiResult<Option<Service>> {
    let roles = call.hub.known.roles_of_service(&call.hub.db, service.id).await?;
    Ok(models::service(&call.hub, service, roles).restrict(scopes))
}

async fn owner_model(call: &Call, who: &Who) -> ApiResult<Option<Identified>> {
    let mut scopes = call.caller.scopes.clone();
    scopes.extend(identity(who.holder().owner()));
    Ok(match who {
        Who::User(user) => {
            user_model(call, user, &scopes).await?.map(|user| Identified::User(Box::new(user)))
        }
        Who::Service(service) => {
            service_model(call, service, &scopes).await?.map(|service| Identified::Service(Box::new(service)))
        }
    })
}

/// The answer of `GET /user`, with what servers of the person get of the login.
#[derive(Serialize)]
struct SelfAnswer {
    #[serde(flatten)]
    model: SelfModel,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: BTreeMap<String, String>,
}

/// Variables with the person's tokens, fresh: a look at the login comes before every call. Only for tokens that may use
/// a server of the person, where the same variables are; and what is one server's alone only for the server's own.
async fn environment(call: &Call) -> ApiResult<BTreeMap<String, String>> {
    let (Some(Who::User(user)), Some(token)) = (&call.caller.who, call.caller.token()) else {
        return Ok(BTreeMap::new());
    };
    let may = match call.caller.scopes.filter_for("access:servers") {
        Access::All => true,
        Access::None => false,
        Access::Filtered(filters) => {
            let own = format!("{}/", user.name);
            filters.users.contains(&user.name)
                || filters.servers.iter().any(|server| server.starts_with(&own))
        }
    };
    if !may {
        return Ok(BTreeMap::new());
    }
    let auth_state = call.hub.auth_state(user);
    let who = Identity { name: user.name.clone(), auth_state, ..Identity::default() };
    let mut variables = call.hub.auth.authenticator.server_environment(&who);
    variables.extend(credentials::renewed(&call.hub, user, token).await?);
    Ok(variables)
}

/// `GET /user`.
pub(super) async fn who_am_i(call: Call) -> ApiResult<HttpResponse> {
    let owner = owner_model(&call, call.who()?).await?;
    let mut owner = owner.ok_or_else(|| ApiError::internal("a caller may not even know who they are"))?;
    if let (Identified::User(model), Some(Who::User(user))) = (&mut owner, &call.caller.who)
        && !model.auth_state.is_hidden()
    {
        model.auth_state = call.hub.auth_state(user).into();
    }
    let token = call.caller.token();
    let model = SelfModel {
        owner,
        token_id: token.map(|token| Token::id_of(token.id.into())),
        session_id: token.and_then(|token| token.session_id.clone()),
        scopes: call.caller.scopes.to_vec(),
    };
    answer::ok(&SelfAnswer { model, environment: environment(&call).await? })
}

/// `GET /authorizations/token/{secret}`: deprecated, the owner of a token.
pub(super) async fn token_owner(call: Call) -> ApiResult<HttpResponse> {
    let now = call.hub.clock.now();
    let found = repo::tokens::find(call.db(), call.argument("secret"), now).await?;
    let mut token = found.ok_or_else(ApiError::not_found)?;
    let who = match (token.user_id, token.service_id) {
        (Some(id), _) => repo::users::by_id(call.db(), id).await?.map(|user| Who::User(Box::new(user))),
        (None, Some(id)) => repo::services::by_id(call.db(), id).await?.map(|s| Who::Service(Box::new(s))),
        (None, None) => None,
    };
    let mut who = who.ok_or_else(ApiError::not_found)?;
    call.hub.activity.token(&call.hub, &mut token, &mut who, &call.facts.path).await?;
    answer::ok(&answer::or_empty(owner_model(&call, &who).await?))
}

/// What version 2 removed.
pub(super) fn token_endpoint_gone(_: &Hub) -> ApiResult<HttpResponse> {
    let text = "Deprecated endpoint /hub/api/authorizations/token is removed in JupyterHub 2.0. \
                Use /hub/api/users/:user/tokens instead.";
    Err(ApiError::new(StatusCode::NOT_FOUND, text))
}

/// `GET /authorizations/cookie/{cookie}[/{value}]`: deprecated, the user that a login cookie belongs to.
pub(super) async fn cookie_owner(call: Call) -> ApiResult<HttpResponse> {
    let name = escape_client_part(call.argument("cookie"));
    let value = match call.argument("value") {
        "" => String::from_utf8_lossy(&call.body).into_owned(),
        value => value.to_owned(),
    };
    let cookie = call.hub.sessions.read_login(&name, &value).ok_or_else(ApiError::not_found)?;
    let user = logged_in(&call.hub, &cookie).await?.0.ok_or_else(ApiError::not_found)?;
    let model = user_model(&call, &user, &call.caller.scopes).await?;
    answer::ok(&answer::or_empty(model))
}
