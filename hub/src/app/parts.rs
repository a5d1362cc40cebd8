//! Makes the parts of the hub from the configuration and puts them together. Answers to `JupyterHub.initialize`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use hub_config::{Config, SpawnerSection};
use hub_core::scopes::{CustomScope, ScopeTable};
use hub_core::secret::{ExposeSecret as _, SecretSlice};
use hub_core::spawner::Resources;
use hub_core::{
    Authenticator, AuthenticatorContext, Clock, PluginError, SpawnHook, Spawner, SpawnerContext, SystemClock,
};
use hub_db::{Db, DbOptions, repo};
use tracing::{info, warn};
use url::Url;

use super::embedding::Embedding;
use super::listen::reachable;
use super::tasks::Tasks;
use super::{Hub, first_admin, shutdown};
use crate::activity::Activity;
use crate::audit::Audit;
use crate::auth::chain::{self, Chain};
use crate::auth::crypt::Crypt;
use crate::auth::looks::Looks;
use crate::auth::names::NameRules;
use crate::auth::throttle::{Limits, Throttle};
use crate::auth::{AllowRules, Auth, AuthSettings};
use crate::events::Events;
use crate::known::KnownRows;
use crate::metrics::Metrics;
use crate::rbac::Rbac;
use crate::registry::Registry;
use crate::render::{RenderOptions, Renderer, StaticFiles};
use crate::routing::{ExternalProxy, ExternalSettings, InProcess, Proxy, Routing};
use crate::servers::env::EnvSettings;
use crate::servers::spawners::Spawners;
use crate::servers::store::{GrantSettings, Store};
use crate::servers::{Parts, ServerSettings, Servers};
use crate::sessions::xsrf::Network;
use crate::sessions::{SessionSettings, Sessions};
use crate::urls::Urls;
use crate::web::api::{Description, Idempotency};
use crate::web::facts::Senders;
use crate::workspaces::{WorkspaceHook, Workspaces};

/// Puts the parts together.
pub(super) async fn build(
    config: Arc<Config>,
    bound: SocketAddr,
    own_proxy: Option<InProcess>,
    tasks: Tasks,
    registry: &Registry,
) -> anyhow::Result<Hub> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::new(&config.metrics.prefix).context("metrics.prefix")?);
    let urls = Arc::new(urls(&config, bound)?);
    let db = open_database(&config).await?;

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

    let proxy = match own_proxy {
        Some(own) => Proxy::InProcess(own),
        None => {
            let Some(token) = config.proxy.auth_token.clone() else {
                bail!(
                    "proxy.auth_token is missing: set it, or CONFIGPROXY_AUTH_TOKEN, to the token of the proxy at {}",
                    config.proxy.api_url
                );
            };
            let api_url = Url::parse(&config.proxy.api_url)
                .with_context(|| format!("proxy.api_url: {:?} is no URL", config.proxy.api_url))?;
            Proxy::External(ExternalProxy::new(ExternalSettings { api_url, auth_token: token })?)
        }
    };
    let routing = Arc::new(Routing::new(proxy, Arc::clone(&metrics)));
    let events = match &config.events.log_file {
        None => Events::disabled(Arc::clone(&clock)),
        Some(path) => Events::to_file(path, Arc::clone(&clock))
            .with_context(|| format!("events.log_file: cannot write to {}", path.display()))?,
    };
    let events = Arc::new(events);
    let audit = match &config.audit.file {
        None => Audit::disabled(Arc::clone(&clock)),
        Some(path) => Audit::to_file(path, config.audit.max_size, Arc::clone(&clock))?,
    };
    let grants = GrantSettings {
        server_token_scopes: config.spawner.server_token_scopes.clone(),
        client_allowed_scopes: config.spawner.oauth_client_allowed_scopes.clone(),
    };
    let workspaces = Workspaces::of(&config.workspaces)?;
    let store =
        Store::new(db.clone(), Arc::clone(&rbac), crypt, Arc::clone(&urls), Arc::clone(&clock), grants);
    let servers = Servers::new(Parts {
        store,
        spawners: build_spawners(&config, &db, registry)?,
        settings: server_settings(&config, &config.spawner, &embedding),
        profiles: profile_settings(&config, &embedding),
        hooks: spawn_hooks(workspaces.as_ref(), auth.authenticator.as_ref()),
        routing: Arc::clone(&routing),
        urls: Arc::clone(&urls),
        metrics: Arc::clone(&metrics),
        events: Arc::clone(&events),
        clock: Arc::clone(&clock),
        tasks: tasks.clone(),
    })?;
    Ok(Hub {
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
        rbac,
        auth,
        servers,
        workspaces,
        routing,
        files: StaticFiles,
        managed: crate::services::managed::Managed::default(),
        shutdown: shutdown::ShutdownRequest::default(),
        tasks,
    })
}

