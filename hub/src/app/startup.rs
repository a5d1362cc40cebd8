//! From a configuration to a hub that answers. Answers to `JupyterHub.initialize` and `start`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use anyhow::{Context as _, bail};
use hub_config::{BindUrl, Config, Listen, Loaded};
use hub_core::scopes::{CustomScope, ScopeTable};
use hub_core::secret::{ExposeSecret as _, SecretSlice, SecretString};
use hub_core::spawner::Resources;
use hub_core::{Authenticator, AuthenticatorContext, Clock, Spawner, SpawnerContext, SystemClock};
use hub_db::{Db, DbOptions, repo};
use hub_proxy::{Proxy as PublicProxy, ProxyOptions, RouteTable};
use tracing::{info, warn};
use url::Url;

use super::tasks::Tasks;
use super::{Hub, Mode, first_admin, periodic, shutdown};
use crate::activity::Activity;
use crate::auth::crypt::Crypt;
use crate::auth::names::NameRules;
use crate::auth::{AllowRules, Auth, AuthSettings, login};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::rbac::{Rbac, roles};
use crate::render::{RenderOptions, Renderer, StaticFiles};
use crate::routing::{ExternalProxy, ExternalSettings, Proxy, Routing};
use crate::servers::env::EnvSettings;
use crate::servers::spawners::Spawners;
use crate::servers::store::{GrantSettings, Store};
use crate::servers::{Parts, ServerSettings, Servers};
use crate::sessions::xsrf::Network;
use crate::sessions::{SessionSettings, Sessions};
use crate::urls::Urls;
use crate::registry::Registry;
use crate::web as pages;

/// Runs the hub until it is told to stop.
pub async fn run(loaded: Loaded, mode: Mode, runtime: tokio::runtime::Handle) -> anyhow::Result<()> {
    let began = Instant::now();
    let config = Arc::new(loaded.config);
    info!(version = env!("CARGO_PKG_VERSION"), "Running Himalia, speaking JupyterHub {}", crate::JUPYTERHUB_VERSION);
    let listener = bind(&config.hub.hub_bind_url, "hub.hub_bind_url")?;
    let bound = listener.local_addr()?;
    let in_process = mode == Mode::Serve && config.proxy.should_start;
    let routes = RouteTable::new(false);
    let public = if in_process { Some(bind_proxy(&config, bound, Arc::clone(&routes))?) } else { None };

    let hub = web::Data::new(build(Arc::clone(&config), bound, in_process.then_some(routes), Tasks::on(runtime.clone()), &Registry::built_in()).await?);
    hub.init().await?;

    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8);
    let shared = hub.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(shared.clone()).wrap(actix_web::middleware::from_fn(pages::middleware::around)).configure(
            |cfg| pages::routes::configure(cfg, &shared),
        )
    })
    .workers(workers)
    .disable_signals()
    .shutdown_timeout(5)
    .client_request_timeout(Duration::from_secs(30))
    .listen(listener)
    .context("cannot serve the hub")?
    .run();
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);

    let stop = hub.tasks.stopping();
    let public_url = public.as_ref().map(|_| hub.public_address());
    let proxying = public.map(|proxy| runtime.spawn(proxy.run(stop.clone())));
    hub.begin().await?;
    periodic::start(&hub.clone().into_inner());
    hub.metrics.started(began.elapsed());
    info!(ms = began.elapsed().as_millis(), "JupyterHub is now running at {}", public_url.unwrap_or_else(|| hub.urls.hub().to_owned()));
    hub.greet();

    let reason = shutdown::wait(&hub).await;
    shutdown::stop(&hub, reason, handle, proxying).await?;
    serving.await.context("the hub's web server was lost")??;
    if reason == shutdown::Reason::GaveUp {
        bail!("too many servers failed to start in a row (spawner.consecutive_failure_limit)");
    }
    Ok(())
}

/// A hub that listens nowhere, with the plugins of `registry` and a proxy that is only a table of routes: what tests
/// send requests to through [`crate::web::routes::configure`]. `bound` is where its servers would reach it.
pub async fn without_sockets(
    config: Config,
    bound: SocketAddr,
    registry: &Registry,
) -> anyhow::Result<web::Data<Hub>> {
    let tasks = Tasks::on(tokio::runtime::Handle::current());
    let hub = build(Arc::new(config), bound, Some(RouteTable::new(false)), tasks, registry).await?;
    hub.init().await?;
    hub.begin().await?;
    Ok(web::Data::new(hub))
}

