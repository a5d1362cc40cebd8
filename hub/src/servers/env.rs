//! The environment of a singleuser server, but for what only the spawner knows.

use std::collections::BTreeMap;

use hub_core::ServerKey;
use hub_core::python::{float_text, json_text};
use hub_core::spawner::Resources;
use serde_json::{Map, Value, json};

use crate::urls::Urls;

/// Settings that reach a server by its environment.
#[derive(Debug, Clone, Default)]
pub struct EnvSettings {
    /// `cookie_options`.
    pub cookie_options: Map<String, Value>,
    /// Whether cookies carry the `__Host-` prefix.
    pub cookie_host_prefix: bool,
    /// Deprecated `admin_access`.
    pub admin_access: bool,
    /// Scopes that a server's OAuth client may ask for.
    pub client_allowed_scopes: Vec<String>,
    /// Directory shown at the root of the file browser; `{username}` and `{base_url}` are filled in.
    pub notebook_dir: String,
    /// Path that a server opens, likewise.
    pub default_url: String,
    /// `spawner.disable_user_config`.
    pub disable_user_config: bool,
    /// `spawner.debug`.
    pub debug: bool,
    /// `spawner.environment`; wins over everything.
    pub environment: BTreeMap<String, String>,
}

/// Builds the environment.
pub fn server_env(
    urls: &Urls,
    settings: &EnvSettings,
    key: &ServerKey,
    client_id: &str,
    api_token: &str,
    resources: Resources,
) -> BTreeMap<String, String> {
    let prefix = urls.server(key);
    let access = json_text(&json!([
        format!("access:servers!server={}", key.scope_value()),
        format!("access:servers!user={}", key.user)
    ]));
    let api = urls.api().to_string();
    let public = |path: &str| urls.public().map(|_| urls.for_browser(path)).unwrap_or_default();
    let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
    let fill = |text: &str| text.replace("{username}", key.user.as_str()).replace("{base_url}", urls.base());

    let mut env = BTreeMap::from([
        ("JUPYTERHUB_API_TOKEN", api_token.to_owned()),
        ("JPY_API_TOKEN", api_token.to_owned()),
        ("JUPYTERHUB_CLIENT_ID", client_id.to_owned()),
        ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", flag(settings.cookie_host_prefix)),
        ("JUPYTERHUB_HOST", urls.public_host()),
        ("JUPYTERHUB_OAUTH_CALLBACK_URL", format!("{}oauth_callback", urls.server_url(key))),
        ("JUPYTERHUB_OAUTH_SCOPES", access.clone()),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", access),
        ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", json_text(&json!(settings.client_allowed_scopes))),
        ("JUPYTERHUB_USER", key.user.to_string()),
        ("JUPYTERHUB_SERVER_NAME", key.server.to_string()),
        ("JUPYTERHUB_ACTIVITY_URL", format!("{api}/users/{}/activity", key.user.escaped())),
        ("JUPYTERHUB_API_URL", api),
        ("JUPYTERHUB_BASE_URL", urls.base().to_owned()),
        ("JUPYTERHUB_PUBLIC_URL", urls.public().map(|_| urls.server_for_browser(key)).unwrap_or_default()),
        ("JUPYTERHUB_PUBLIC_HUB_URL", public(urls.hub())),
        ("JUPYTERHUB_SERVICE_PREFIX", prefix),
    ]);
    if settings.admin_access {
        env.insert("JUPYTERHUB_ADMIN_ACCESS", flag(true));
    }
    if !settings.cookie_options.is_empty() {
        env.insert("JUPYTERHUB_COOKIE_OPTIONS", json_text(&json!(settings.cookie_options)));
    }
    let limits = [
        ("MEM_LIMIT", resources.mem_limit.map(|n| n.to_string())),
        ("MEM_GUARANTEE", resources.mem_guarantee.map(|n| n.to_string())),
        ("CPU_LIMIT", resources.cpu_limit.map(float_text)),
        ("CPU_GUARANTEE", resources.cpu_guarantee.map(float_text)),
    ];
    env.extend(limits.into_iter().filter_map(|(name, value)| Some((name, value?))));
    if !settings.notebook_dir.is_empty() {
        env.insert("JUPYTERHUB_ROOT_DIR", fill(&settings.notebook_dir));
    }
    if !settings.default_url.is_empty() {
        env.insert("JUPYTERHUB_DEFAULT_URL", fill(&settings.default_url));
    }
    if settings.debug {
        env.insert("JUPYTERHUB_DEBUG", flag(true));
    }
    if settings.disable_user_config {
        env.insert("JUPYTERHUB_DISABLE_USER_CONFIG", flag(true));
    }
    let mut env: BTreeMap<String, String> = env.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    env.extend(settings.environment.clone());
    env
}

#[cfg(test)]
mod tests {
    use hub_core::{ServerName, UserName};

    use super::*;

    #[test]
    fn a_named_server_below_a_base_url_gets_all_that_stock_gives() {
        let urls = Urls::new("/nb/", &"http://127.0.0.1:8081".parse().unwrap(), None);
        let settings = EnvSettings {
            notebook_dir: "/home/{username}".to_owned(),
            environment: BTreeMap::from([("JUPYTERHUB_HOST".to_owned(), "mine".to_owned())]),
            ..EnvSettings::default()
        };
        let key = ServerKey::new(UserName::stored("a b"), ServerName::stored("x"));
        let resources = Resources { mem_limit: Some(1024), cpu_limit: Some(2.0), ..Resources::default() };
        let env = server_env(&urls, &settings, &key, &key.oauth_client_id(), "secret", resources);
        for (name, value) in [
            ("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/nb/hub/api"),
            ("JUPYTERHUB_ACTIVITY_URL", "http://127.0.0.1:8081/nb/hub/api/users/a%20b/activity"),
            ("JUPYTERHUB_CLIENT_ID", "jupyterhub-user-a%20b-x"),
            (
                "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
                r#"["access:servers!server=a b/x", "access:servers!user=a b"]"#,
            ),
            ("JUPYTERHUB_OAUTH_CALLBACK_URL", "/nb/user/a%20b/x/oauth_callback"),
            ("JUPYTERHUB_ROOT_DIR", "/home/a b"),
            ("JUPYTERHUB_HOST", "mine"),
            ("CPU_LIMIT", "2.0"),
            ("MEM_LIMIT", "1024"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("JUPYTERHUB_SERVICE_URL"));
    }
}