/// Refuses to give a shell to the network, unless somebody said that this is meant. An `external` proxy listens where
/// nobody here knows.
fn check_public(
    config: &Config,
    authenticator: &dyn Authenticator,
    external: bool,
) -> Result<(), PluginError> {
    if !authenticator.lets_everybody_in() || config.hub.allow_public_without_authentication {
        return Ok(());
    }
    let (key, what) = if external {
        ("authenticator.kind", "the proxy is another process, which may listen anywhere,")
    } else if !config.proxy.bind_url.is_loopback() {
        ("proxy.bind_url", "this is a public address")
    } else if !config.hub.hub_bind_url.is_loopback() {
        ("hub.hub_bind_url", "this is a public address")
    } else {
        return Ok(());
    };
    let text = format!(
        "{what} and the authenticator {:?} lets everybody in; set a password or choose another authenticator, listen on \
         127.0.0.1, or say that you mean it with hub.allow_public_without_authentication = true",
        config.authenticator.kind
    );
    Err(PluginError::one(key, text))
}

/// Where the hub is found. `bound` is the address that it listens on.
fn urls(config: &Config, bound: SocketAddr) -> anyhow::Result<Urls> {
    let connect = match config.hub.hub_connect_url.as_deref().or(config.spawner.hub_connect_url.as_deref()) {
        Some(text) => Url::parse(text).with_context(|| format!("hub.hub_connect_url: {text:?} is no URL"))?,
        None => Url::parse(&format!("http://{}", reachable(bound)))?,
    };
    let public = config
        .hub
        .public_url
        .as_deref()
        .map(|text| Url::parse(text).with_context(|| format!("hub.public_url: {text:?} is no URL")))
        .transpose()?;
    Ok(Urls::new(&config.hub.base_url, &connect, public))
}

fn crypt(config: &Config) -> anyhow::Result<Arc<Crypt>> {
    let keys = config.hub.crypt_keys.iter().map(hub_core::secret::ExposeSecret::expose_secret);
    let crypt = Crypt::new(keys).context("hub.crypt_keys")?;
    if config.authenticator.enable_auth_state && !crypt.is_enabled() {
        bail!("authenticator.enable_auth_state needs a key: set hub.crypt_keys or JUPYTERHUB_CRYPT_KEY");
    }
    Ok(Arc::new(crypt))
}

/// What is done before each start: workspaces first, then what the authenticator has to say.
fn spawn_hooks(
    workspaces: Option<&Arc<Workspaces>>,
    authenticator: &dyn Authenticator,
) -> Vec<Arc<dyn SpawnHook>> {
    let own = workspaces.map(|all| Arc::new(WorkspaceHook(Arc::clone(all))) as Arc<dyn SpawnHook>);
    own.into_iter().chain(authenticator.spawn_hooks()).collect()
}

/// How the configuration wants the database to be reached.
pub(super) fn db_options(section: &hub_config::DbSection) -> DbOptions {
    let mut options = DbOptions::new(section.url.expose_secret().to_owned());
    options.password.clone_from(&section.password);
    options.max_connections = section.max_connections;
    options.acquire_timeout = section.acquire_timeout;
    options.statement_timeout = section.statement_timeout;
    options.write_timeout = section.write_timeout;
    options
}

async fn open_database(config: &Config) -> anyhow::Result<Db> {
    let db = Db::connect(db_options(&config.db)).await?;
    if config.db.upgrade_db
        && let Some(done) = hub_db::schema::upgrade(&db, SystemClock.now()).await?
    {
        info!(?done, "database upgraded");
    }
    hub_db::schema::create(&db).await?;
    repo::oauth::ensure_hub_client(db.conn()).await?;
    Ok(db)
}

