//! `[hub]`: what stock keeps in `c.JupyterHub` and in `tornado_settings`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hub_core::plugin::{DurationText, SecretText};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::addresses::{BaseUrlText, BindUrl};
use crate::durations::{OptionalDurationText, WaitText};
use crate::internal_ssl::AuthorityFiles;

/// The hub itself: addresses, sessions, limits, API.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct HubSection {
    /// The path below which everything lives: hub, servers, services. Raw or percent-encoded.
    #[serde(with = "BaseUrlText")]
    pub base_url: String,
    /// The address that people use, for example `https://lab.example.org/`. Needed for absolute links and where
    /// TLS ends in front of the proxy. The path of it, if any, must be the base URL.
    pub public_url: Option<String>,
    /// The address below which each user and service has a host name of its own, for example
    /// `https://lab.example.org`, so that what one person's server shows cannot touch another's. Without a scheme it is
    /// `https`. `*.lab.example.org` must lead to the proxy, and the certificate must hold for it. Empty: one host for all.
    pub subdomain_host: String,
    /// How names become host names.
    pub subdomain_hook: SubdomainHook,
    /// Where the hub itself listens; the proxy, servers and services connect here.
    pub hub_bind_url: BindUrl,
    /// Replaces the host of `hub_bind_url`; empty is all interfaces.
    pub hub_ip: Option<String>,
    /// Replaces the port of `hub_bind_url`.
    pub hub_port: Option<u16>,
    /// The address under which servers, services and an external proxy reach the hub, where it differs from
    /// `hub_bind_url` (containers, several machines). Without path.
    pub hub_connect_url: Option<String>,
    /// Has hub, proxy and servers speak TLS among each other, each with a certificate that the others demand. The
    /// authorities and certificates are made when they are missing. Switch it while no server runs.
    pub internal_ssl: bool,
    /// Folder of the authorities and certificates of `internal_ssl`, made when it is missing. One that JupyterHub made
    /// can be used. Hubs that share a database share it too. While servers run that were begun with others, the hub does
    /// not start.
    pub internal_certs_location: PathBuf,
    /// Makes all of them anew when the hub starts, which ends servers that run. For one start.
    pub recreate_internal_certs: bool,
    /// Names under which hub, proxy and local servers are reached besides those that are known, for their certificates:
    /// `DNS:hub.example.org`, `IP:10.0.0.7`.
    pub trusted_alt_names: Vec<String>,
    /// Authorities that somebody else made, by name. One named `hub-ca`, `notebooks-ca`, `proxy-api-ca`,
    /// `proxy-client-ca` or `services-ca` takes the place of the hub's own; of others the hub believes clients.
    pub external_ssl_authorities: BTreeMap<String, AuthorityFiles>,
    /// How long a request that starts a server waits for it, before it is answered with the "starting" page or
    /// status 202; the start goes on.
    #[serde(with = "DurationText")]
    pub slow_spawn_timeout: Duration,
    /// The same for stops.
    #[serde(with = "DurationText")]
    pub slow_stop_timeout: Duration,
    /// How often a browser may be sent to and fro between hub and server before an error ends it.
    pub user_redirect_limit: u32,

    /// Secret that signs cookies: 64 hexadecimal digits (32 bytes). Without it `cookie_secret_file` is used.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<SecretText>")]
    pub cookie_secret: Option<SecretString>,
    /// File with the cookie secret in hexadecimal digits; made with mode 0600 when it is missing. It must not be
    /// open to others.
    pub cookie_secret_file: PathBuf,
    /// How long a login lasts.
    #[serde(with = "DurationText")]
    pub cookie_max_age: Duration,
    /// Prefixes the names of cookies with `__Host-`, which browsers tie to one host and HTTPS.
    pub cookie_host_prefix_enabled: bool,
    /// Prefix of what the proxy sends to the hub, base URL included; all that no server is there for when left out.
    /// `/hub/` or `/hub/api/` where somebody else answers for servers that do not run.
    pub hub_routespec: Option<String>,
    /// Attributes of all cookies of the hub, also given to servers: `samesite`, `secure`, `domain`, ...
    pub cookie_options: Map<String, Value>,
    /// Attributes of the XSRF cookie; those of `cookie_options` when empty.
    pub xsrf_cookie_kwargs: Map<String, Value>,
    /// Request headers that, with the address, tell visitors who are not logged in apart for XSRF protection.
    pub xsrf_anonymous_id_headers: Vec<String>,
    /// Networks (`10.0.0.0/8`) whose addresses count as one for the same purpose, for clients behind several
    /// gateways.
    pub xsrf_anonymous_ip_cidrs: Vec<String>,
    /// Headers added to every response; they replace the hub's own of the same name.
    pub headers: BTreeMap<String, String>,
    /// Replaces the `Content-Security-Policy` of the hub's pages.
    pub csp: Option<String>,
    /// Origins whose pages may show hub and servers in a frame: `https://app.example.org`, `https://*.example.org`.
    /// Sets `frame-ancestors` and has cookies sent in frames (`SameSite=None`, `Secure`, those of the hub also
    /// `Partitioned`); single keys of `cookie_options` and `csp` win over that.
    pub embed_from: Vec<String>,
    /// Keys that encrypt what authenticators keep about people (`auth_state`): each 64 hexadecimal digits,
    /// 44 characters of URL-safe base64, or 32 raw characters. The first encrypts, all decrypt.
    #[serde(skip_serializing)]
    #[schemars(with = "Vec<SecretText>")]
    pub crypt_keys: Vec<SecretString>,
    /// Lets the hub listen on a public address, or behind a proxy in another process, although its authenticator lets
    /// everybody in.
    pub allow_public_without_authentication: bool,
    /// Addresses or networks of reverse proxies whose `X-Forwarded-For` and `X-Real-IP` are believed.
    pub trusted_downstream_ips: Vec<String>,
    /// Addresses or networks from which a proxy in another process connects to the hub; no server may have one of them.
    /// Needed only for configurable-http-proxy, where logins depend on addresses (`remote-user`), or where nobody shall
    /// choose the address that failed logins are counted for: a proxy of Himalia proves itself.
    pub proxy_networks: Vec<String>,

    /// Lets administrators use other people's servers.
    pub admin_access: bool,
    /// Further administrators; the same as `admin_users` of `[authenticator]`.
    pub admin_users: Vec<String>,
    /// Lets people have several servers, each with a name.
    pub allow_named_servers: bool,
    /// How many named servers one person may have; 0 is no limit.
    pub named_server_limit_per_user: u32,
    /// Name of the server that is meant where no name is given.
    pub default_server_name: String,
    /// Which names new named servers may have.
    pub server_names: ServerNames,
    /// What may be done with named servers from before version 6 whose names are not allowed for new ones.
    pub allow_existing_invalid_named_servers: ExistingInvalidNames,
    /// Sends people from the hub's address to their server rather than to the home page.
    pub redirect_to_server: bool,
    /// Where people land after login, when not their server. `{username}` is replaced.
    pub default_url: Option<String>,
    /// Starts a server that somebody visits while it is not running, after this time; 0 never does.
    #[serde(with = "DurationText")]
    pub implicit_spawn_seconds: Duration,
    /// Stops people's servers when they log out.
    pub shutdown_on_logout: bool,
    /// How many servers may be starting at once; 0 is no limit.
    pub concurrent_spawn_limit: u32,
    /// What becomes of starts beyond `concurrent_spawn_limit`.
    pub beyond_spawn_limit: BeyondLimit,
    /// How many servers may run at once; 0 is no limit.
    pub active_server_limit: u32,
    /// Answers requests to stopped servers with 503, as JupyterHub 1 did, instead of 424.
    pub use_legacy_stopped_server_status_code: bool,
    /// How long the start of the hub waits for the check of servers that ran before; then it goes on beside.
    #[serde(with = "WaitText")]
    pub init_spawners_timeout: Option<Duration>,
    /// Stops all servers when the hub stops.
    pub cleanup_servers: bool,
    /// Stops the proxy when the hub stops. One in the hub's process always does, so `false` is refused for it; one of
    /// another process (`proxy.should_start = false`) never does.
    pub cleanup_proxy: bool,

    /// Activity that is younger than this is not written again.
    #[serde(with = "DurationText")]
    pub activity_resolution: Duration,
    /// How often the activity seen by the proxy is collected and the proxy's routes are checked.
    #[serde(with = "DurationText")]
    pub last_activity_interval: Duration,
    /// How often services with an address are asked whether they answer.
    #[serde(with = "DurationText")]
    pub service_check_interval: Duration,
    /// How often managed services are looked after, and restarted when they ended.
    #[serde(with = "DurationText")]
    pub service_poll_interval: Duration,
    /// People seen within this time count as active.
    #[serde(with = "DurationText")]
    pub active_user_window: Duration,
    /// Whether `/hub/metrics` needs a token with `read:metrics`.
    pub authenticate_prometheus: bool,
    /// Entries on one page of API lists, when the request does not say.
    pub api_page_default_limit: u32,
    /// Most entries on one page.
    pub api_page_max_limit: u32,
    /// How long OAuth tokens live; as long as a login when left out.
    #[serde(with = "OptionalDurationText")]
    pub oauth_token_expires_in: Option<Duration>,
    /// Refuses OAuth authorisations without PKCE.
    pub oauth_require_pkce: bool,
    /// Longest life that people may give their tokens; 0 is no limit.
    #[serde(with = "DurationText")]
    pub token_expires_in_max: Duration,
    /// Tokens of services: name of the service to token.
    #[serde(skip_serializing)]
    #[schemars(with = "BTreeMap<String, SecretText>")]
    pub service_tokens: BTreeMap<String, SecretString>,
    /// Tokens of users: name to token. Deprecated by stock in favour of services.
    #[serde(skip_serializing)]
    #[schemars(with = "BTreeMap<String, SecretText>")]
    pub api_tokens: BTreeMap<String, SecretString>,
    /// Stores tokens of `service_tokens` and `api_tokens` with a quick hash; only for long random ones.
    pub trust_user_provided_tokens: bool,
    /// Scopes added to the role `user`, which everybody has.
    pub extra_user_scopes: Vec<String>,
}

