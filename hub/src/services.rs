//! Other applications behind the hub: their rows, tokens, OAuth clients, routes. Answers to `init_services`.
//!
//! Services whose process the hub would have to run (`command`) are refused for now, with a clear error.

use anyhow::{Context as _, bail};
use hub_config::ServiceSection;
use hub_core::scopes::{Client, Resource, client_allowed_scopes};
use hub_core::secret::ExposeSecret as _;
use hub_core::token::{CHOSEN_ROUNDS, GENERATED_ROUNDS};
use hub_db::entities::services;
use hub_db::repo::services::ServiceSpec;
use hub_db::{Tx, repo};
use serde_json::Value;
use tracing::info;

use crate::app::Hub;
use crate::rbac::{HUB_CLIENT, Holder};
use crate::render::ServiceLink;
use crate::web::caller::Caller;
use crate::web::error::ApiResult;

/// Makes the services of the database those of the configuration; those added at run time stay.
pub async fn init(hub: &Hub, tx: &Tx) -> anyhow::Result<()> {
    for known in repo::services::all(tx).await? {
        let configured = hub.config.services.iter().any(|service| service.name == known.name);
        if known.from_config.unwrap_or(true) && !configured {
            info!(service = %known.name, "deleting a service that is not configured any more");
            repo::services::delete(tx, known.id).await?;
        }
    }
    for section in &hub.config.services {
        if section.is_managed() {
            bail!(
                "services: {:?} has a command; services run by the hub are not supported yet: run it yourself and \
                 give it an api_token",
                section.name
            );
        }
        put(hub, tx, section, true).await.with_context(|| format!("services: {:?}", section.name))?;
    }
    for (name, token) in &hub.config.hub.api_tokens {
        let name = hub.auth.names.normalize(name);
        let user = crate::auth::login::ensure_user(hub, tx, &name).await?;
        let rounds = if hub.config.hub.trust_user_provided_tokens { GENERATED_ROUNDS } else { CHOSEN_ROUNDS };
        put_token(hub, tx, repo::Owner::User(user.id), token.expose_secret(), rounds).await?;
    }
    for (name, token) in &hub.config.hub.service_tokens {
        let service = repo::services::by_name(tx, name)
            .await?
            .with_context(|| format!("hub.service_tokens: there is no service {name:?}"))?;
        let rounds = if hub.config.hub.trust_user_provided_tokens { GENERATED_ROUNDS } else { CHOSEN_ROUNDS };
        put_token(hub, tx, repo::Owner::Service(service.id), token.expose_secret(), rounds).await?;
    }
    Ok(())
}

/// Makes a service or brings it up to date. What is not `from_config` was made through the API.
pub(crate) async fn put(
    hub: &Hub,
    tx: &Tx,
    section: &ServiceSection,
    from_config: bool,
) -> anyhow::Result<services::Model> {
    let spec = ServiceSpec {
        admin: section.admin,
        url: section.url.clone(),
        oauth_client_allowed_scopes: section.oauth_client_allowed_scopes.clone(),
        info: (!section.info.is_empty()).then(|| Value::Object(section.info.clone())),
        display: section.display,
        oauth_no_confirm: section.oauth_no_confirm,
        timeout: i32::try_from(section.timeout.as_secs()).unwrap_or(i32::MAX),
        ..ServiceSpec::new(section.name.as_str(), from_config)
    };
    let service = repo::services::upsert(tx, spec).await?;
    if section.admin
        && let Some(role) = repo::roles::by_name(tx, hub_core::scopes::ADMIN_ROLE).await?
    {
        repo::roles::assign(tx, role.id, repo::roles::Holder::Service(service.id), false).await?;
    }
    let token = section.api_token.as_ref().map(|token| token.expose_secret().to_owned());
    if let Some(token) = &token {
        let rounds = if hub.config.hub.trust_user_provided_tokens { GENERATED_ROUNDS } else { CHOSEN_ROUNDS };
        put_token(hub, tx, repo::Owner::Service(service.id), token, rounds).await?;
    }
    if section.oauth_available() {
        let client = Client::Service(&section.name);
        let redirect_uri = section.oauth_redirect_uri.clone().unwrap_or_else(|| {
            format!(
                "{}services/{}/oauth_callback",
                hub.urls.base(),
                hub_core::names::escape_segment(&section.name)
            )
        });
        let spec = repo::oauth::ClientSpec {
            identifier: section.client_id(),
            description: format!("Service {}", section.name),
            redirect_uri,
            allowed_scopes: client_allowed_scopes(&section.oauth_client_allowed_scopes, &client)
                .into_iter()
                .collect(),
        };
        let id = spec.identifier.clone();
        repo::oauth::upsert_client(tx, spec, token.as_deref().unwrap_or_default()).await?;
        repo::services::set_oauth_client(tx, service.id, Some(&id)).await?;
    }
    Ok(service)
}

/// Stores a configured token unless it is there already.
async fn put_token(hub: &Hub, tx: &Tx, owner: repo::Owner, token: &str, rounds: u32) -> anyhow::Result<()> {
    let now = hub.clock.now();
    if let Some(known) = repo::tokens::find(tx, token, now).await? {
        let (user, service) = match owner {
            repo::Owner::User(id) => (Some(id), None),
            repo::Owner::Service(id) => (None, Some(id)),
        };
        if known.user_id != user || known.service_id != service {
            bail!("its token belongs to somebody else already; give each its own");
        }
        return Ok(());
    }
    let new = repo::tokens::NewToken {
        owner,
        rounds,
        client_id: HUB_CLIENT.to_owned(),
        scopes: vec!["inherit".to_owned()],
        note: "Via configuration file".to_owned(),
        session_id: None,
        expires_at: None,
    };
    repo::tokens::create(tx, token, new, now).await?;
    Ok(())
}

impl Hub {
    /// The services that a person may use and that are shown in the menu.
    pub async fn service_links(&self, caller: &Caller) -> ApiResult<Vec<ServiceLink>> {
        if caller.who.is_none()
            || self.config.services.is_empty() && !caller.scopes.has_any("access:services")
        {
            return Ok(Vec::new());
        }
        let services = repo::services::all(self.db.conn()).await?;
        Ok(services
            .into_iter()
            .filter(|service| service.display.unwrap_or(true))
            .filter(|service| caller.scopes.allows("access:services", &Resource::Service(&service.name)))
            .filter_map(|service| {
                let url = service.url.clone().filter(|url| !url.is_empty())?;
                let prefix = format!(
                    "{}services/{}/",
                    self.urls.base(),
                    hub_core::names::escape_segment(&service.name)
                );
                Some(ServiceLink {
                    href: self.urls.for_browser(&prefix),
                    name: service.name,
                    url,
                    prefix,
                    display: true,
                    info: service.info.and_then(|info| info.0.as_object().cloned()).unwrap_or_default(),
                })
            })
            .collect())
    }

    /// Whoever holds the roles of a caller, for background work on their behalf.
    pub fn holder_of(caller: &Caller) -> Option<Holder> {
        caller.who.as_ref().map(crate::web::caller::Who::holder)
    }
}