fn build_auth(
    config: &Config,
    options: serde_json::Value,
    clock: &Arc<dyn Clock>,
    crypt: Arc<Crypt>,
    urls: &Urls,
    registry: &Registry,
) -> anyhow::Result<Auth> {
    let section = &config.authenticator;
    let names = Arc::new(
        NameRules::new(section.username_map.clone(), &section.username_pattern).with_context(|| {
            format!("authenticator.username_pattern: {:?} is no regular expression", section.username_pattern)
        })?,
    );
    let normalised = |list: &[String]| list.iter().map(|name| names.normalize(name)).collect::<BTreeSet<_>>();
    let admins = normalised(&section.admin_users);
    let users = normalised(&section.allowed_users);
    let normalise = Arc::clone(&names);
    let context = AuthenticatorContext {
        clock: Arc::clone(clock),
        admin_users: admins.clone(),
        manage_groups: section.manage_groups,
        manage_roles: section.manage_roles,
        auth_state: section.enable_auth_state,
        login_service: section.login_service.clone(),
        hub_path: urls.hub().to_owned(),
        public_origin: urls.public().map(|url| url.origin().ascii_serialization()),
        normalise: Arc::new(move |name| normalise.normalize(name)),
    };
    let authenticator: Arc<dyn Authenticator> = if section.kind == chain::KIND {
        Arc::new(Chain::build(section, registry, &context)?)
    } else {
        (registry.authenticator(&section.kind)?.build)(options, &context)?
    };
    let open_by_nature = matches!(section.kind.as_str(), "dummy");
    Ok(Auth {
        authenticator,
        allow: AllowRules {
            all: section.allow_all.unwrap_or(open_by_nature && users.is_empty()),
            existing: section.allow_existing_users.unwrap_or(!users.is_empty()),
            users,
            blocked: normalised(&section.blocked_users),
            admins,
        },
        names,
        crypt,
        settings: AuthSettings {
            manage_groups: section.manage_groups,
            manage_roles: section.manage_roles,
            auth_state: section.enable_auth_state,
            refresh_age: section.auth_refresh_age,
            refresh_pre_spawn: section.refresh_pre_spawn,
            refresh_strict: section.auth_refresh_strict,
            auto_login: section.auto_login,
            auto_login_oauth: section.auto_login_oauth2_authorize,
            shutdown_on_logout: config.hub.shutdown_on_logout,
        },
        looks: Looks::new(section.auth_refresh_age),
        throttle: Throttle::new(Limits {
            account: section.login_failures_per_account,
            network: section.login_failures_per_network,
            window: section.login_failures_window,
        }),
    })
}

fn build_spawners(config: &Config, db: &Db, registry: &Registry) -> anyhow::Result<Spawners> {
    let directory = db.file().and_then(std::path::Path::parent).filter(|path| !path.as_os_str().is_empty());
    let directory = directory.map_or_else(std::env::current_dir, std::path::absolute)?;
    spawners(config, &directory, nix::unistd::geteuid().is_root(), registry)
}

/// Lets authenticator and spawners read their options, without starting anything.
pub(super) fn check(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    // Whoever checks a configuration need not be who runs the hub: the rights of root are taken for granted.
    let spawners = spawners(config, &std::env::current_dir()?, true, registry).map(drop);
    for checked in [spawners, check_authenticator(config, registry)] {
        match checked.map_err(anyhow::Error::downcast::<PluginError>) {
            Ok(()) => {}
            Err(Ok(wrong)) => problems.extend(wrong.problems),
            Err(Err(other)) => return Err(other),
        }
    }
    Ok(PluginError::check(problems)?)
}

