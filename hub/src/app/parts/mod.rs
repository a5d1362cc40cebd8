//! Makes the parts of the hub from the configuration and puts them together. Answers to `JupyterHub.initialize`.

mod auth;
mod check;
mod spawners;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use hub_config::Config;
use hub_core::scopes::{CustomScope, ScopeTable};
use hub_core::secret::ExposeSecret as _;
use hub_core::{Clock, SystemClock};
use hub_db::schema::{Backup, Precaution, Upgraded};
use hub_db::{Db, DbOptions, repo};
use tracing::{info, warn};
use url::Url;

pub(super) use check::check;

use self::auth::{build_auth, check_cleanup, check_public, spawn_hooks};
use self::spawners::{build_spawners, profile_settings, server_settings};
use self::web::{build_renderer, build_sessions, extra_headers, networks};
use super::embedding::Embedding;
use super::listen::reached_at;
use super::tasks::Tasks;
use super::{Hub, derived, first_admin, shutdown};
use crate::activity::Activity;
use crate::audit::Audit;
use crate::auth::crypt::Crypt;
use crate::events::Events;
use crate::events::exchange::Exchange;
use crate::events::log::EventLog;
use crate::internal_ssl::{self, InternalSsl, Peer};
use crate::known::KnownRows;
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::rbac::Rbac;
use crate::registry::Registry;
use crate::render::StaticFiles;
use crate::routing::{ExternalProxy, ExternalSettings, InProcess, Proxy, Routing};
use crate::servers::store::{GrantSettings, Store};
use crate::servers::{Parts, Servers};
use crate::services::answers::Asker;
use crate::urls::Urls;
use crate::web::api::{Description, Idempotency};
use crate::web::facts::Senders;
use crate::workspaces::Workspaces;

/// Puts the parts together.
pub(super) async fn build(
    config: Arc<Config>,
    bound: SocketAddr,
    internal: Option<Arc<InternalSsl>>,
    own_proxy: Option<InProcess>,
    tasks: Tasks,
    registry: &Registry,
) -> anyhow::Result<Hub> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::new(&config.metrics).context("metrics")?);
    let urls = Arc::new(urls(&config, bound)?);
    let db = open_database(&config).await?;
    let authorities = internal.as_deref().map(|internal| internal.fingerprints().clone());
    internal_ssl::settle(&config, &db, authorities.as_ref()).await?;

    let custom = config.custom_scopes.iter().map(|(name, scope)| CustomScope {
        name: name.clone(),
        description: scope.description.clone(),
        subscopes: scope.subscopes.clone(),
    });
    let table = ScopeTable::with_custom(custom).context("custom_scopes")?;
    let rbac = Arc::new(Rbac::new(table, Arc::clone(&clock)));
    let crypt = crypt(&config)?;

    let secret = hub_config::load_or_create_cookie_secret(&config.hub)?;
    for warning in &secret.warnings {
        warn!("{warning}");
    }
    let mut auth_options = config.authenticator.options(&config.authenticator.kind);
    let mut first_login = None;
    if config.authenticator.kind == first_admin::KIND {
        let (filled, login) = first_admin::fill(auth_options, secret.secret.expose_secret());
        (auth_options, first_login) = (filled, Some(login));
    }
    let embedding = Embedding::of(&config, &urls);
    let auth = build_auth(&config, auth_options, &clock, Arc::clone(&crypt), &urls, registry)?;
    if let Some(login) = &mut first_login {
        let name = auth.names.normalize(login.name());
        login.set_known(repo::users::by_name(db.conn(), &name).await?.is_some());
    }
    let external = own_proxy.is_none();
    check_public(&config, auth.authenticator.as_ref(), external)?;
    check_cleanup(&config, external)?;

    let client = |peer| internal_client(internal.as_deref(), peer);
    let proxy = match own_proxy {
        Some(own) => Proxy::InProcess(own),
        None => Proxy::External(external_proxy(&config, client(Peer::ProxyApi)?)?),
    };
    let routing = Arc::new(Routing::new(proxy, Arc::clone(&metrics)));
    let log = match &config.events.log_file {
        None => None,
        Some(path) => Some(
            EventLog::open(path)
                .with_context(|| format!("events.log_file: cannot write to {}", path.display()))?,
        ),
    };
    let exchange = Exchange::start(db.clone(), Arc::clone(&clock), tasks.clone());
    let events = Arc::new(Events::new(log, exchange, Arc::clone(&clock)));
    let audit = match &config.audit.file {
        None => Audit::disabled(Arc::clone(&clock)),
        Some(path) => Audit::to_file(path, config.audit.max_size, Arc::clone(&clock))?,
    };
    let grants = GrantSettings {
        server_token_scopes: config.spawner.server_token_scopes.clone(),
        client_allowed_scopes: config.spawner.oauth_client_allowed_scopes.clone(),
    };
    let workspaces = Workspaces::of(&config.workspaces)?;
    let notices = Notices::new(db.clone(), Arc::clone(&clock));
    let store = Store::new(
        db.clone(),
        Arc::clone(&rbac),
        crypt,
        Arc::clone(&urls),
        Arc::clone(&clock),
        grants,
        notices.clone(),
    );
    let servers = Servers::new(Parts {
        store,
        spawners: build_spawners(&config, &db, internal.as_deref(), registry)?,
        settings: server_settings(&config, &config.spawner, &embedding),
        profiles: profile_settings(&config, &embedding),
        hooks: spawn_hooks(workspaces.as_ref(), auth.authenticator.as_ref()),
        routing: Arc::clone(&routing),
        urls: Arc::clone(&urls),
        metrics: Arc::clone(&metrics),
        events: Arc::clone(&events),
        clock: Arc::clone(&clock),
        tasks: tasks.clone(),
        client: client(Peer::Server)?,
        authorities,
        ends_unreachable: config.hub.internal_ssl && config.hub.recreate_internal_certs,
    })?;
    let service_key = derived::safe_secret(secret.secret.expose_secret(), "tokens of services");
    Ok(Hub {
        asker: Asker::new(client(Peer::Service)?)?,
        internal,
        first_login,
        events,
        audit,
        known: KnownRows::default(),
        idempotency: Idempotency::default(),
        description: Description::default(),
        sessions: build_sessions(&config, &urls, secret.secret, &clock, &embedding)?,
        activity: Activity::new(config.hub.activity_resolution),
        senders: Senders {
            proxies: networks(&config.hub.proxy_networks, "hub.proxy_networks")?,
            trusted: networks(&config.hub.trusted_downstream_ips, "hub.trusted_downstream_ips")?,
            lenient: external && config.hub.proxy_networks.is_empty(),
        },
        headers: extra_headers(&config)?,
        page_policy: config.hub.csp.clone().unwrap_or_else(|| embedding.policy.clone()),
        api_policy: format!("{}; default-src 'none'", embedding.policy),
        renderer: build_renderer(&config, &urls, clock.as_ref())?,
        config,
        db,
        clock,
        urls,
        metrics,
        notices,
        rbac,
        auth,
        servers,
        workspaces,
        routing,
        files: StaticFiles,
        managed: crate::services::managed::Managed::new(service_key.into()),
        shutdown: shutdown::ShutdownRequest::default(),
        tasks,
    })
}