/// Runs the proxy alone, with the REST API by which a hub feeds it.
pub async fn run_proxy(loaded: Loaded) -> anyhow::Result<()> {
    let config = loaded.config;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Some(token) = config.proxy.auth_token.as_ref().map(|token| token.expose_secret().to_owned()) else {
        bail!("proxy.auth_token is missing: set it, or CONFIGPROXY_AUTH_TOKEN, to the token that the hub uses");
    };
    let api_url = Url::parse(&config.proxy.api_url)
        .with_context(|| format!("proxy.api_url: {:?} is no URL", config.proxy.api_url))?;
    let host = api_url.host_str().unwrap_or("127.0.0.1").trim_matches(['[', ']']).to_owned();
    let api_address = BindUrl::http(host, api_url.port_or_known_default().unwrap_or(8001));
    let api_address = socket_addresses(&api_address, "proxy.api_url")?;
    let api_address = api_address.first().context("proxy.api_url: the host has no address")?;
    let hub = match config.hub.hub_connect_url.as_deref() {
        Some(text) => Url::parse(text).with_context(|| format!("hub.hub_connect_url: {text:?} is no URL"))?,
        None => {
            let bound = socket_addresses(&config.hub.hub_bind_url, "hub.hub_bind_url")?;
            let bound = bound.first().context("hub.hub_bind_url: the host has no address")?;
            Url::parse(&format!("http://{}", reachable(*bound)))?
        }
    };
    let routes = RouteTable::new(false);
    let options = ProxyOptions { default_target: Some(hub.to_string()), ..proxy_options(&config, &hub)? };
    let public = PublicProxy::bind(options, Arc::clone(&routes))?;
    let api = hub_proxy::api::Api::bind(&hub_proxy::Listen::Tcp(*api_address), Some(token), routes, public.metrics())?;
    let stop = tokio_util::sync::CancellationToken::new();
    let signalled = stop.clone();
    let api = tokio::spawn(api.run(stop.clone()));
    let public = tokio::spawn(public.run(stop));
    info!(api = %api_address, "proxy is running at {}", show(&config.proxy.bind_url));
    shutdown::signalled().await;
    signalled.cancel();
    public.await??;
    api.await??;
    Ok(())
}

/// Binds a TCP address, with an error that names key and remedy.
fn bind(url: &BindUrl, key: &str) -> anyhow::Result<TcpListener> {
    let addresses = socket_addresses(url, key)?;
    match TcpListener::bind(addresses.as_slice()) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{key}: the address {} is in use; stop the other program or choose another port", show(url))
        }
        Err(error) => bail!("{key}: cannot listen on {}: {error}", show(url)),
    }
}

fn show(url: &BindUrl) -> String {
    format!("{}:{}", url.host().unwrap_or_default(), url.port().unwrap_or_default())
}

fn socket_addresses(url: &BindUrl, key: &str) -> anyhow::Result<Vec<SocketAddr>> {
    match &url.listen {
        Listen::Unix(path) => bail!("{key}: unix sockets are not supported here yet ({}); give a TCP address", path.display()),
        Listen::Tcp { host, port } => {
            let host = if host.is_empty() { "0.0.0.0" } else { host.as_str() };
            let found: Vec<_> = (host, *port)
                .to_socket_addrs()
                .with_context(|| format!("{key}: the host {host:?} is not known"))?
                .collect();
            Ok(found)
        }
    }
}

fn bind_proxy(config: &Config, hub: SocketAddr, routes: Arc<RouteTable>) -> anyhow::Result<PublicProxy> {
    let hub = Url::parse(&format!("http://{}", reachable(hub)))?;
    Ok(PublicProxy::bind(proxy_options(config, &hub)?, routes)?)
}

