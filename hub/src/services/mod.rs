//! Other applications behind the hub: their rows, tokens, OAuth clients, routes. Answers to `init_services`. Those
//! whose process the hub runs are in [`managed`].

pub mod answers;
mod environment;
mod leftover;
pub mod managed;

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use hub_config::ServiceSection;
use hub_core::scopes::{Client, Resource, client_allowed_scopes};
use hub_core::secret::ExposeSecret as _;
use hub_core::token::{CHOSEN_ROUNDS, GENERATED_ROUNDS};
use hub_db::entities::services;
use hub_db::repo::services::ServiceSpec;
use hub_db::{Tx, repo};
use serde_json::Value;
use tracing::{info, warn};

use crate::app::Hub;
use crate::rbac::{HUB_CLIENT, Holder};
use crate::render::ServiceLink;
use crate::web::caller::Caller;
use crate::web::error::ApiResult;

/// Note of a token that the configuration gives.
const CONFIGURED: &str = "from config";
/// Note of a token that the hub made up.
const GENERATED: &str = "generated at startup";

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
        let mut section = section.clone();
        let mut note = CONFIGURED;
        if section.is_managed() && section.api_token.is_none() {
            section.api_token = Some(hub.managed.token(&section.name));
            note = GENERATED;
        }
        forget_others(hub, tx, &section).await?;
        let put = put_noted(hub, tx, &section, true, note).await;
        let row = put.with_context(|| format!("services: {:?}", section.name))?;
        if let Some(token) = section.api_token.clone().filter(|_| section.is_managed()) {
            hub.managed.add(managed::Process { id: row.id, section, token });
        }
    }
    for (name, token) in &hub.config.hub.api_tokens {
        let name = hub.auth.names.normalize(name);
        let user = crate::auth::login::ensure_user(hub, tx, &name).await?;
        let rounds = if hub.config.hub.trust_user_provided_tokens { GENERATED_ROUNDS } else { CHOSEN_ROUNDS };
        put_token(hub, tx, repo::Owner::User(user.id), token.expose_secret(), rounds, CONFIGURED).await?;
    }
    for (name, token) in &hub.config.hub.service_tokens {
        let service = repo::services::by_name(tx, name)
            .await?
            .with_context(|| format!("hub.service_tokens: there is no service {name:?}"))?;
        let rounds = if hub.config.hub.trust_user_provided_tokens { GENERATED_ROUNDS } else { CHOSEN_ROUNDS };
        put_token(hub, tx, repo::Owner::Service(service.id), token.expose_secret(), rounds, CONFIGURED)
            .await?;
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
    put_noted(hub, tx, section, from_config, CONFIGURED).await
}

/// Deletes the tokens that were made up for a service and are not the one that holds now: before it was given one, by a
/// hub with another cookie secret, or by stock.
async fn forget_others(hub: &Hub, tx: &Tx, section: &ServiceSection) -> anyhow::Result<()> {
    let Some(service) = repo::services::by_name(tx, &section.name).await? else { return Ok(()) };
    let own = match &section.api_token {
        Some(token) => {
            repo::tokens::find(tx, token.expose_secret(), hub.clock.now()).await?.map(|row| row.id)
        }
        None => None,
    };
    for known in repo::tokens::of_owner(tx, repo::Owner::Service(service.id), hub.clock.now()).await? {
        if known.token.note.as_deref() == Some(GENERATED) && Some(known.token.id) != own {
            repo::tokens::delete(tx, known.token.id).await?;
        }
    }
    Ok(())
}

async fn put_noted(
    hub: &Hub,
    tx: &Tx,
    section: &ServiceSection,
    from_config: bool,
    note: &str,
) -> anyhow::Result<services::Model> {
    let spec = ServiceSpec {
        admin: section.admin,
        url: section.url.clone(),
        oauth_client_allowed_scopes: section.oauth_client_allowed_scopes.clone(),
        info: (!section.info.is_empty()).then(|| Value::Object(section.info.clone())),
        display: section.display,
        oauth_no_confirm: section.oauth_no_confirm,
        command: section.command.clone(),
        cwd: section.cwd.as_ref().map(|cwd| cwd.to_string_lossy().into_owned()),
        environment: (!section.environment.is_empty()).then(|| serde_json::json!(section.environment)),
        user: section.user.clone(),
        timeout: i32::try_from(section.timeout.as_secs()).unwrap_or(i32::MAX),
        ..ServiceSpec::new(section.name.as_str(), from_config)
    };
    let service = repo::services::upsert(tx, spec).await?;
    let prefix = hub.urls.service(&section.name);
    let address = section.url.as_deref().and_then(|url| managed::address(url, &prefix));
    repo::services::set_address(tx, service.id, address.as_ref()).await?;
    if section.admin
        && let Some(role) = repo::roles::by_name(tx, hub_core::scopes::ADMIN_ROLE).await?
    {
        repo::roles::assign(tx, role.id, repo::roles::Holder::Service(service.id), false).await?;
    }
    let token = section.api_token.as_ref().map(|token| token.expose_secret().to_owned());
    if let Some(token) = &token {
        let rounds = if hub.config.hub.trust_user_provided_tokens { GENERATED_ROUNDS } else { CHOSEN_ROUNDS };
        put_token(hub, tx, repo::Owner::Service(service.id), token, rounds, note).await?;
    }
    if section.oauth_available() {
        let client = Client::Service(&section.name);
        let redirect_uri = section
            .oauth_redirect_uri
            .clone()
            .unwrap_or_else(|| format!("{}{prefix}oauth_callback", hub.urls.service_host(&section.name)));
        let scopes = oauth_scopes(tx, section).await?;
        let spec = repo::oauth::ClientSpec {
            identifier: section.client_id(),
            description: format!("JupyterHub service {}", section.name),
            redirect_uri,
            allowed_scopes: client_allowed_scopes(&scopes, &client).into_iter().collect(),
        };
        let id = spec.identifier.clone();
        let secret = repo::oauth::hash_secret(token.as_deref().unwrap_or_default()).await?;
        repo::oauth::upsert_client(tx, spec, secret).await?;
        repo::services::set_oauth_client(tx, service.id, Some(&id)).await?;
    }
    Ok(service)
}

/// What a service may ask for: its scopes, or those of its roles, stock's older way to say it.
async fn oauth_scopes(tx: &Tx, section: &ServiceSection) -> anyhow::Result<Vec<String>> {
    if section.oauth_roles.is_empty() {
        return Ok(section.oauth_client_allowed_scopes.clone());
    }
    if !section.oauth_client_allowed_scopes.is_empty() {
        warn!(service = %section.name, "oauth_roles is ignored, as there is oauth_client_allowed_scopes");
        return Ok(section.oauth_client_allowed_scopes.clone());
    }
    let mut scopes = BTreeSet::new();
    for name in &section.oauth_roles {
        let role = repo::roles::by_name(tx, name).await?;
        let role = role.with_context(|| format!("oauth_roles: there is no role {name:?}"))?;
        scopes.extend(role.scopes.0);
    }
    Ok(scopes.into_iter().collect())
}

/// Stores a configured token unless it is there already.
async fn put_token(
    hub: &Hub,
    tx: &Tx,
    owner: repo::Owner,
    token: &str,
    rounds: u32,
    note: &str,
) -> anyhow::Result<()> {
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
        note: note.to_owned(),
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
                let prefix = self.urls.service(&service.name);
                Some(ServiceLink {
                    href: self.urls.service_for_browser(&service.name),
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
