//! Services, configured or made through the API.

use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::{ConnectionTrait, QueryOrder as _};
use serde_json::Value as Json;

use super::oauth;
use super::spawners::Address;
use crate::entities::{api_tokens, servers, service_role_map, services};
use crate::error::DbError;
use crate::types::{JsonDict, JsonList};

/// One service.
pub use crate::entities::services::Model as Service;

/// What a service is to be.
#[expect(clippy::struct_excessive_bools, reason = "each is a column")]
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// Unique name.
    pub name: String,
    /// The admin flag.
    pub admin: bool,
    /// Where it listens, if it is proxied.
    pub url: Option<String>,
    /// Scopes that its OAuth client may ask for.
    pub oauth_client_allowed_scopes: Vec<String>,
    /// Free information shown in the API.
    pub info: Option<Json>,
    /// Whether the home page lists it.
    pub display: bool,
    /// Whether users skip the confirmation page.
    pub oauth_no_confirm: bool,
    /// Command, empty for a service that the hub does not start.
    pub command: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Extra environment.
    pub environment: Option<Json>,
    /// System user.
    pub user: Option<String>,
    /// Seconds to wait for it to answer.
    pub timeout: i32,
    /// False for services made through the API: the others are deleted when the configuration no longer names them.
    pub from_config: bool,
}

impl ServiceSpec {
    /// A service with stock's defaults.
    pub fn new(name: impl Into<String>, from_config: bool) -> Self {
        Self {
            name: name.into(),
            admin: false,
            url: None,
            oauth_client_allowed_scopes: Vec::new(),
            info: None,
            display: true,
            oauth_no_confirm: false,
            command: Vec::new(),
            cwd: None,
            environment: None,
            user: None,
            timeout: 30,
            from_config,
        }
    }
}

/// The service with this very name.
pub async fn by_name(db: &impl ConnectionTrait, name: &str) -> Result<Option<Service>, DbError> {
    let found = services::Entity::find().filter(services::Column::Name.eq(name)).one(db).await?;
    Ok(found.filter(|service| service.name == name))
}

/// The service with this id.
pub async fn by_id(db: &impl ConnectionTrait, id: i32) -> Result<Option<Service>, DbError> {
    Ok(services::Entity::find_by_id(id).one(db).await?)
}

/// The service whose OAuth client this is.
pub async fn by_oauth_client(db: &impl ConnectionTrait, client_id: &str) -> Result<Option<Service>, DbError> {
    let found =
        services::Entity::find().filter(services::Column::OauthClientId.eq(client_id)).one(db).await?;
    Ok(found.filter(|row| row.oauth_client_id.as_deref() == Some(client_id)))
}

/// All services by id.
pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<Service>, DbError> {
    Ok(services::Entity::find().order_by_asc(services::Column::Id).all(db).await?)
}

/// Makes a service or brings it up to date; its tokens, roles, address and OAuth client stay.
pub async fn upsert(db: &impl ConnectionTrait, spec: ServiceSpec) -> Result<Service, DbError> {
    let known = by_name(db, &spec.name).await?;
    let mut row = services::ActiveModel {
        name: Set(spec.name),
        admin: Set(Some(spec.admin)),
        url: Set(spec.url),
        oauth_client_allowed_scopes: Set(JsonList(spec.oauth_client_allowed_scopes)),
        info: Set(spec.info.map(JsonDict)),
        display: Set(Some(spec.display)),
        oauth_no_confirm: Set(Some(spec.oauth_no_confirm)),
        command: Set(JsonList(spec.command)),
        cwd: Set(spec.cwd),
        environment: Set(spec.environment.map(JsonDict)),
        user: Set(spec.user),
        timeout: Set(spec.timeout),
        from_config: Set(Some(spec.from_config)),
        ..Default::default()
    };
    Ok(match known {
        Some(known) => {
            row.id = Set(known.id);
            row.update(db).await?
        }
        None => row.insert(db).await?,
    })
}

async fn set(
    db: &impl ConnectionTrait,
    id: i32,
    column: services::Column,
    value: impl Into<sea_orm::Value>,
) -> Result<(), DbError> {
    services::Entity::update_many()
        .col_expr(column, Expr::value(value))
        .filter(services::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Sets the admin flag. The role `admin` that goes with it is the caller's.
pub async fn set_admin(db: &impl ConnectionTrait, id: i32, admin: bool) -> Result<(), DbError> {
    set(db, id, services::Column::Admin, admin).await
}

/// Notes the process id of a managed service, or that it has none.
pub async fn set_pid(db: &impl ConnectionTrait, id: i32, pid: Option<i32>) -> Result<(), DbError> {
    set(db, id, services::Column::Pid, pid).await
}

/// Ties the service to its OAuth client, which must exist, or cuts the tie.
pub async fn set_oauth_client(
    db: &impl ConnectionTrait,
    id: i32,
    client_id: Option<&str>,
) -> Result<(), DbError> {
    set(db, id, services::Column::OauthClientId, client_id).await
}

/// Where the hub reaches the service, if it is proxied. Two queries.
pub async fn address(db: &impl ConnectionTrait, service: &Service) -> Result<Option<Address>, DbError> {
    let Some(id) = service.server_id else { return Ok(None) };
    Ok(servers::Entity::find_by_id(id).one(db).await?.as_ref().map(Address::from))
}

/// Notes where the service is reached; `None`: it is not proxied. Two tables.
pub async fn set_address(
    db: &impl ConnectionTrait,
    id: i32,
    address: Option<&Address>,
) -> Result<(), DbError> {
    let Some(service) = by_id(db, id).await? else { return Ok(()) };
    if let Some(old) = service.server_id {
        set(db, id, services::Column::ServerId, None::<i32>).await?;
        servers::Entity::delete_by_id(old).exec(db).await?;
    }
    if let Some(address) = address {
        let server = servers::ActiveModel {
            proto: Set(Some(address.proto.clone())),
            ip: Set(Some(address.ip.clone())),
            port: Set(Some(i32::from(address.port))),
            base_url: Set(Some(address.base_url.clone())),
            cookie_name: Set(Some(format!("service-{}", service.name).chars().take(255).collect())),
            ..Default::default()
        };
        let server = server.insert(db).await?;
        set(db, id, services::Column::ServerId, Some(server.id)).await?;
    }
    Ok(())
}

/// Deletes a service with its tokens, roles, address and OAuth client. Many tables. `false`: there was none.
pub async fn delete(db: &impl ConnectionTrait, id: i32) -> Result<bool, DbError> {
    let Some(service) = by_id(db, id).await? else { return Ok(false) };
    api_tokens::Entity::delete_many().filter(api_tokens::Column::ServiceId.eq(id)).exec(db).await?;
    service_role_map::Entity::delete_many()
        .filter(service_role_map::Column::ServiceId.eq(id))
        .exec(db)
        .await?;
    services::Entity::delete_by_id(id).exec(db).await?;
    if let Some(server) = service.server_id {
        servers::Entity::delete_by_id(server).exec(db).await?;
    }
    if let Some(client) = service.oauth_client_id {
        oauth::delete_client(db, &client).await?;
    }
    Ok(true)
}
