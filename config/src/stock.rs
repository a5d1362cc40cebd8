//! What JupyterHub's settings are called here, for people who bring a command line or know the old names.

/// Settings whose name or section differ from stock's, or whose class has no section of the same name:
/// `Class.trait` to the key.
const COUNTERPARTS: &[(&str, &str)] = &[
    ("JupyterHub.bind_url", "proxy.bind_url"),
    ("JupyterHub.ip", "proxy.ip"),
    ("JupyterHub.port", "proxy.port"),
    ("JupyterHub.ssl_key", "proxy.ssl_key"),
    ("JupyterHub.ssl_cert", "proxy.ssl_cert"),
    ("JupyterHub.db_url", "db.url"),
    ("JupyterHub.upgrade_db", "db.upgrade_db"),
    ("JupyterHub.authenticator_class", "authenticator.kind"),
    ("JupyterHub.spawner_class", "spawner.kind"),
    ("JupyterHub.template_paths", "templates.paths"),
    ("JupyterHub.template_vars", "templates.vars"),
    ("JupyterHub.logo_file", "templates.logo_file"),
    ("JupyterHub.log_level", "logging.level"),
    ("JupyterHub.services", "services"),
    ("JupyterHub.load_roles", "roles"),
    ("JupyterHub.load_groups", "groups"),
    ("JupyterHub.custom_scopes", "custom_scopes"),
    ("JupyterHub.proxy_auth_token", "proxy.auth_token"),
    ("JupyterHub.proxy_check_interval", "proxy.check_interval"),
    ("CryptKeeper.keys", "hub.crypt_keys"),
    ("Proxy.extra_routes", "proxy.extra_routes"),
    ("Proxy.should_start", "proxy.should_start"),
    ("ConfigurableHTTPProxy.should_start", "proxy.should_start"),
    ("ConfigurableHTTPProxy.api_url", "proxy.api_url"),
    ("ConfigurableHTTPProxy.auth_token", "proxy.auth_token"),
    ("ConfigurableHTTPProxy.check_running_interval", "proxy.check_interval"),
    ("PeriodicMetricsCollector.active_users_enabled", "metrics.active_users_enabled"),
    ("PeriodicMetricsCollector.active_users_update_interval", "metrics.active_users_update_interval"),
    ("PeriodicMetricsCollector.event_loop_interval_enabled", "metrics.event_loop_interval_enabled"),
    ("PeriodicMetricsCollector.event_loop_interval_resolution", "metrics.event_loop_interval_resolution"),
    (
        "PeriodicMetricsCollector.event_loop_interval_log_threshold",
        "metrics.event_loop_interval_log_threshold",
    ),
    ("DummyAuthenticator.password", "authenticator.dummy.password"),
    ("SharedPasswordAuthenticator.user_password", "authenticator.shared-password.user_password"),
    ("SharedPasswordAuthenticator.admin_password", "authenticator.shared-password.admin_password"),
    ("LocalProcessSpawner.interrupt_timeout", "spawner.local.interrupt_timeout"),
    ("LocalProcessSpawner.term_timeout", "spawner.local.term_timeout"),
    ("LocalProcessSpawner.kill_timeout", "spawner.local.kill_timeout"),
    ("SimpleLocalProcessSpawner.home_dir_template", "spawner.local.home_dir_template"),
];

/// Classes whose traits are the keys of one section.
const CLASSES: &[(&str, &str)] = &[
    ("JupyterHub", "hub"),
    ("Authenticator", "authenticator"),
    ("DummyAuthenticator", "authenticator"),
    ("SharedPasswordAuthenticator", "authenticator"),
    ("NullAuthenticator", "authenticator"),
    ("Spawner", "spawner"),
    ("LocalProcessSpawner", "spawner"),
    ("SimpleLocalProcessSpawner", "spawner"),
];

/// Values of stock's `*_class` settings to our kinds.
const KINDS: &[(&str, &str)] = &[
    ("dummy", "dummy"),
    ("jupyterhub.auth.DummyAuthenticator", "dummy"),
    ("null", "null"),
    ("jupyterhub.auth.NullAuthenticator", "null"),
    ("shared-password", "shared-password"),
    ("jupyterhub.authenticators.shared.SharedPasswordAuthenticator", "shared-password"),
    ("pam", "pam"),
    ("jupyterhub.auth.PAMAuthenticator", "pam"),
    ("generic-oauth", "oidc"),
    ("oauthenticator.generic.GenericOAuthenticator", "oidc"),
    ("oauthenticator.GenericOAuthenticator", "oidc"),
    ("simple", "local"),
    ("jupyterhub.spawner.SimpleLocalProcessSpawner", "local"),
    ("local", "local"),
    ("localprocess", "local"),
    ("jupyterhub.spawner.LocalProcessSpawner", "local"),
];

/// Our key for a bare name of stock (`load_roles`, `JupyterHub`), for hints.
pub(crate) fn counterpart(name: &str) -> Option<String> {
    let by_trait =
        COUNTERPARTS.iter().find(|(stock, _)| stock.split_once('.').is_some_and(|(_, t)| t == name));
    let by_class = CLASSES.iter().find(|(class, _)| *class == name);
    by_trait.map(|(_, ours)| (*ours).to_owned()).or_else(|| by_class.map(|(_, ours)| format!("[{ours}]")))
}

/// Our key for `Class.trait` of a JupyterHub command line; none where there is no counterpart.
///
/// ```
/// assert_eq!(hub_config::stock::key("JupyterHub.bind_url").as_deref(), Some("proxy.bind_url"));
/// assert_eq!(hub_config::stock::key("Spawner.start_timeout").as_deref(), Some("spawner.start_timeout"));
/// assert_eq!(hub_config::stock::key("JupyterHub.pid_file"), None);
/// ```
pub fn key(class_trait: &str) -> Option<String> {
    if let Some((_, ours)) = COUNTERPARTS.iter().find(|(stock, _)| *stock == class_trait) {
        return Some((*ours).to_owned());
    }
    let (class, name) = class_trait.split_once('.')?;
    let (_, section) = CLASSES.iter().find(|(known, _)| *known == class)?;
    let path = [(*section).to_owned(), name.to_owned()];
    let known = crate::schema::SCHEMA.pointer(&format!("/properties/{}/properties/{}", path[0], path[1]));
    known.map(|_| format!("{section}.{name}"))
}

/// Our kind for a value of `authenticator_class` or `spawner_class`; none where there is no counterpart. A name
/// without dots that is not known may be a plugin of ours and is kept.
pub fn kind(class: &str) -> Option<String> {
    match KINDS.iter().find(|(stock, _)| *stock == class) {
        Some((_, ours)) => Some((*ours).to_owned()),
        None if class.contains('.') || class == "default" => None,
        None => Some(class.to_owned()),
    }
}
