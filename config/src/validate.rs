//! What types cannot say: settings that contradict each other or mean nothing.

use std::net::IpAddr;

use secrecy::ExposeSecret as _;

use crate::Config;
use crate::changes::SpawnerChanges;
use crate::check::{Findings, child, nearest};
use crate::cookie_secret::{decode_crypt_key, decode_hex_secret};
use crate::hub::HubSection;
use crate::layers::KnownPlugins;
use crate::metrics::MetricsSection;
use crate::problem::Problem;
use crate::proxy::ProxySection;
use crate::spawner::SpawnerSection;

mod acme;
mod embed;
mod internal_ssl;
mod people;
mod workspaces;

/// All problems and doubts of a whole configuration. Origins are filled in by the caller.
pub(crate) fn validate(config: &Config, plugins: &KnownPlugins) -> Findings {
    let mut rules = Rules::default();
    hub(&config.hub, &mut rules);
    proxy(config, &mut rules);
    db(config, &mut rules);
    plugin_names(
        "authenticator",
        &config.authenticator.kind,
        config.authenticator.plugins.names(),
        &plugins.authenticators,
        &mut rules,
    );
    spawner("spawner", &config.spawner, plugins, &mut rules);
    for (name, profile) in &config.spawner.profiles {
        // what the profile inherits was looked at already
        let mut own = Rules::default();
        spawner(&child("spawner.profiles", name), &profile.spawner, plugins, &mut own);
        let tail = |problem: &Problem| problem.key.rsplit('.').next().map(str::to_owned);
        let seen: Vec<_> =
            rules.0.problems.iter().map(|problem| (tail(problem), problem.message.clone())).collect();
        own.0.problems.retain(|problem| !seen.contains(&(tail(problem), problem.message.clone())));
        rules.0.problems.append(&mut own.0.problems);
    }
    if config.spawner.profiles.values().filter(|profile| profile.default).count() > 1 {
        rules.wrong("spawner.profiles", "more than one profile is the default");
    }
    buckets(&config.metrics, &mut rules);
    embed::check(config, &mut rules);
    internal_ssl::check(config, &mut rules);
    people::check(config, &mut rules);
    workspaces::check(config, &mut rules);
    for (index, path) in config.templates.paths.iter().enumerate() {
        if !path.is_dir() {
            rules.doubt(format!("templates.paths[{index}]"), format!("{} is no directory", path.display()));
        }
    }
    if let Some(logo) = config.templates.logo_file.as_ref().filter(|logo| !logo.is_file()) {
        rules.doubt("templates.logo_file", format!("{} is no file", logo.display()));
    }
    rules.0
}

/// Collects what is wrong.
#[derive(Debug, Default)]
struct Rules(Findings);

impl Rules {
    fn wrong(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.problems.push(Problem::new(key, message));
    }

    fn wrong_but(&mut self, key: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) {
        self.0.problems.push(Problem::new(key, message).hint(hint));
    }

    fn doubt(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.warnings.push(Problem::new(key, message));
    }

    fn http_url(&mut self, key: &str, text: &str) -> Option<url::Url> {
        match url::Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            Ok(_) => {
                self.wrong(key, format!("{text:?} must begin with http:// or https:// and name a host"));
                None
            }
            Err(error) => {
                self.wrong(key, format!("{text:?} is no URL: {error}"));
                None
            }
        }
    }
}

