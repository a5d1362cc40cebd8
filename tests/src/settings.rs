//! What a test wants of a hub, in words of its own, and how either hub is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::environment::Needed;
use crate::hub::Ports;

/// The hub's name where users have hosts of their own: browsers take all below `localhost` for this machine.
pub const HOST: &str = "lab.localhost";

/// A service without a process: a name, a token and what it may do.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its API token.
    pub token: String,
    /// Its scopes, through a role of its own.
    pub scopes: Vec<String>,
}

/// Where the servers of a hub run.
#[derive(Debug, Clone, PartialEq)]
pub enum Spawner {
    /// As processes of this user.
    Local,
    /// As pods, with these options of KubeSpawner, which have the same names in our `[spawner.kube]`.
    Kube(Map<String, Value>),
}

/// A hub for a test: dummy authenticator that lets everybody in, servers as local processes of this user.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base URL as an operator would write it, not encoded.
    pub base_url: String,
    /// Whether each user has a host name of its own, below [`HOST`].
    pub subdomains: bool,
    /// Database URL as SQLAlchemy writes it; `None` is an SQLite file in the hub's folder.
    pub database: Option<String>,
    /// The cookie secret's file; `None` is one in the hub's folder.
    pub cookie_secret_file: Option<PathBuf>,
    /// Whether the proxy is a process of its own that outlives the hub.
    pub separate_proxy: bool,
    /// Whether that process is the other hub's usual proxy: configurable-http-proxy for ours, ours for stock.
    pub foreign_proxy: bool,
    /// Has hub, proxy and servers speak TLS among each other, with certificates in this folder.
    pub internal_ssl: Option<PathBuf>,
    /// Lets the next process of our hub take over from the one that runs.
    pub handover: bool,
    /// Stops the servers when the hub is stopped in an orderly way.
    pub cleanup_servers: bool,
    /// Names of administrators.
    pub admins: Vec<String>,
    /// The section `authenticator` of our hub, for tests of logins; `None` is dummy.
    pub authenticator: Option<Value>,
    /// Further keys of the section `hub` of our hub.
    pub hub: BTreeMap<String, Value>,
    /// Password of everybody; `None` accepts any.
    pub password: Option<String>,
    /// Services; there is always the one of [`Settings::administrator`].
    pub services: Vec<Service>,
    /// Where servers run.
    pub spawner: Spawner,
    /// Further environment of the hub itself.
    pub hub_environment: BTreeMap<String, String>,
    /// The command of a server. A name without a slash is looked up in [`Settings::path`].
    pub command: Vec<String>,
    /// Folders before the system's on the PATH of hub and servers.
    pub path: Vec<PathBuf>,
    /// Further environment of servers.
    pub environment: BTreeMap<String, String>,
    /// Page shown first by a server.
    pub default_url: String,
    /// Longest time of a start, and from there to the first answer.
    pub start_timeout: Duration,
    /// How long the hub waits for a start before it answers 202 or shows the page for pending starts.
    pub slow_spawn_timeout: Duration,
    /// Further keys of our hub's `[spawner]`, a table.
    pub spawner_more: BTreeMap<String, Value>,
    /// Pause between two looks at a running server; `None` is the hub's own.
    pub poll_interval: Option<Duration>,
    /// How many servers may be starting at once.
    pub concurrent_spawn_limit: u32,
    /// Further services, with the keys that both hubs know.
    pub further_services: Vec<Value>,
    /// Further roles, likewise.
    pub further_roles: Vec<Value>,
    /// Appended to the configuration as it is; the test knows which hub it is for.
    pub extra: String,
}

impl Default for Settings {
    /// Real servers of JupyterHub 6.1 with JupyterLab, named servers allowed.
    fn default() -> Self {
        let token = uuid::Uuid::new_v4().simple().to_string();
        Self {
            base_url: "/".to_owned(),
            subdomains: false,
            database: None,
            cookie_secret_file: None,
            separate_proxy: false,
            foreign_proxy: false,
            internal_ssl: None,
            handover: false,
            cleanup_servers: false,
            admins: vec!["admin".to_owned()],
            authenticator: None,
            hub: BTreeMap::new(),
            password: None,
            services: vec![Service {
                name: "test-administrator".to_owned(),
                token,
                scopes: [
                    "admin:users",
                    "admin:servers",
                    "tokens",
                    "access:servers",
                    "list:services",
                    "proxy",
                    "read:hub",
                    "read:metrics",
                    "shutdown",
                ]
                .map(str::to_owned)
                .to_vec(),
            }],
            spawner: Spawner::Local,
            hub_environment: BTreeMap::new(),
            // Tests may run as root, which a server refuses unless told otherwise.
            command: vec!["jupyterhub-singleuser".to_owned(), "--allow-root".to_owned()],
            path: Needed::Venv61.find().map(|venv| venv.join("bin")).into_iter().collect(),
            environment: BTreeMap::new(),
            default_url: String::new(),
            start_timeout: Duration::from_secs(90),
            slow_spawn_timeout: Duration::from_secs(10),
            spawner_more: BTreeMap::new(),
            poll_interval: None,
            concurrent_spawn_limit: 100,
            further_services: Vec::new(),
            further_roles: Vec::new(),
            extra: String::new(),
        }
    }
}

