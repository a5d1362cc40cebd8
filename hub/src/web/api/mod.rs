//! The REST API below `{base}hub/api`, but for `/oauth2`. Answers to `jupyterhub.apihandlers`.
//!
//! Routes and authorisation come from one table, [`jupyterhub_api_compat::endpoints::ENDPOINTS`], and
//! `call::Call::open` asks for what the table says before a handler sees the request. A handler reads its arguments,
//! calls the repositories and services of the hub, and shapes the answer.

mod about;
mod activity;
mod answer;
mod bulk;
mod call;
mod description;
mod events;
mod explain;
mod groups;
mod idempotency;
mod identity;
mod lists;
mod places;
mod progress;
mod proxy;
mod server_start;
mod servers;
mod services;
mod sessions;
mod share_codes;
mod shares;
mod tokens;
mod user_list;
mod users;
mod volumes;
mod wait;

use actix_web::http::{Method as HttpMethod, StatusCode};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use jupyterhub_api_compat::endpoints::{Endpoint, EndpointId, Method};

use self::call::Call;
pub use self::description::Description;
pub use self::idempotency::Idempotency;
pub use self::places::{Placed, named};
use super::error::{ApiError, ApiResult};
use super::pages::misc;
use crate::app::Hub;

/// What answers a call.
enum Handler {
    /// Without looking at the request: the caller, where there must be one, has been checked.
    Plain(fn(&Hub) -> ApiResult<HttpResponse>),
    /// With all that the request holds.
    Full(fn(Call) -> LocalBoxFuture<'static, ApiResult<HttpResponse>>),
    /// Not here: the OAuth provider has routes of its own.
    Elsewhere,
}

/// Which handler answers an endpoint, and the name of stock's class for it, which is the metrics' label.
fn handler(id: EndpointId) -> (Handler, &'static str) {
    use EndpointId as Id;
    use Handler::{Elsewhere, Full, Plain};
    match id {
        Id::GetVersion => (Plain(about::version), "hub.RootAPIHandler"),
        Id::Health => (Plain(about::health), "HealthCheckHandler"),
        Id::Metrics => (Plain(about::metrics), "MetricsHandler"),
        Id::GetInfo => (Plain(about::info), "hub.InfoAPIHandler"),
        Id::Shutdown => (Full(|c| Box::pin(async move { about::shutdown(&c) })), "hub.ShutdownAPIHandler"),
        Id::GetProxy => (Full(|c| Box::pin(proxy::list(c))), "proxy.ProxyAPIHandler"),
        Id::CheckProxy => (Full(|c| Box::pin(proxy::check(c))), "proxy.ProxyAPIHandler"),
        Id::MoveProxy => (Full(|c| Box::pin(proxy::relocate(c))), "proxy.ProxyAPIHandler"),
        Id::WhoAmI => (Full(|c| Box::pin(identity::who_am_i(c))), "users.SelfAPIHandler"),
        Id::ListUsers => (Full(|c| Box::pin(user_list::list(c))), "users.UserListAPIHandler"),
        Id::CreateUsers => (Full(|c| Box::pin(user_list::create(c))), "users.UserListAPIHandler"),
        Id::GetUser => (Full(|c| Box::pin(users::get(c))), "users.UserAPIHandler"),
        Id::CreateUser => (Full(|c| Box::pin(users::create(c))), "users.UserAPIHandler"),
        Id::EditUser => (Full(|c| Box::pin(users::edit(c))), "users.UserAPIHandler"),
        Id::DeleteUser => (Full(|c| Box::pin(users::delete(c))), "users.UserAPIHandler"),
        Id::PostActivity => (Full(|c| Box::pin(activity::post(c))), "users.ActivityAPIHandler"),
        Id::AdminAccess => (Full(|c| Box::pin(users::admin_access(c))), "users.UserAdminAccessAPIHandler"),
        Id::GetServer => (Full(|c| Box::pin(servers::get(c))), "users.UserServerAPIHandler"),
        Id::CreateServer => (Full(|c| Box::pin(servers::create(c))), "users.UserServerAPIHandler"),
        Id::EditServer => (Full(|c| Box::pin(servers::edit(c))), "users.UserServerAPIHandler"),
        Id::StartServer => (Full(|c| Box::pin(server_start::start(c))), "users.UserServerAPIHandler"),
        Id::StopServer => (Full(|c| Box::pin(server_start::stop(c))), "users.UserServerAPIHandler"),
        Id::RestartServer => (Full(|c| Box::pin(server_start::restart(c))), "users.UserServerAPIHandler"),
        Id::Progress => (Full(|c| Box::pin(progress::get(c))), "users.SpawnProgressAPIHandler"),
        Id::ListTokens => (Full(|c| Box::pin(tokens::list(c))), "users.UserTokenListAPIHandler"),
        Id::CreateToken => (Full(|c| Box::pin(tokens::create(c))), "users.UserTokenListAPIHandler"),
        Id::GetToken => (Full(|c| Box::pin(tokens::get(c))), "users.UserTokenAPIHandler"),
        Id::DeleteToken => (Full(|c| Box::pin(tokens::delete(c))), "users.UserTokenAPIHandler"),
        Id::ListUserShared => {
            (Full(|c| Box::pin(shares::list_with_user(c))), "shares.UserShareListAPIHandler")
        }
        Id::GetUserShared => (Full(|c| Box::pin(shares::get_with_user(c))), "shares.UserShareAPIHandler"),
        Id::LeaveUserShared => (Full(|c| Box::pin(shares::leave_as_user(c))), "shares.UserShareAPIHandler"),
        Id::ListGroups => (Full(|c| Box::pin(groups::list(c))), "groups.GroupListAPIHandler"),
        Id::CreateGroups => (Full(|c| Box::pin(groups::create_many(c))), "groups.GroupListAPIHandler"),
        Id::GetGroup => (Full(|c| Box::pin(groups::get(c))), "groups.GroupAPIHandler"),
        Id::CreateGroup => (Full(|c| Box::pin(groups::create(c))), "groups.GroupAPIHandler"),
        Id::DeleteGroup => (Full(|c| Box::pin(groups::delete(c))), "groups.GroupAPIHandler"),
        Id::AddGroupUsers => (Full(|c| Box::pin(groups::add_users(c))), "groups.GroupUsersAPIHandler"),
        Id::RemoveGroupUsers => (Full(|c| Box::pin(groups::remove_users(c))), "groups.GroupUsersAPIHandler"),
        Id::SetGroupProperties => {
            (Full(|c| Box::pin(groups::set_properties(c))), "groups.GroupPropertiesAPIHandler")
        }
        Id::ListGroupShared => {
            (Full(|c| Box::pin(shares::list_with_group(c))), "shares.GroupShareListAPIHandler")
        }
        Id::GetGroupShared => (Full(|c| Box::pin(shares::get_with_group(c))), "shares.GroupShareAPIHandler"),
        Id::LeaveGroupShared => {
            (Full(|c| Box::pin(shares::leave_as_group(c))), "shares.GroupShareAPIHandler")
        }
        Id::ListServices => (Full(|c| Box::pin(services::list(c))), "services.ServiceListAPIHandler"),
        Id::GetService => (Full(|c| Box::pin(services::get(c))), "services.ServiceAPIHandler"),
        Id::CreateService => (Full(|c| Box::pin(services::create(c))), "services.ServiceAPIHandler"),
        Id::DeleteService => (Full(|c| Box::pin(services::delete(c))), "services.ServiceAPIHandler"),
        Id::ListOwnerShares => (Full(|c| Box::pin(shares::list_of_owner(c))), "shares.ServerShareAPIHandler"),
        Id::ListServerShares => {
            (Full(|c| Box::pin(shares::list_of_server(c))), "shares.ServerShareAPIHandler")
        }
        Id::GrantShare => (Full(|c| Box::pin(shares::grant(c))), "shares.ServerShareAPIHandler"),
        Id::RevokeShare => (Full(|c| Box::pin(shares::revoke(c))), "shares.ServerShareAPIHandler"),
        Id::DeleteShares => (Full(|c| Box::pin(shares::delete(c))), "shares.ServerShareAPIHandler"),
        Id::ListOwnerShareCodes => {
            (Full(|c| Box::pin(share_codes::list_of_owner(c))), "shares.ServerShareCodeAPIHandler")
        }
        Id::ListServerShareCodes => {
            (Full(|c| Box::pin(share_codes::list_of_server(c))), "shares.ServerShareCodeAPIHandler")
        }
        Id::CreateShareCode => {
            (Full(|c| Box::pin(share_codes::create(c))), "shares.ServerShareCodeAPIHandler")
        }
        Id::DeleteShareCodes => {
            (Full(|c| Box::pin(share_codes::delete(c))), "shares.ServerShareCodeAPIHandler")
        }
        Id::TokenOwner => (Full(|c| Box::pin(identity::token_owner(c))), "auth.TokenAPIHandler"),
        Id::TokenEndpointGone => (Plain(identity::token_endpoint_gone), "auth.TokenAPIHandler"),
        Id::CookieOwner => (Full(|c| Box::pin(identity::cookie_owner(c))), "auth.CookieAPIHandler"),
        Id::OpenApi => (Plain(description::json), "himalia.OpenApi"),
        Id::Docs => (Plain(description::html), "himalia.Docs"),
        Id::Events => (Full(|c| Box::pin(async move { events::stream_all(&c).await })), "himalia.Events"),
        Id::StartServers => (Full(|c| Box::pin(bulk::start(c))), "himalia.StartServers"),
        Id::StopServers => (Full(|c| Box::pin(bulk::stop(c))), "himalia.StopServers"),
        Id::ListSessions => (Full(|c| Box::pin(sessions::list(c))), "himalia.Sessions"),
        Id::EndSessions => (Full(|c| Box::pin(sessions::end_all(c))), "himalia.Sessions"),
        Id::EndSession => (Full(|c| Box::pin(sessions::end(c))), "himalia.Session"),
        Id::ListVolumes => (Full(|c| Box::pin(volumes::list(c))), "himalia.Volumes"),
        Id::ExplainOwn => (Full(|c| Box::pin(explain::own(c))), "himalia.ExplainOwn"),
        Id::ExplainToken => (Full(|c| Box::pin(explain::of_token(c))), "himalia.ExplainToken"),
        Id::Authorize | Id::ConfirmAuthorize | Id::ExchangeToken => (Elsewhere, ""),
    }
}

/// The full path of stock's class, or our own name.
fn class_of(name: &str) -> String {
    match name {
        "HealthCheckHandler" => "jupyterhub.handlers.pages.HealthCheckHandler".to_owned(),
        "MetricsHandler" => "jupyterhub.handlers.metrics.MetricsHandler".to_owned(),
        own if own.starts_with("himalia.") => own.to_owned(),
        name => format!("jupyterhub.apihandlers.{name}"),
    }
}

/// Registers everything in a scope that is mounted at `{base}hub/api`. Health and metrics, which are handlers of
/// pages in stock, get a resource each; the paths of all others are looked up at once.
pub fn configure(cfg: &mut ServiceConfig) {
    for place in places::of_pages() {
        let mut resource = web::resource(place.path).name(&place.class);
        for endpoint in place.endpoints.iter().copied() {
            let route = web::method(method_of(endpoint.method));
            resource = resource
                .route(route.to(move |rq: HttpRequest, body: web::Payload| serve(endpoint, rq, body)));
        }
        let for_programs = place.endpoints.iter().any(|endpoint| endpoint.id == EndpointId::Metrics);
        cfg.service(if for_programs {
            resource.default_service(web::to(misc::no_method_for_programs))
        } else {
            resource.default_service(web::to(misc::no_method))
        });
    }
    cfg.default_service(web::to(dispatch));
}

/// A call of anything else. Not even `OPTIONS` is answered where there is nothing.
async fn dispatch(rq: HttpRequest, body: web::Payload) -> ApiResult<HttpResponse> {
    let place = places::find(&rq).ok_or_else(ApiError::not_found)?;
    match place.endpoints.iter().find(|endpoint| method_of(endpoint.method) == rq.method()) {
        Some(endpoint) => serve(endpoint, rq, body).await,
        None => other_method(&rq),
    }
}

fn method_of(method: Method) -> HttpMethod {
    match method {
        Method::Delete => HttpMethod::DELETE,
        Method::Get => HttpMethod::GET,
        Method::Head => HttpMethod::HEAD,
        Method::Patch => HttpMethod::PATCH,
        Method::Post => HttpMethod::POST,
        Method::Put => HttpMethod::PUT,
    }
}

async fn serve(endpoint: &'static Endpoint, rq: HttpRequest, body: web::Payload) -> ApiResult<HttpResponse> {
    match handler(endpoint.id).0 {
        Handler::Plain(answer) => answer(&*call::check(endpoint, &rq).await?),
        Handler::Full(answer) => {
            idempotency::answer(endpoint, Call::open(endpoint, rq, body).await?, answer).await
        }
        Handler::Elsewhere => Err(ApiError::internal("an endpoint without a handler was routed")),
    }
}

/// `GET /hub/metrics`, the same as `/hub/api/metrics`.
pub async fn metrics(rq: HttpRequest, body: web::Payload) -> ApiResult<HttpResponse> {
    let endpoint = jupyterhub_api_compat::endpoints::of(EndpointId::Metrics).next();
    serve(endpoint.ok_or_else(ApiError::not_found)?, rq, body).await
}

/// A method that a place does not have; browsers ask by `OPTIONS` before calls from other sites.
fn other_method(rq: &HttpRequest) -> ApiResult<HttpResponse> {
    if rq.method() == HttpMethod::OPTIONS {
        return Ok(answer::empty_json(StatusCode::OK));
    }
    Err(ApiError::bare(StatusCode::METHOD_NOT_ALLOWED))
}