fn hub(hub: &HubSection, rules: &mut Rules) {
    if let Some(above) = hub.subdomain_host()
        && let Some(url) = rules.http_url("hub.subdomain_host", &above)
    {
        if url.domain().is_none() {
            rules
                .wrong("hub.subdomain_host", "must be a host name: there is nothing below a numeric address");
        }
        if url.path() != "/" || url.query().is_some() {
            rules.wrong_but("hub.subdomain_host", "may not have a path", "set hub.base_url");
        }
    }
    if let Some(public) = &hub.public_url
        && let Some(url) = rules.http_url("hub.public_url", public)
        && !matches!(crate::normalise_base_url(url.path()), Ok(path) if path == "/" || path == hub.base_url)
    {
        let message = format!("has the path {}, but hub.base_url is {}", url.path(), hub.base_url);
        rules.wrong_but("hub.public_url", message, "give both the same path, or public_url none");
    }
    if let Some(connect) = &hub.hub_connect_url {
        rules.http_url("hub.hub_connect_url", connect);
    }
    if let Some(text) = &hub.hub_routespec {
        if hub.subdomain_host.is_empty() {
            routespec(text, &hub.base_url, rules);
        } else if text != "/" {
            rules.wrong(
                "hub.hub_routespec",
                "must be / where hub.subdomain_host is set: the hub answers on every host",
            );
        }
    }
    if hub.hub_bind_url.path != "/" {
        rules.wrong_but("hub.hub_bind_url", "may not have a path", "set hub.base_url");
    }
    if hub.cookie_max_age.is_zero() {
        rules.wrong("hub.cookie_max_age", "must be longer than nothing");
    }
    if let Some(secret) = &hub.cookie_secret
        && decode_hex_secret(secret.expose_secret()).is_none()
    {
        rules.wrong_but(
            "hub.cookie_secret",
            "must be an even number of hexadecimal digits",
            "make one with: openssl rand -hex 32",
        );
    }
    for (index, key) in hub.crypt_keys.iter().enumerate() {
        if decode_crypt_key(key.expose_secret()).is_none() {
            rules.wrong_but(
                format!("hub.crypt_keys[{index}]"),
                "is neither 64 hexadecimal digits, nor 44 characters of URL-safe base64, nor 32 raw characters",
                "make one with: openssl rand -hex 32",
            );
        }
    }
    for (name, value) in &hub.headers {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            rules.wrong(child("hub.headers", name), "is no valid name of a header");
        } else if value.chars().any(|c| c.is_control() && c != '\t') {
            rules.wrong(child("hub.headers", name), "may not have control characters");
        }
    }
    for (table, options) in
        [("cookie_options", &hub.cookie_options), ("xsrf_cookie_kwargs", &hub.xsrf_cookie_kwargs)]
    {
        let known = [
            "domain",
            "expires",
            "expires_days",
            "httponly",
            "max_age",
            "partitioned",
            "path",
            "samesite",
            "secure",
        ];
        for name in options.keys().filter(|name| !known.contains(&name.to_lowercase().as_str())) {
            let hint = match nearest(name, known.into_iter()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known: {}", known.join(", ")),
            };
            rules.wrong_but(child(&format!("hub.{table}"), name), "is no attribute of a cookie", hint);
        }
    }
    for (key, list) in [
        ("hub.trusted_downstream_ips", &hub.trusted_downstream_ips),
        ("hub.proxy_networks", &hub.proxy_networks),
        ("hub.xsrf_anonymous_ip_cidrs", &hub.xsrf_anonymous_ip_cidrs),
    ] {
        for (index, text) in list.iter().enumerate().filter(|(_, text)| !is_network(text)) {
            rules.wrong(
                format!("{key}[{index}]"),
                format!("{text:?} is neither an address nor a network (10.0.0.0/8)"),
            );
        }
    }
    if hub.api_page_max_limit == 0 {
        rules.wrong("hub.api_page_max_limit", "must be at least 1");
    }
    if hub.api_page_default_limit == 0 || hub.api_page_default_limit > hub.api_page_max_limit.max(1) {
        rules.wrong("hub.api_page_default_limit", "must be between 1 and api_page_max_limit");
    }
    if hub.last_activity_interval.is_zero() {
        rules.wrong("hub.last_activity_interval", "must be longer than nothing");
    }
}

/// The hub's own route, where it is not all that is left.
fn routespec(text: &str, base_url: &str, rules: &mut Rules) {
    let key = "hub.hub_routespec";
    let routespec = match crate::normalise_base_url(text) {
        Ok(routespec) if routespec == "/" || routespec == base_url => return,
        Ok(routespec) => routespec,
        Err(error) => return rules.wrong(key, error.to_string()),
    };
    let api = format!("{base_url}hub/api/");
    if api.starts_with(&routespec) {
        rules.doubt(key, "is a route of its own: requests for servers that do not run do not reach the hub");
    } else {
        rules.doubt(key, format!("the hub does not get requests to its API, {api}, through the proxy"));
    }
}

