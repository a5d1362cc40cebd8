//! The environment that a hub gives to its servers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

/// What the server was told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Host to bind; all addresses when the hub left it empty.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path of the server, with slashes at both ends.
    pub(crate) prefix: String,
    /// Path of the whole hub, with slashes at both ends.
    pub(crate) base: String,
    /// Scheme and host of the hub for browsers; empty when it is the same host.
    pub(crate) hub_host: String,
    /// The hub's API as the server reaches it, without slash at the end.
    pub(crate) api: Url,
    pub(crate) activity: Option<Url>,
    /// Seconds between reports of activity.
    pub(crate) activity_interval: Duration,
    pub(crate) token: String,
    pub(crate) client_id: String,
    pub(crate) callback: String,
    /// One of these must be among a person's scopes.
    pub(crate) access_scopes: Vec<String>,
    pub(crate) server_name: String,
    pub(crate) cookie_options: Map<String, Value>,
    /// Whether cookies are named `__Host-...`.
    pub(crate) host_prefix: bool,
    /// Whether browsers come by https, when the hub says so.
    pub(crate) public_https: Option<bool>,
    /// Whether `?token=` counts.
    pub(crate) token_in_url: bool,
    /// The environment, without secrets.
    pub(crate) shown: BTreeMap<String, String>,
}

/// What is wrong with the environment.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    #[error("{0} is not set: this program is started by a hub")]
    Missing(&'static str),
    #[error("{name} is not understood: {why}")]
    Wrong { name: &'static str, why: String },
}

impl Settings {
    /// Reads them.
    pub(crate) fn from_env(env: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let optional = |name: &str| env.get(name).cloned().filter(|value| !value.is_empty());
        let needed = |name: &'static str| optional(name).ok_or(SettingsError::Missing(name));
        let (host, port) = binding(&needed("JUPYTERHUB_SERVICE_URL")?)
            .ok_or_else(|| wrong("JUPYTERHUB_SERVICE_URL", "http://HOST:PORT/PREFIX is needed"))?;
        let token = needed("JUPYTERHUB_API_TOKEN")?;
        let interval = optional("JUPYTERHUB_ACTIVITY_INTERVAL").unwrap_or_else(|| "300".to_owned());
        Ok(Self {
            host,
            port,
            prefix: needed("JUPYTERHUB_SERVICE_PREFIX")?,
            base: optional("JUPYTERHUB_BASE_URL").unwrap_or_else(|| "/".to_owned()),
            hub_host: optional("JUPYTERHUB_HOST").unwrap_or_default(),
            api: address("JUPYTERHUB_API_URL", needed("JUPYTERHUB_API_URL")?.trim_end_matches('/'))?,
            activity: optional("JUPYTERHUB_ACTIVITY_URL")
                .map(|text| address("JUPYTERHUB_ACTIVITY_URL", &text))
                .transpose()?,
            activity_interval: interval
                .parse()
                .map(Duration::from_secs)
                .map_err(|_| wrong("JUPYTERHUB_ACTIVITY_INTERVAL", "a number of seconds is needed"))?,
            client_id: needed("JUPYTERHUB_CLIENT_ID")?,
            callback: needed("JUPYTERHUB_OAUTH_CALLBACK_URL")?,
            access_scopes: json(
                "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
                &needed("JUPYTERHUB_OAUTH_ACCESS_SCOPES")?,
            )?,
            server_name: optional("JUPYTERHUB_SERVER_NAME").unwrap_or_default(),
            cookie_options: optional("JUPYTERHUB_COOKIE_OPTIONS")
                .map(|text| json("JUPYTERHUB_COOKIE_OPTIONS", &text))
                .transpose()?
                .unwrap_or_default(),
            host_prefix: optional("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED").as_deref() == Some("1"),
            public_https: optional("JUPYTERHUB_PUBLIC_URL").map(|url| url.starts_with("https:")),
            token_in_url: optional("JUPYTERHUB_ALLOW_TOKEN_IN_URL").as_deref() == Some("1"),
            shown: shown(env, &token),
            token,
        })
    }
}

fn wrong(name: &'static str, why: impl Into<String>) -> SettingsError {
    SettingsError::Wrong { name, why: why.into() }
}

fn address(name: &'static str, text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text).map_err(|error| wrong(name, error.to_string()))?;
    if url.scheme() == "http" { Ok(url) } else { Err(wrong(name, "only http is spoken here")) }
}

fn json<T: serde::de::DeserializeOwned>(name: &'static str, text: &str) -> Result<T, SettingsError> {
    serde_json::from_str(text).map_err(|error| wrong(name, error.to_string()))
}

/// Host and port of `http://host:port/path`, where the host may be empty.
fn binding(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("http://")?;
    let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    Some((if host.is_empty() { "0.0.0.0" } else { host }.to_owned(), port.parse().ok()?))
}

/// Without what is secret by its name, or holds the token under another name.
fn shown(env: &BTreeMap<String, String>, token: &str) -> BTreeMap<String, String> {
    let secret = |name: &str| ["TOKEN", "SECRET", "PASSWORD", "KEY"].iter().any(|word| name.contains(word));
    env.iter()
        .filter(|(name, value)| !secret(&name.to_uppercase()) && !value.contains(token))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_to_bind_may_leave_the_host_away() {
        assert_eq!(binding("http://127.0.0.1:80/user/a/"), Some(("127.0.0.1".to_owned(), 80)));
        assert_eq!(binding("http://:81/"), Some(("0.0.0.0".to_owned(), 81)));
        assert_eq!(binding("http://[::1]:82/"), Some(("::1".to_owned(), 82)));
        for bad in ["", "http://host/", "https://h:1/", "http://h:x/"] {
            assert_eq!(binding(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = Settings::from_env(&BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "JUPYTERHUB_SERVICE_URL is not set: this program is started by a hub");
    }

    #[test]
    fn secrets_are_not_shown() {
        let env = BTreeMap::from(
            [("A_TOKEN", "x"), ("my_password", "y"), ("COPY", "is tok123"), ("HOME", "/home/ann")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(shown(&env, "tok123").into_keys().collect::<Vec<_>>(), ["HOME"]);
    }
}
