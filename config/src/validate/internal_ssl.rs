//! Whether what is said around `hub.internal_ssl` fits together.

use std::net::IpAddr;

use rustls_pki_types::DnsName;
use url::Url;

use super::{Rules, child};
use crate::Config;
use crate::hub::HubSection;

pub(super) fn check(config: &Config, rules: &mut Rules) {
    let hub = &config.hub;
    alt_names(hub, rules);
    for (name, files) in &hub.external_ssl_authorities {
        let key = child("hub.external_ssl_authorities", name);
        if files.cert.as_os_str().is_empty() {
            rules.wrong(format!("{key}.cert"), "is missing: the file with the authority's certificate");
        }
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            rules.wrong(key, "must be a name that a folder can have");
        }
    }
    if !hub.internal_ssl {
        if hub.hub_bind_url.tls {
            let text =
                "says https, which the hub's own listener speaks with certificates of its own making only";
            rules.wrong_but("hub.hub_bind_url", text, "set hub.internal_ssl = true, or begin with http://");
        }
        return;
    }
    for (key, url) in config.hub_connect_urls() {
        if is_plain(&url) {
            rules.wrong(key, "must begin with https:// where hub.internal_ssl is on");
        }
    }
    if !config.proxy.should_start && is_plain(&config.proxy_api_url()) {
        let text = "is not encrypted although hub.internal_ssl is on: begin with https://";
        rules.doubt("proxy.api_url", text);
    }
    if hub.recreate_internal_certs {
        let text = "makes all certificates anew at each start of the hub: servers that run lose touch with it, and \
                    several hubs cannot share the folder; set it for one start only";
        rules.doubt("hub.recreate_internal_certs", text);
    }
}

fn is_plain(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "http")
}

fn alt_names(hub: &HubSection, rules: &mut Rules) {
    for (index, name) in hub.trusted_alt_names.iter().enumerate() {
        let fits = match name.split_once(':') {
            Some(("DNS", host)) => is_name(host),
            Some(("IP", address)) => address.parse::<IpAddr>().is_ok(),
            _ => false,
        };
        if !fits {
            let text = format!("{name:?} is neither DNS:HOST nor IP:ADDRESS");
            rules.wrong(format!("hub.trusted_alt_names[{index}]"), text);
        }
    }
}

/// Whether somebody can connect to a name, or to one below it where it begins with `*.`.
fn is_name(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    !name.ends_with('.') && DnsName::try_from(name).is_ok() && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::BindUrl;
    use crate::internal_ssl::AuthorityFiles;

    fn findings(change: impl FnOnce(&mut Config)) -> (Vec<String>, Vec<String>) {
        let mut config = Config::default();
        config.hub.internal_ssl = true;
        change(&mut config);
        let mut rules = Rules::default();
        check(&config, &mut rules);
        let keys = |found: Vec<crate::Problem>| found.into_iter().map(|problem| problem.key).collect();
        (keys(rules.0.problems), keys(rules.0.warnings))
    }

    #[test]
    fn names_are_those_of_certificates() {
        let (wrong, _) = findings(|config| {
            config.hub.trusted_alt_names =
                ["DNS:hub", "IP:10.0.0.1", "IP:::1", "DNS:*.lab.example", "DNS:my_hub"]
                    .into_iter()
                    .chain(["hub", "IP:hub", "DNS:", "email:a@b", "DNS:hub.", "DNS:a b", "DNS:10.0.0.1"])
                    .map(str::to_owned)
                    .collect();
        });
        assert_eq!(wrong, [5, 6, 7, 8, 9, 10, 11].map(|index| format!("hub.trusted_alt_names[{index}]")));
    }

    #[test]
    fn what_says_http_does_not_fit_and_https_needs_the_switch() {
        let (wrong, doubts) = findings(|config| {
            config.hub.hub_connect_url = Some("http://hub:8081".to_owned());
            config.proxy.should_start = false;
            config.proxy.api_url = Some("http://127.0.0.1:8001".to_owned());
            config.hub.recreate_internal_certs = true;
        });
        assert_eq!(wrong, ["hub.hub_connect_url"]);
        assert_eq!(doubts, ["proxy.api_url", "hub.recreate_internal_certs"]);
        let (wrong, _) = findings(|config| {
            config.hub.hub_bind_url = BindUrl { tls: true, ..BindUrl::http("127.0.0.1", 8081) };
            config.hub.internal_ssl = false;
        });
        assert_eq!(wrong, ["hub.hub_bind_url"]);
    }

    #[test]
    fn addresses_of_the_hub_in_tables_of_spawners_count_too() {
        let (wrong, _) = findings(|config| {
            config.hub.hub_connect_url = Some("HTTP://hub:8081".to_owned());
            config.spawner.kind = "kube".to_owned();
            let table = json!({
                "hub_connect_url": "http://hub:8081",
                "profile_list": [
                    {"kubespawner_override": {"hub_connect_url": "https://hub:8081"}},
                    {"kubespawner_override": {"hub_connect_url": "Http://hub:8081"}},
                ],
            });
            config.spawner.plugins.insert("kube", table.as_object().unwrap().clone());
            let mut profile = crate::SpawnerProfile::default();
            profile.spawner.hub_connect_url = Some("http://hub:8081".to_owned());
            config.spawner.profiles.insert("big".to_owned(), profile);
        });
        let list = "spawner.kube.profile_list[1].kubespawner_override.hub_connect_url";
        assert_eq!(
            wrong,
            [
                "hub.hub_connect_url",
                "spawner.kube.hub_connect_url",
                list,
                "spawner.profiles.big.hub_connect_url"
            ]
        );
    }

    #[test]
    fn the_proxys_api_is_encrypted_unless_it_is_said_otherwise() {
        let mut config = Config::default();
        assert_eq!(config.proxy_api_url(), "http://127.0.0.1:8001");
        config.hub.internal_ssl = true;
        assert_eq!(config.proxy_api_url(), "https://127.0.0.1:8001");
        let (wrong, doubts) = findings(|config| config.proxy.should_start = false);
        assert!(wrong.is_empty() && doubts.is_empty(), "{wrong:?} {doubts:?}");
        config.proxy.api_url = Some("http://proxy:1".to_owned());
        assert_eq!(config.proxy_api_url(), "http://proxy:1");
    }

    #[test]
    fn an_authority_has_a_name_and_a_certificate() {
        let (wrong, _) = findings(|config| {
            let files = AuthorityFiles { cert: "ca.crt".into(), ..AuthorityFiles::default() };
            config.hub.external_ssl_authorities = [
                ("mine".to_owned(), files.clone()),
                ("../x".to_owned(), files),
                ("none".to_owned(), AuthorityFiles::default()),
            ]
            .into();
        });
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }
}