fn is_network(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

fn proxy(config: &Config, rules: &mut Rules) {
    let ProxySection { bind_url, ssl_key, ssl_cert, .. } = &config.proxy;
    match (ssl_key, ssl_cert) {
        (Some(_), None) => rules.wrong("proxy.ssl_cert", "is missing although proxy.ssl_key is set"),
        (None, Some(_)) => rules.wrong("proxy.ssl_key", "is missing although proxy.ssl_cert is set"),
        (None, None) if bind_url.tls && config.proxy.should_start && !config.proxy.is_secure() => rules
            .wrong_but(
                "proxy.bind_url",
                "says https, but there is no certificate",
                "set proxy.ssl_key and proxy.ssl_cert, or proxy.acme.domains",
            ),
        _ => {}
    }
    acme::check(&config.proxy, rules);
    if config.proxy.max_connections == 0 {
        rules.wrong("proxy.max_connections", "must be at least 1");
    }
    let api = rules.http_url("proxy.api_url", &config.proxy_api_url());
    if !config.proxy.should_start && config.proxy.auth_token.is_none() {
        let at = api.map_or_else(String::new, |url| format!(" at {url}"));
        rules.wrong_but(
            "proxy.auth_token",
            format!("is needed for the external proxy{at} (proxy.should_start is false)"),
            "set proxy.auth_token_file or the variable CONFIGPROXY_AUTH_TOKEN, the same for both",
        );
    }
    for (path, target) in &config.proxy.extra_routes {
        let key = child("proxy.extra_routes", path);
        match (config.hub.subdomain_host.is_empty(), path.starts_with('/')) {
            (true, false) => rules.wrong(&key, "the path of a route must begin with /"),
            (false, true) if path != "/" => {
                rules.wrong(
                    &key,
                    "a route must begin with a host name, without /, where hub.subdomain_host is set",
                );
            }
            _ => {}
        }
        rules.http_url(&key, target);
    }
}

fn buckets(metrics: &MetricsSection, rules: &mut Rules) {
    for (name, bounds) in [
        ("server_spawn_duration_seconds_buckets", &metrics.server_spawn_duration_seconds_buckets),
        ("server_stop_duration_seconds_buckets", &metrics.server_stop_duration_seconds_buckets),
    ] {
        if bounds.is_empty() || !bounds.is_sorted_by(|one, next| one < next) {
            let text = "must be one or more numbers of seconds, each more than the one before it";
            rules.wrong(child("metrics", name), text);
        }
    }
}

fn db(config: &Config, rules: &mut Rules) {
    let dialect = config.db.dialect();
    match dialect.as_str() {
        "sqlite" if config.db.password.is_some() => rules.wrong("db.password", "has no meaning for SQLite"),
        "sqlite" | "postgresql" | "postgres" | "mysql" | "mariadb" => {}
        _ => rules.wrong(
            "db.url",
            "must begin with sqlite://, postgresql:// or mysql:// (for example sqlite:///jupyterhub.sqlite)",
        ),
    }
    if config.db.max_connections == 0 {
        rules.wrong("db.max_connections", "must be at least 1");
    }
}

fn plugin_names<'n>(
    section: &str,
    kind: &str,
    tables: impl Iterator<Item = &'n str>,
    known: &[String],
    rules: &mut Rules,
) {
    if known.is_empty() {
        return;
    }
    let mut refuse = |key: String, name: &str, what: &str| {
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known: {}", known.join(", ")),
        };
        rules.wrong_but(key, what.to_owned(), hint);
    };
    if !known.iter().any(|name| name == kind) {
        refuse(format!("{section}.kind"), kind, &format!("there is no {kind:?}"));
    }
    for name in tables.filter(|name| !known.iter().any(|known| known == name)) {
        refuse(child(section, name), name, "unknown table");
    }
}

fn spawner(key: &str, spawner: &SpawnerSection, plugins: &KnownPlugins, rules: &mut Rules) {
    let kind = key.split('.').next().unwrap_or(key);
    debug_assert_eq!(kind, "spawner");
    plugin_names(key, &spawner.kind, spawner.plugins.names(), &plugins.spawners, rules);
    if !(0.0..=1.0).contains(&spawner.poll_jitter) {
        rules.wrong(child(key, "poll_jitter"), "must be between 0 and 1");
    }
    for (name, timeout) in [("start_timeout", spawner.start_timeout), ("http_timeout", spawner.http_timeout)]
    {
        if timeout.is_zero() {
            rules.wrong(child(key, name), "must be longer than nothing");
        }
    }
    for (name, cores) in [("cpu_limit", spawner.cpu_limit), ("cpu_guarantee", spawner.cpu_guarantee)] {
        if cores.is_some_and(|cores| cores <= 0.0) {
            rules.wrong(child(key, name), "must be more than 0");
        }
    }
    if let (Some(guarantee), Some(limit)) = (spawner.mem_guarantee, spawner.mem_limit)
        && guarantee > limit
    {
        rules.wrong(child(key, "mem_guarantee"), "is more than mem_limit");
    }
    if let (Some(guarantee), Some(limit)) = (spawner.cpu_guarantee, spawner.cpu_limit)
        && guarantee > limit
    {
        rules.wrong(child(key, "cpu_guarantee"), "is more than cpu_limit");
    }
    for name in spawner.environment.keys().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
        rules.wrong(child(&child(key, "environment"), name), "is no valid name of a variable");
    }
    if let Some(connect) = &spawner.hub_connect_url {
        rules.http_url(&child(key, "hub_connect_url"), connect);
    }
    for (option, name) in &spawner.apply_user_options {
        if !SpawnerChanges::CHOOSABLE.contains(&name.as_str()) {
            let known = format!("known: {}", SpawnerChanges::CHOOSABLE.join(", "));
            let key = child(&child(key, "apply_user_options"), option);
            rules.wrong_but(key, format!("{name:?} is no key that an option can set"), known);
        }
    }
    if !spawner.group_overrides.is_empty() && spawner.options(&spawner.kind).get("group_overrides").is_some()
    {
        let text = format!("is in [{key}.{}] as well: keep one of the two", spawner.kind);
        rules.wrong(child(key, "group_overrides"), text);
    }
    for (name, entry) in spawner.group_overrides.iter().filter(|(_, entry)| entry.groups.is_empty()) {
        let unused = entry.spawner_override != SpawnerChanges::default();
        let text = if unused { "changes nothing for anybody: it names no groups" } else { "is empty" };
        rules.doubt(child(&child(key, "group_overrides"), name), text);
    }
}