/// The proxy in a process of its own.
fn external_proxy(config: &Config, client: reqwest::ClientBuilder) -> anyhow::Result<ExternalProxy> {
    let url = config.proxy_api_url();
    let Some(auth_token) = config.proxy.auth_token.clone() else {
        bail!(
            "proxy.auth_token is missing: set it, or CONFIGPROXY_AUTH_TOKEN, to the token of the proxy at {url}"
        );
    };
    let api_url = Url::parse(&url).with_context(|| format!("proxy.api_url: {url:?} is no URL"))?;
    Ok(ExternalProxy::new(ExternalSettings { api_url, auth_token }, client)?)
}

/// What the hub's own clients are made of.
fn internal_client(internal: Option<&InternalSsl>, peer: Peer) -> anyhow::Result<reqwest::ClientBuilder> {
    let builder = reqwest::Client::builder();
    match internal {
        Some(internal) => internal.client(builder, peer),
        None => Ok(builder),
    }
}

/// Where the hub is found. `bound` is the address that it listens on.
fn urls(config: &Config, bound: SocketAddr) -> anyhow::Result<Urls> {
    let connect = match config.hub.hub_connect_url.as_deref().or(config.spawner.hub_connect_url.as_deref()) {
        Some(text) => Url::parse(text).with_context(|| format!("hub.hub_connect_url: {text:?} is no URL"))?,
        None => reached_at(&config.hub, bound)?,
    };
    let public = config
        .hub
        .public_url
        .as_deref()
        .map(|text| Url::parse(text).with_context(|| format!("hub.public_url: {text:?} is no URL")))
        .transpose()?;
    let urls = Urls::new(&config.hub.base_url, &connect, public);
    Ok(match config.hub.subdomain_host() {
        Some(text) => {
            let above =
                Url::parse(&text).with_context(|| format!("hub.subdomain_host: {text:?} is no URL"))?;
            urls.with_hosts(above, config.hub.subdomain_hook.into())
        }
        None => urls,
    })
}

fn crypt(config: &Config) -> anyhow::Result<Arc<Crypt>> {
    let keys = config.hub.crypt_keys.iter().map(hub_core::secret::ExposeSecret::expose_secret);
    let crypt = Crypt::new(keys).context("hub.crypt_keys")?;
    if config.authenticator.enable_auth_state && !crypt.is_enabled() {
        bail!("authenticator.enable_auth_state needs a key: set hub.crypt_keys or JUPYTERHUB_CRYPT_KEY");
    }
    Ok(Arc::new(crypt))
}

/// How the configuration wants the database to be reached.
pub(in crate::app) fn db_options(section: &hub_config::DbSection) -> DbOptions {
    let mut options = DbOptions::new(section.url.expose_secret().to_owned());
    options.password.clone_from(&section.password);
    options.max_connections = section.max_connections;
    options.acquire_timeout = section.acquire_timeout;
    options.statement_timeout = section.statement_timeout;
    options.write_timeout = section.write_timeout;
    options
}

/// Brings the database up to date, and tells so; `None`: it was.
pub(super) async fn upgrade(db: &Db, precaution: Precaution) -> anyhow::Result<Option<Upgraded>> {
    let upgraded = hub_db::schema::upgrade(db, precaution, SystemClock.now()).await?;
    if let Some(Upgraded { from, backup }) = &upgraded {
        let backup = backup.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        info!(from, backup, "the database is up to date");
    }
    Ok(upgraded)
}

async fn open_database(config: &Config) -> anyhow::Result<Db> {
    let db = Db::connect(db_options(&config.db)).await?;
    if config.db.upgrade_db
        && let Some(done) = upgrade(&db, Precaution::Backup).await?
        && let Some(Backup::Tables { script, .. }) = done.backup
    {
        info!("how to go back to the database before the upgrade:\n{script}");
    }
    hub_db::schema::create(&db).await?;
    repo::oauth::ensure_hub_client(db.conn()).await?;
    Ok(db)
}