/// Options of the public side. `hub` is where the proxy reaches the hub.
fn proxy_options(config: &Config, hub: &Url) -> anyhow::Result<ProxyOptions> {
    let section = &config.proxy;
    let listen = socket_addresses(&section.bind_url, "proxy.bind_url")?
        .into_iter()
        .take(1)
        .map(hub_proxy::Listen::Tcp)
        .collect();
    let root = hub.as_str().trim_end_matches('/');
    let mut options = ProxyOptions {
        listen,
        workers: std::num::NonZeroUsize::new(section.workers as usize),
        error_target: Some(format!("{root}{}hub/error", config.hub.base_url)),
        ..ProxyOptions::default()
    };
    options.timeouts.keep_alive = section.keep_alive_timeout;
    options.timeouts.connect = section.connect_timeout;
    options.timeouts.drain = section.drain_timeout;
    options.timeouts.client = (!section.timeout.is_zero()).then_some(section.timeout);
    options.timeouts.response = (!section.proxy_timeout.is_zero()).then_some(section.proxy_timeout);
    if section.max_connections > 0 {
        options.limits.client_connections = section.max_connections as usize;
    }
    if let (Some(key), Some(certificate)) = (&section.ssl_key, &section.ssl_cert) {
        options.tls = Some(hub_proxy::options::TlsFiles { key: key.clone(), certificate: certificate.clone() });
    }
    Ok(options)
}

/// The address at which a listener is reached on this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let mut address = bound;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// Puts the parts together.
async fn build(
    config: Arc<Config>,
    bound: SocketAddr,
    routes: Option<Arc<RouteTable>>,
    tasks: Tasks,
    registry: &Registry,
) -> anyhow::Result<Hub> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::new(&config.metrics.prefix).context("metrics.prefix")?);
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
    let urls = Arc::new(Urls::new(&config.hub.base_url, &connect, public));
    let db = open_database(&config).await?;

    let custom = config.custom_scopes.iter().map(|(name, scope)| CustomScope {
        name: name.clone(),
        description: scope.description.clone(),
        subscopes: scope.subscopes.clone(),
    });
    let table = ScopeTable::with_custom(custom).context("custom_scopes")?;
    let rbac = Arc::new(Rbac::new(table, Arc::clone(&clock)));
    let crypt = Arc::new(Crypt::new(config.hub.crypt_keys.iter().map(|key| key.expose_secret())).context("hub.crypt_keys")?);
    if config.authenticator.enable_auth_state && !crypt.is_enabled() {
        bail!("authenticator.enable_auth_state needs a key: set hub.crypt_keys or JUPYTERHUB_CRYPT_KEY");
    }

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
    let auth = build_auth(&config, auth_options, &clock, Arc::clone(&crypt), registry)?;
    if auth.authenticator.lets_everybody_in()
        && !config.proxy.bind_url.is_loopback()
        && !config.hub.allow_public_without_authentication
    {
        bail!(
            "proxy.bind_url is a public address and the authenticator {:?} lets everybody in; \
             set a password or choose another authenticator, listen on 127.0.0.1, or say that you mean it with \
             hub.allow_public_without_authentication = true",
            config.authenticator.kind
        );
    }

    let proxy = match routes {
        Some(table) => Proxy::InProcess(table),
        None => {
            let Some(token) = config.proxy.auth_token.clone() else {
                bail!("proxy.auth_token is missing: set it, or CONFIGPROXY_AUTH_TOKEN, to the token of the proxy at {}", config.proxy.api_url);
            };
            let api_url = Url::parse(&config.proxy.api_url)
                .with_context(|| format!("proxy.api_url: {:?} is no URL", config.proxy.api_url))?;
            Proxy::External(ExternalProxy::new(ExternalSettings { api_url, auth_token: token })?)
        }
    };
    let routing = Arc::new(Routing::new(proxy, Arc::clone(&metrics)));
    let events = Arc::new(Events::disabled(Arc::clone(&clock)));
    let grants = GrantSettings {
        server_token_scopes: config.spawner.server_token_scopes.clone(),
        client_allowed_scopes: config.spawner.oauth_client_allowed_scopes.clone(),
    };
    let store =
        Store::new(db.clone(), Arc::clone(&rbac), crypt, Arc::clone(&urls), Arc::clone(&clock), grants);
    let servers = Servers::new(Parts {
        store,
        spawners: build_spawners(&config, &db, registry)?,
        settings: server_settings(&config),
        hooks: Vec::new(),
        routing: Arc::clone(&routing),
        urls: Arc::clone(&urls),
        metrics: Arc::clone(&metrics),
        events: Arc::clone(&events),
        clock: Arc::clone(&clock),
        tasks: tasks.clone(),
    })?;
    let renderer = Renderer::new(RenderOptions {
        template_paths: config.templates.paths.clone(),
        template_vars: config.templates.vars.clone(),
        static_prefix: urls.hub_path("static/"),
        version_hash: clock.now().timestamp().to_string(),
        custom_logo: config.templates.logo_file.is_some(),
    })?;
    Ok(Hub {
        first_login,
        sessions: build_sessions(&config, &urls, secret.secret, &clock)?,
        activity: Activity::new(config.hub.activity_resolution),
        trusted: networks(&config.hub.trusted_downstream_ips, "hub.trusted_downstream_ips")?,
        headers: extra_headers(&config)?,
        page_policy: config.hub.csp.clone().unwrap_or_else(|| page_policy(&urls)),
        api_policy: format!("{}; default-src 'none'", page_policy(&urls)),
        config,
        db,
        clock,
        urls,
        metrics,
        rbac,
        auth,
        servers,
        routing,
        renderer,
        files: StaticFiles,
        shutdown: shutdown::ShutdownRequest::default(),
        tasks,
    })
}

