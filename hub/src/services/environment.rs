//! The environment of a service that the hub runs: that of a server, as far as it makes sense for one.

use std::collections::BTreeMap;

use hub_config::{Config, ServiceSection};
use serde_json::json;

use crate::app::embedding::Embedding;
use crate::urls::Urls;

/// What is passed on of the hub's own environment unless `spawner.env_keep` says otherwise: as for local servers.
const KEPT: [&str; 9] = [
    "CONDA_DEFAULT_ENV",
    "CONDA_ROOT",
    "JUPYTERHUB_SINGLEUSER_APP",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
];

/// Builds it. `own` is the hub's own environment.
pub(super) fn service_env(
    config: &Config,
    urls: &Urls,
    section: &ServiceSection,
    api_token: &str,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let prefix = urls.service(&section.name);
    let access = json!(["access:services", format!("access:services!service={}", section.name)]).to_string();
    let public = |path: &str| urls.public().map(|_| urls.for_browser(path)).unwrap_or_default();
    let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
    let text = str::to_owned;

    let keep = config.spawner.env_keep.clone().unwrap_or_else(|| KEPT.map(str::to_owned).to_vec());
    let mut env: BTreeMap<String, String> =
        keep.into_iter().filter_map(|name| own.get(&name).cloned().map(|value| (name, value))).collect();
    let mut put = |name: &str, value: String| env.insert(name.to_owned(), value);
    put("JUPYTERHUB_SERVICE_NAME", section.name.clone());
    put("JUPYTERHUB_API_TOKEN", text(api_token));
    put("JPY_API_TOKEN", text(api_token));
    put("JUPYTERHUB_API_URL", urls.api().to_string());
    put("JUPYTERHUB_BASE_URL", text(urls.base()));
    put("JUPYTERHUB_CLIENT_ID", section.client_id());
    put("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", flag(config.hub.cookie_host_prefix_enabled));
    put("JUPYTERHUB_HOST", urls.public_host());
    put("JUPYTERHUB_OAUTH_SCOPES", access.clone());
    put("JUPYTERHUB_OAUTH_ACCESS_SCOPES", access);
    put("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", text("[]"));
    put("JUPYTERHUB_USER", section.user.clone().unwrap_or_default());
    put("JUPYTERHUB_SERVER_NAME", String::new());
    put("JUPYTERHUB_PUBLIC_HUB_URL", public(urls.hub()));
    if config.hub.admin_access {
        put("JUPYTERHUB_ADMIN_ACCESS", flag(true));
    }
    let cookies = Embedding::of(config, urls).server_cookies;
    if !cookies.is_empty() {
        put("JUPYTERHUB_COOKIE_OPTIONS", json!(cookies).to_string());
    }
    if let Some(url) = &section.url {
        put("JUPYTERHUB_SERVICE_URL", url.clone());
        let host = urls.service_host(&section.name);
        put("JUPYTERHUB_OAUTH_CALLBACK_URL", format!("{host}{prefix}oauth_callback"));
        let address = urls.public().map(|_| urls.service_for_browser(&section.name));
        put("JUPYTERHUB_PUBLIC_URL", address.unwrap_or_default());
        put("JUPYTERHUB_SERVICE_PREFIX", prefix);
    }
    env.extend(section.environment.clone());
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_how_to_reach_the_hub_and_what_its_own_address_is() {
        let urls = Urls::new("/nb/", &"http://127.0.0.1:8081".parse().unwrap(), None);
        let section = ServiceSection {
            name: "cull".to_owned(),
            url: Some("http://127.0.0.1:9000".to_owned()),
            environment: BTreeMap::from([("JUPYTERHUB_HOST".to_owned(), "mine".to_owned())]),
            ..ServiceSection::default()
        };
        let own =
            BTreeMap::from([("PATH".to_owned(), "/bin".to_owned()), ("SECRET".to_owned(), "x".to_owned())]);
        let env = service_env(&Config::default(), &urls, &section, "token", &own);
        for (name, value) in [
            ("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/nb/hub/api"),
            ("JUPYTERHUB_SERVICE_PREFIX", "/nb/services/cull/"),
            ("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:9000"),
            ("JUPYTERHUB_CLIENT_ID", "service-cull"),
            ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", r#"["access:services","access:services!service=cull"]"#),
            ("JUPYTERHUB_API_TOKEN", "token"),
            ("JUPYTERHUB_HOST", "mine"),
            ("PATH", "/bin"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("SECRET") && !env.contains_key("JUPYTERHUB_ACTIVITY_URL"));
    }
}