/// Places and ports of one hub, which the settings are written for.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The hub's folder.
    pub folder: &'a Path,
    /// Its ports.
    pub ports: Ports,
    /// The mark of its processes.
    pub mark: &'a str,
}

impl Place<'_> {
    /// Where one process of our hub hands over to the next.
    pub fn handover_socket(&self) -> PathBuf {
        self.folder.join("handover.sock")
    }
}

impl Settings {
    /// Servers of the environment `venv`.
    pub fn with_venv(mut self, venv: Needed) -> Self {
        self.path = vec![venv.path().join("bin")];
        self
    }

    /// Servers that are the light stand-in.
    pub fn with_light_singleuser(mut self) -> Self {
        self.command = vec![Needed::LightSingleuser.path().display().to_string()];
        self
    }

    /// The service with all rights that a test uses to look behind the scenes.
    ///
    /// # Panics
    /// When a test has removed it.
    pub fn administrator(&self) -> &Service {
        self.services.first().expect("there is always a service for the test itself")
    }

    /// The database's URL as SQLAlchemy writes it.
    pub fn database_url(&self, place: Place<'_>) -> String {
        let file = || format!("sqlite:///{}", place.folder.join("jupyterhub.sqlite").display());
        self.database.clone().unwrap_or_else(file)
    }