fn page_policy(urls: &Urls) -> String {
    format!("frame-ancestors 'none'; report-uri {}", urls.hub_path("security/csp-report"))
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
    registry: &Registry,
) -> anyhow::Result<Auth> {
    let section = &config.authenticator;
    let names = Arc::new(
        NameRules::new(section.username_map.clone(), &section.username_pattern)
            .with_context(|| format!("authenticator.username_pattern: {:?} is no regular expression", section.username_pattern))?,
    );
    let normalised = |list: &[String]| list.iter().map(|name| names.normalize(name)).collect::<BTreeSet<_>>();
    let admins = normalised(&section.admin_users);
    let users = normalised(&section.allowed_users);
    let normalise = Arc::clone(&names);
    let context = AuthenticatorContext {
        clock: Arc::clone(clock),
        admin_users: admins.clone(),
        manage_groups: section.manage_groups,
        normalise: Arc::new(move |name| normalise.normalize(name)),
    };
    let plugin = registry.authenticator(&section.kind)?;
    let authenticator: Arc<dyn Authenticator> = (plugin.build)(options, &context)?;
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
            auth_state: section.enable_auth_state,
            refresh_age: section.auth_refresh_age,
            refresh_pre_spawn: section.refresh_pre_spawn,
            refresh_strict: section.auth_refresh_strict,
            auto_login: section.auto_login,
            auto_login_oauth: section.auto_login_oauth2_authorize,
            shutdown_on_logout: config.hub.shutdown_on_logout,
        },
        refreshed: moka::sync::Cache::builder()
            .max_capacity(100_000)
            .time_to_live(section.auth_refresh_age.max(Duration::from_secs(1)))
            .build(),
    })
}

fn build_spawners(config: &Config, db: &Db, registry: &Registry) -> anyhow::Result<Spawners> {
    let directory = db.file().and_then(std::path::Path::parent).filter(|path| !path.as_os_str().is_empty());
    let directory = directory.map_or_else(std::env::current_dir, std::path::absolute)?;
    let build = |section: &hub_config::SpawnerSection, path: &str| -> anyhow::Result<Arc<dyn Spawner>> {
        let plugin = registry.spawner(&section.kind)?;
        let context = SpawnerContext {
            section: path.to_owned(),
            ip: section.ip.clone(),
            port: section.port,
            env_keep: section.env_keep.clone(),
            state_dir: directory.join("himalia-servers"),
            environment: hub_config::Sources::process_env(),
            root: nix::unistd::geteuid().is_root(),
            reenter: vec!["/proc/self/exe".into()],
        };
        Ok((plugin.build)(section.options(&section.kind), &context)?)
    };
    let mut profiles = BTreeMap::new();
    for (name, profile) in &config.spawner.profiles {
        let spawner = build(&profile.spawner, &format!("spawner.profiles.{name}"))?;
        profiles.insert(name.clone(), spawner);
    }
    Ok(Spawners::new(build(&config.spawner, "spawner")?, profiles))
}