impl HubSection {
    /// `subdomain_host` with a scheme; none where all share one host.
    pub fn subdomain_host(&self) -> Option<String> {
        let text = self.subdomain_host.as_str();
        let whole = || if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        (!text.is_empty()).then(whole)
    }
}

/// How names of users and services become host names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SubdomainHook {
    /// A valid label for every name, by IDNA where that can be, and one host for each service.
    #[default]
    Idna,
    /// JupyterHub's way before 5.0: `_` escapes, and one host for all services.
    Legacy,
}

impl From<SubdomainHook> for hub_core::dns::Hook {
    fn from(hook: SubdomainHook) -> Self {
        match hook {
            SubdomainHook::Idna => Self::Idna,
            SubdomainHook::Legacy => Self::Legacy,
        }
    }
}

/// What becomes of starts for which there is no room at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BeyondLimit {
    /// They wait in line.
    #[default]
    Queue,
    /// They are answered with 429: JupyterHub's rule.
    Refuse,
}

/// Which names new named servers may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerNames {
    /// 1 to 30 characters of `a-z0-9` and single hyphens: JupyterHub 6's rule.
    #[default]
    Safe,
    /// Whatever can be part of a URL: JupyterHub 5's rule.
    Any,
}

/// What may be done with servers whose names are not allowed for new ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExistingInvalidNames {
    /// They can be started and deleted as ever.
    #[default]
    AllowStart,
    /// They can only be stopped and deleted.
    AllowDelete,
    /// They get a new name when the hub starts and they do not run; the old one is what people see.
    Autorename,
}

