//! Services: list, get, and those that are made at run time. Answers to `apihandlers.services`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_config::ServiceSection;
use hub_core::scopes::{ADMIN_ROLE, Client, ExpandContext, check_token_grant, default_roles};
use hub_db::entities::services;
use hub_db::repo::roles::Holder;
use hub_db::{DbError, repo};
use jupyterhub_api_compat::models::Service;
use jupyterhub_api_compat::requests::CreateService;
use serde_json::Value;
use tracing::{error, info};
use url::Url;

use super::answer;
use super::call::Call;
use super::tokens::refusal;
use super::users::short;
use crate::services::answers::wait_up;
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;

/// Most characters of a name: what the database holds.
const LONGEST_NAME: usize = 255;

async fn shown(call: &Call, row: &services::Model) -> ApiResult<Option<Service>> {
    let roles = repo::roles::of(call.db(), Holder::Service(row.id)).await?;
    let roles = roles.into_iter().map(|role| role.name).collect();
    Ok(models::service(&call.hub, row, roles).restrict(&call.caller.scopes))
}

/// `GET /services`: a map by name.
pub(super) async fn list(call: Call) -> ApiResult<HttpResponse> {
    let access = call.caller.scopes.filter_for("list:services");
    let mut rows = repo::services::all(call.db()).await?;
    rows.retain(|row| access.includes(&hub_core::scopes::Resource::Service(&row.name)));
    let ids: Vec<i32> = rows.iter().map(|row| row.id).collect();
    let mut roles = repo::role_members::names_of_services(call.db(), &ids).await?;
    let models: BTreeMap<&str, Value> = rows
        .iter()
        .map(|row| {
            let model = models::service(&call.hub, row, roles.remove(&row.id).unwrap_or_default());
            (row.name.as_str(), answer::or_empty(model.restrict(&call.caller.scopes)))
        })
        .collect();
    answer::ok(&models)
}

/// `GET /services/{service}`.
pub(super) async fn get(call: Call) -> ApiResult<HttpResponse> {
    let name = call.argument("service");
    let none = || ApiError::new(StatusCode::NOT_FOUND, format!("No such service: {}", short(name)));
    let row = repo::services::by_name(call.db(), name).await?.ok_or_else(none)?;
    answer::ok(&answer::or_empty(shown(&call, &row).await?))
}

/// `POST /services/{service}`.
pub(super) async fn create(call: Call) -> ApiResult<HttpResponse> {
    let name = call.argument("service");
    let exists = || ApiError::conflict(format!("Service {} already exists", short(name)));
    if repo::services::by_name(call.db(), name).await?.is_some() {
        return Err(exists());
    }
    let wanted = CreateService::read(&call.body, name)?;
    check_scopes(&call, &wanted).await?;
    let section = section(name, wanted)?;
    let tx = call.hub.db.begin().await?;
    if repo::services::by_name(&tx, name).await?.is_some() {
        return Err(exists());
    }
    let made = crate::services::put(&call.hub, &tx, &section, false).await;
    let row = made.map_err(|why| {
        error!(service = name, error = format!("{why:#}"), "a service cannot be made");
        let reason = match why.downcast_ref() {
            Some(DbError::Invalid(reason)) => format!(": {reason}"),
            _ => String::new(),
        };
        ApiError::bad_request(format!("Failed to create service {name}{reason}"))
    })?;
    tx.commit().await?;
    info!(by = call.who()?.name(), service = name, url = section.url, "service created");
    follow_routes(&call).await;
    if let Some(url) = &section.url
        && !wait_up(&call.hub, name, url, section.timeout).await
    {
        error!(service = name, %url, "the new service does not answer");
    }
    answer::created(&answer::or_empty(shown(&call, &row).await?))
}

/// The same shape as in the configuration.
fn section(name: &str, wanted: CreateService) -> ApiResult<ServiceSection> {
    let refused =
        |why: &str| Err(ApiError::bad_request(format!("Failed to create service {}: {why}", short(name))));
    if name.chars().count() > LONGEST_NAME {
        return refused("a name has at most 255 characters");
    }
    let is_http = |text: &String| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if wanted.url.as_ref().is_some_and(|url| !is_http(url)) {
        return refused("url must be a URL that begins with http:// or https://");
    }
    if wanted.oauth_client_id.as_ref().is_some_and(|id| !id.starts_with("service-")) {
        return refused("oauth_client_id must begin with service-");
    }
    Ok(ServiceSection {
        name: name.to_owned(),
        admin: wanted.admin,
        url: wanted.url,
        api_token: wanted.api_token,
        oauth_client_id: wanted.oauth_client_id,
        oauth_redirect_uri: wanted.oauth_redirect_uri,
        oauth_no_confirm: wanted.oauth_no_confirm,
        oauth_client_allowed_scopes: wanted.oauth_client_allowed_scopes.unwrap_or_default(),
        info: wanted.info,
        display: wanted.display.unwrap_or(true),
        ..ServiceSection::default()
    })
}

/// Nobody gives a service what they do not hold themselves.
async fn check_scopes(call: &Call, wanted: &CreateService) -> ApiResult<()> {
    let mut scopes: Vec<String> = wanted.oauth_client_allowed_scopes.clone().unwrap_or_default();
    if wanted.admin {
        let roles = default_roles().into_iter().filter(|role| role.name == ADMIN_ROLE);
        scopes.extend(roles.flat_map(|role| role.scopes));
    }
    if scopes.is_empty() {
        return Ok(());
    }
    let (db, rbac) = (call.db(), &call.hub.rbac);
    let holder = call.who()?.holder();
    let held = rbac.held(db, &holder, true).await?;
    let cx = ExpandContext::token(holder.owner(), Client::Hub);
    let groups = rbac.membership(db, &rbac.table().expand_stored(&scopes, &cx).scopes, &held.scopes).await?;
    check_token_grant(rbac.table(), &scopes, holder.owner(), Client::Hub, &held.scopes, &groups)
        .map_err(|error| refusal(&error))
}

/// Routes of new and gone services; what fails now, the periodic check does.
async fn follow_routes(call: &Call) {
    if let Err(error) = call.hub.check_routes().await {
        error!(%error, "cannot change the route of a service; the next check will");
    }
}

/// `DELETE /services/{service}`: only one that was made at run time.
pub(super) async fn delete(call: Call) -> ApiResult<HttpResponse> {
    let name = call.argument("service");
    let none = || ApiError::new(StatusCode::NOT_FOUND, format!("Service {} does not exist", short(name)));
    let row = repo::services::by_name(call.db(), name).await?.ok_or_else(none)?;
    if row.from_config.unwrap_or(true) {
        let text = format!("Service {name} is not modifiable at runtime");
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let tx = call.hub.db.begin().await?;
    repo::services::delete(&tx, row.id).await?;
    tx.commit().await?;
    info!(by = call.who()?.name(), service = name, "service deleted");
    follow_routes(&call).await;
    Ok(answer::empty_json(StatusCode::OK))
}