fn server_settings(config: &Config) -> ServerSettings {
    let section = &config.spawner;
    ServerSettings {
        start_timeout: section.start_timeout,
        http_timeout: section.http_timeout,
        poll_interval: section.poll_interval,
        command: section.cmd.clone(),
        args: section.args.clone(),
        resources: Resources {
            mem_limit: section.mem_limit,
            mem_guarantee: section.mem_guarantee,
            cpu_limit: section.cpu_limit,
            cpu_guarantee: section.cpu_guarantee,
        },
        env: EnvSettings {
            cookie_options: config.hub.cookie_options.clone(),
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
        .map(|text| Network::parse(text).with_context(|| format!("{key}: {text:?} is neither an address nor a network")))
        .collect()
}

fn build_sessions(config: &Config, urls: &Urls, secret: SecretSlice<u8>, clock: &Arc<dyn Clock>) -> anyhow::Result<Sessions> {
    let section = &config.hub;
    let settings = SessionSettings {
        base: urls.base().to_owned(),
        max_age: section.cookie_max_age,
        host_prefix: section.cookie_host_prefix_enabled,
        options: section.cookie_options.clone(),
        xsrf_options: section.xsrf_cookie_kwargs.clone(),
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

impl Hub {
    /// Roles, users, groups and services of the configuration, in one transaction.
    async fn init(&self) -> anyhow::Result<()> {
        let config = &self.config;
        let table = self.rbac.table();
        let tx = self.db.begin().await?;
        roles::load(&tx, config, table).await?;
        let mut names: BTreeSet<&str> = self.auth.allow.users.iter().map(String::as_str).collect();
        names.extend(self.auth.allow.admins.iter().map(String::as_str));
        let of_roles = config.roles.iter().flat_map(|role| role.users.iter().flatten()).map(|name| self.auth.names.normalize(name));
        let of_groups = config.groups.values().flat_map(|group| group.users()).map(|name| self.auth.names.normalize(name));
        let more: BTreeSet<String> = of_roles.chain(of_groups).collect();
        names.extend(more.iter().map(String::as_str));
        for name in names {
            self.auth.names.validate(name).with_context(|| format!("{name:?} is no user name"))?;
            login::ensure_user(self, &tx, name).await?;
        }
        for (name, group) in &config.groups {
            let row = match repo::groups::by_name(&tx, name).await? {
                Some(row) => row,
                None => repo::groups::create(&tx, name).await?,
            };
            let members: Vec<String> = group.users().iter().map(|name| self.auth.names.normalize(name)).collect();
            let ids: Vec<i32> = repo::users::by_names(&tx, &members).await?.iter().map(|user| user.id).collect();
            repo::groups::add_users(&tx, row.id, &ids).await?;
            if !group.properties().is_empty() {
                repo::groups::set_properties(&tx, row.id, group.properties().into()).await?;
            }
        }
        crate::services::init(self, &tx).await?;
        roles::assign(&tx, config, table, &self.auth.allow.admins).await?;
        tx.commit().await?;
        let purged = repo::purge::expired(self.db.conn(), self.clock.now()).await?;
        tracing::debug!(?purged, "expired rows deleted");
        Ok(())
    }

    /// Routes, the check of servers that ran before, and the periodic work.
    async fn begin(&self) -> anyhow::Result<()> {
        let records = self.servers.store.active().await?;
        // Servers whose address is known are routed before anything is checked: people at work notice nothing.
        self.check_routes().await.context("the proxy's routes cannot be set")?;
        self.servers.find_again(&records, self.config.hub.init_spawners_timeout.unwrap_or(Duration::MAX.min(Duration::from_secs(3600)))).await;
        self.servers.watch();
        Ok(())
    }

    /// Tells how to get in for the first time.
    fn greet(&self) {
        if let Some(login) = &self.first_login
            && let Err(error) = login.print(&self.public_address())
        {
            warn!(%error, "cannot print the link for the first administrator");
        }
    }

    /// Where people reach the hub, as far as the configuration tells.
    pub fn public_address(&self) -> String {
        if let Some(url) = self.urls.public() {
            return url.to_string();
        }
        let bind = &self.config.proxy.bind_url;
        let host = match bind.host() {
            None | Some("" | "0.0.0.0" | "::") => "127.0.0.1",
            Some(host) => host,
        };
        let scheme = if self.config.proxy.ssl_cert.is_some() { "https" } else { "http" };
        format!("{scheme}://{host}:{}{}", bind.port().unwrap_or(80), self.urls.base())
    }

    /// A secret that stays one.
    pub fn proxy_token(&self) -> Option<&SecretString> {
        self.config.proxy.auth_token.as_ref()
    }
}