impl Default for HubSection {
    fn default() -> Self {
        Self {
            base_url: "/".to_owned(),
            public_url: None,
            subdomain_host: String::new(),
            subdomain_hook: SubdomainHook::default(),
            hub_bind_url: BindUrl::http("127.0.0.1", 8081),
            hub_ip: None,
            hub_port: None,
            hub_connect_url: None,
            hub_routespec: None,
            internal_ssl: false,
            internal_certs_location: PathBuf::from("internal-ssl"),
            recreate_internal_certs: false,
            trusted_alt_names: Vec::new(),
            external_ssl_authorities: BTreeMap::new(),
            slow_spawn_timeout: Duration::from_secs(10),
            slow_stop_timeout: Duration::from_secs(10),
            user_redirect_limit: 4,
            cookie_secret: None,
            cookie_secret_file: PathBuf::from("jupyterhub_cookie_secret"),
            cookie_max_age: Duration::from_hours(14 * 24),
            cookie_host_prefix_enabled: false,
            cookie_options: Map::new(),
            xsrf_cookie_kwargs: Map::new(),
            xsrf_anonymous_id_headers: vec!["User-Agent".to_owned()],
            xsrf_anonymous_ip_cidrs: Vec::new(),
            headers: BTreeMap::new(),
            csp: None,
            embed_from: Vec::new(),
            crypt_keys: Vec::new(),
            allow_public_without_authentication: false,
            trusted_downstream_ips: Vec::new(),
            proxy_networks: Vec::new(),
            admin_access: false,
            admin_users: Vec::new(),
            allow_named_servers: false,
            named_server_limit_per_user: 0,
            default_server_name: String::new(),
            server_names: ServerNames::default(),
            allow_existing_invalid_named_servers: ExistingInvalidNames::default(),
            redirect_to_server: true,
            default_url: None,
            implicit_spawn_seconds: Duration::ZERO,
            shutdown_on_logout: false,
            concurrent_spawn_limit: 100,
            beyond_spawn_limit: BeyondLimit::default(),
            active_server_limit: 0,
            use_legacy_stopped_server_status_code: false,
            init_spawners_timeout: Some(Duration::from_secs(10)),
            cleanup_servers: true,
            cleanup_proxy: true,
            activity_resolution: Duration::from_secs(30),
            last_activity_interval: Duration::from_mins(5),
            service_check_interval: Duration::from_mins(1),
            service_poll_interval: Duration::from_secs(30),
            active_user_window: Duration::from_mins(30),
            authenticate_prometheus: true,
            api_page_default_limit: 50,
            api_page_max_limit: 200,
            oauth_token_expires_in: None,
            oauth_require_pkce: false,
            token_expires_in_max: Duration::ZERO,
            service_tokens: BTreeMap::new(),
            api_tokens: BTreeMap::new(),
            trust_user_provided_tokens: false,
            extra_user_scopes: Vec::new(),
        }
    }
}