    fn internal_scheme(&self) -> &'static str {
        if self.internal_ssl.is_some() { "https" } else { "http" }
    }

    fn secret_file(&self, place: Place<'_>) -> PathBuf {
        self.cookie_secret_file.clone().unwrap_or_else(|| place.folder.join("cookie_secret"))
    }

    fn server_environment(&self, place: Place<'_>) -> BTreeMap<String, String> {
        let mut environment = self.environment.clone();
        environment.insert(crate::processes::VARIABLE.to_owned(), place.mark.to_owned());
        environment
    }

    /// The further services, with the mark by which their processes are found and ended.
    fn marked_services(&self, place: Place<'_>) -> Vec<Value> {
        let mark = |mut service: Value| {
            service["environment"][crate::processes::VARIABLE] = place.mark.into();
            service
        };
        self.further_services.iter().cloned().map(mark).collect()
    }

    /// The configuration of our hub.
    ///
    /// # Panics
    /// When a value cannot be written as TOML.
    pub fn toml(&self, place: Place<'_>) -> String {
        let Place { folder, ports, .. } = place;
        let seconds = |time: Duration| format!("{}s", time.as_secs_f64());
        let mut authenticator = json!({ "kind": "dummy", "allow_all": true, "admin_users": self.admins });
        if let (Some(password), Some(table)) = (&self.password, authenticator.as_object_mut()) {
            table.insert("dummy".to_owned(), json!({ "password": password }));
        }
        if let Some(given) = &self.authenticator {
            authenticator.clone_from(given);
        }
        let services: Vec<Value> = self
            .services
            .iter()
            .map(|service| json!({ "name": service.name, "api_token": service.token }))
            .chain(self.marked_services(place))
            .collect();
        let roles: Vec<Value> = self
            .services
            .iter()
            .map(|service| json!({ "name": service.name, "scopes": service.scopes, "services": [service.name] }))
            .chain(self.further_roles.iter().cloned())
            .collect();
        let (kind, options) = match &self.spawner {
            Spawner::Local => {
                ("local", json!({ "home_dir_template": format!("{}/homes/{{username}}", folder.display()) }))
            }
            Spawner::Kube(options) => {
                // An image has a command of its own, so this one is told to the spawner itself.
                let mut options = options.clone();
                options.entry("cmd").or_insert_with(|| json!(self.command));
                ("kube", Value::Object(options))
            }
        };
        let mut spawner = json!({
            "kind": kind,
            "cmd": self.command,
            "environment": self.server_environment(place),
            "default_url": self.default_url,
            "start_timeout": seconds(self.start_timeout),
            "http_timeout": seconds(self.start_timeout),
            (kind): options,
        });
        if let Some(interval) = self.poll_interval {
            spawner["poll_interval"] = json!(seconds(interval));
        }
        for (key, value) in &self.spawner_more {
            spawner[key] = value.clone();
        }
        let mut proxy = json!({
            "bind_url": format!("http://127.0.0.1:{}", ports.public),
            "api_url": format!("{}://127.0.0.1:{}", self.internal_scheme(), ports.api),
            "should_start": !self.separate_proxy,
        });
        if self.handover {
            proxy["handover_socket"] = json!(place.handover_socket());
        }
        let mut whole = json!({
            "hub": {
                "base_url": self.base_url,
                "hub_bind_url": format!("http://127.0.0.1:{}", ports.hub),
                "cookie_secret_file": self.secret_file(place),
                "crypt_keys": [crypt_key()],
                "allow_named_servers": true,
                "allow_public_without_authentication": true,
                "cleanup_servers": self.cleanup_servers,
                "slow_spawn_timeout": seconds(self.slow_spawn_timeout),
                "concurrent_spawn_limit": self.concurrent_spawn_limit,
            },
            "db": { "url": self.database_url(place) },
            "proxy": proxy,
            "authenticator": authenticator,
            "spawner": spawner,
            "services": services,
            "roles": roles,
        });
        if self.subdomains {
            whole["hub"]["subdomain_host"] = json!(format!("http://{HOST}:{}", ports.public));
        }
        if let Some(certificates) = &self.internal_ssl {
            whole["hub"]["internal_ssl"] = json!(true);
            whole["hub"]["internal_certs_location"] = json!(certificates);
        }
        for (key, value) in &self.hub {
            whole["hub"][key] = value.clone();
        }
        let text = toml::to_string(&whole).expect("the settings are plain values");
        format!("{text}\n{}", self.extra)
    }

    /// The configuration of the stock hub. JSON is Python here but for the three words that the closing lines define.
    pub fn python(&self, place: Place<'_>) -> String {
        let Place { folder, ports, .. } = place;
        let mut text = String::from("true, false, null = True, False, None\n");
        let mut set =
            |name: &str, value: Value| writeln!(text, "c.{name} = {value}").expect("a String takes all text");
        set(
            "JupyterHub.bind_url",
            json!(format!("http://127.0.0.1:{}{}", ports.public, self.base_url.replace(' ', "%20"))),
        );
        set(
            "JupyterHub.hub_bind_url",
            json!(format!("{}://127.0.0.1:{}", self.internal_scheme(), ports.hub)),
        );
        if let Some(certificates) = &self.internal_ssl {
            set("JupyterHub.internal_ssl", json!(true));
            set("JupyterHub.internal_certs_location", json!(certificates));
        }
        set("JupyterHub.cookie_secret_file", json!(self.secret_file(place)));
        set("JupyterHub.db_url", json!(self.database_url(place)));
        set("JupyterHub.allow_named_servers", json!(true));
        if self.subdomains {
            set("JupyterHub.subdomain_host", json!(format!("http://{HOST}:{}", ports.public)));
        }
        set("JupyterHub.cleanup_servers", json!(self.cleanup_servers));
        set("JupyterHub.concurrent_spawn_limit", json!(self.concurrent_spawn_limit));
        set(
            "JupyterHub.tornado_settings",
            json!({ "slow_spawn_timeout": self.slow_spawn_timeout.as_secs_f64() }),
        );
        set("JupyterHub.authenticator_class", json!("dummy"));
        set("Authenticator.allow_all", json!(true));
        set("Authenticator.admin_users", json!(self.admins));
        if let Some(password) = &self.password {
            set("DummyAuthenticator.password", json!(password));
        }
        match &self.spawner {
            Spawner::Local => {
                set("JupyterHub.spawner_class", json!("simple"));
                set(
                    "SimpleLocalProcessSpawner.home_dir_template",
                    json!(format!("{}/homes/{{username}}", folder.display())),
                );
            }
            Spawner::Kube(options) => {
                set("JupyterHub.spawner_class", json!("kubespawner.KubeSpawner"));
                for (name, value) in options {
                    set(&format!("KubeSpawner.{name}"), value.clone());
                }
            }
        }
        set("Spawner.cmd", json!(self.command));
        set("Spawner.environment", json!(self.server_environment(place)));
        set("Spawner.default_url", json!(self.default_url));
        set("Spawner.start_timeout", json!(self.start_timeout.as_secs()));
        set("Spawner.http_timeout", json!(self.start_timeout.as_secs()));
        if let Some(interval) = self.poll_interval {
            set("Spawner.poll_interval", json!(interval.as_secs()));
        }
        let services =
            self.services.iter().map(|service| json!({ "name": service.name, "api_token": service.token }));
        set("JupyterHub.services", services.chain(self.marked_services(place)).collect());
        let roles = self.services.iter().map(
            |service| json!({ "name": service.name, "scopes": service.scopes, "services": [service.name] }),
        );
        set("JupyterHub.load_roles", roles.chain(self.further_roles.iter().cloned()).collect());
        set(
            "ConfigurableHTTPProxy.api_url",
            json!(format!("{}://127.0.0.1:{}", self.internal_scheme(), ports.api)),
        );
        set("ConfigurableHTTPProxy.should_start", json!(!self.separate_proxy));
        set("ConfigurableHTTPProxy.command", json!([Needed::Chp.path()]));
        // Keys are bytes, which JSON does not have.
        let keys = format!("c.CryptKeeper.keys = [b'{}']", crypt_key());
        // Pods have addresses of their own.
        let held_ports = if self.spawner == Spawner::Local { include_str!("held_ports.py") } else { "" };
        format!("{text}{keys}\n{held_ports}\n{}", self.extra)
    }
}

/// The key of `auth_state`, the same for every hub of a test, so that each reads what another has kept.
fn crypt_key() -> String {
    "ab".repeat(32)
}