fn check_authenticator(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    let section = &config.authenticator;
    let mut options = section.options(&section.kind);
    if section.kind == first_admin::KIND {
        // What is filled in depends on the cookie secret, whether it is right does not.
        (options, _) = first_admin::fill(options, &[]);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let urls = urls(config, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let auth = build_auth(config, options, &clock, crypt(config)?, &urls, registry)?;
    Ok(check_public(config, auth.authenticator.as_ref(), !config.proxy.should_start)?)
}

fn spawners(config: &Config, directory: &Path, root: bool, registry: &Registry) -> anyhow::Result<Spawners> {
    let build = |section: &SpawnerSection, path: &str| -> anyhow::Result<Arc<dyn Spawner>> {
        let plugin = registry.spawner(&section.kind)?;
        let context = SpawnerContext {
            section: path.to_owned(),
            ip: section.ip.clone(),
            port: section.port,
            shared: section.shared(),
            env_keep: section.env_keep.clone(),
            state_dir: directory.join("himalia-servers"),
            environment: hub_config::Sources::process_env(),
            root,
            reenter: vec!["/proc/self/exe".into()],
        };
        Ok((plugin.build)(section.options(&section.kind), &context)?)
    };
    let mut profiles = BTreeMap::new();
    for (name, profile) in &config.spawner.profiles {
        let spawner = build(&profile.spawner, &format!("spawner.profiles.{name}"))?;
        profiles.insert(name.clone(), spawner);
    }
    let usual = config.spawner.usual_profile().map(str::to_owned);
    Ok(Spawners::new(build(&config.spawner, "spawner")?, profiles, usual))
}

fn profile_settings(config: &Config, embedding: &Embedding) -> BTreeMap<String, ServerSettings> {
    let profiles = config.spawner.profiles.iter();
    profiles
        .map(|(name, profile)| (name.clone(), server_settings(config, &profile.spawner, embedding)))
        .collect()
}

fn server_settings(config: &Config, section: &SpawnerSection, embedding: &Embedding) -> ServerSettings {
    ServerSettings {
        start_timeout: section.start_timeout,
        http_timeout: section.http_timeout,
        poll_interval: section.poll_interval,
        command: section.command(),
        args: embedding.arguments_after(&section.args),
        resources: Resources {
            mem_limit: section.mem_limit,
            mem_guarantee: section.mem_guarantee,
            cpu_limit: section.cpu_limit,
            cpu_guarantee: section.cpu_guarantee,
        },
        env: EnvSettings {
            cookie_options: embedding.server_cookies.clone(),
            cookie_host_prefix: config.hub.cookie_host_prefix_enabled,
            admin_access: config.hub.admin_access,
            client_allowed_scopes: section.oauth_client_allowed_scopes.clone(),
            notebook_dir: section.notebook_dir.clone(),
            default_url: section.default_url.clone(),
            disable_user_config: section.disable_user_config,
            debug: section.debug,
            environment: section.environment.clone(),
        },
        concurrent_starts: config.hub.concurrent_spawn_limit as usize,
        consecutive_failure_limit: section.consecutive_failure_limit,
    }
}

fn networks(texts: &[String], key: &str) -> anyhow::Result<Vec<Network>> {
    texts
        .iter()
        .map(|text| {
            Network::parse(text)
                .with_context(|| format!("{key}: {text:?} is neither an address nor a network"))
        })
        .collect()
}

fn build_renderer(config: &Config, urls: &Urls, clock: &dyn Clock) -> anyhow::Result<Renderer> {
    Ok(Renderer::new(RenderOptions {
        template_paths: config.templates.paths.clone(),
        template_vars: config.templates.vars.clone(),
        static_prefix: urls.hub_path("static/"),
        version_hash: clock.now().timestamp().to_string(),
        custom_logo: config.templates.logo_file.is_some(),
    })?)
}

fn build_sessions(
    config: &Config,
    urls: &Urls,
    secret: SecretSlice<u8>,
    clock: &Arc<dyn Clock>,
    embedding: &Embedding,
) -> anyhow::Result<Sessions> {
    let section = &config.hub;
    let settings = SessionSettings {
        base: urls.base().to_owned(),
        max_age: section.cookie_max_age,
        host_prefix: section.cookie_host_prefix_enabled,
        options: embedding.hub_cookies.clone(),
        xsrf_options: embedding.xsrf_cookies.clone(),
        anonymous_headers: section.xsrf_anonymous_id_headers.clone(),
        anonymous_networks: networks(&section.xsrf_anonymous_ip_cidrs, "hub.xsrf_anonymous_ip_cidrs")?,
        public_https: urls.public().map(|url| url.scheme() == "https"),
    };
    Ok(Sessions::new(secret, settings, Arc::clone(clock)))
}

fn extra_headers(
    config: &Config,
) -> anyhow::Result<Vec<(actix_web::http::header::HeaderName, actix_web::http::header::HeaderValue)>> {
    config
        .hub
        .headers
        .iter()
        .map(|(name, value)| {
            let name = name.parse().with_context(|| format!("hub.headers: {name:?} is no header name"))?;
            let value = value.parse().with_context(|| format!("hub.headers.{name}: not a header value"))?;
            Ok((name, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hub_config::BindUrl;

    use super::*;

    #[test]
    fn who_lets_everybody_in_listens_on_loopback_or_says_that_it_is_meant() {
        let context = AuthenticatorContext {
            clock: Arc::new(SystemClock),
            admin_users: BTreeSet::new(),
            manage_groups: false,
            manage_roles: false,
            auth_state: false,
            login_service: String::new(),
            hub_path: "/hub/".to_owned(),
            public_origin: None,
            normalise: Arc::new(str::to_owned),
        };
        let dummy = |options| {
            (Registry::built_in().authenticator("dummy").unwrap().build)(options, &context).unwrap()
        };
        let (open, closed) = (dummy(serde_json::json!({})), dummy(serde_json::json!({"password": "x"})));
        let public = |host: &str| BindUrl::http(host, 8000);
        for (proxy, hub, external, named) in [
            ("127.0.0.1", "127.0.0.1", false, None),
            ("", "127.0.0.1", false, Some("proxy.bind_url")),
            ("127.0.0.1", "0.0.0.0", false, Some("hub.hub_bind_url")),
            ("127.0.0.1", "127.0.0.1", true, Some("another process")),
        ] {
            let mut config = Config::default();
            (config.proxy.bind_url, config.hub.hub_bind_url) = (public(proxy), public(hub));
            let text = check_public(&config, open.as_ref(), external).err().map(|error| error.to_string());
            match named {
                Some(named) => assert!(text.is_some_and(|text| text.contains(named)), "{named}"),
                None => assert_eq!(text, None),
            }
            assert!(check_public(&config, closed.as_ref(), external).is_ok());
            config.hub.allow_public_without_authentication = true;
            assert!(check_public(&config, open.as_ref(), external).is_ok());
        }
    }
}
