//! Under which names hub and proxy are reached. A kept certificate without one of them is made anew.

use hub_config::Config;
use url::{Host, Url};

/// Where the kernel tells the name of this machine.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Those of the proxy towards hub and servers.
pub(super) fn of_proxy(config: &Config) -> Vec<String> {
    let mut names = ["IP:127.0.0.1", "IP:::1", "DNS:localhost"].map(str::to_owned).to_vec();
    names.extend(config.hub.subdomain_host().and_then(|text| of_url(&text)));
    names.extend(config.hub.trusted_alt_names.iter().cloned());
    without_repetition(names)
}

/// Those of the proxy's REST API: also the address by which the hub calls it.
pub(super) fn of_proxy_api(config: &Config) -> Vec<String> {
    let mut names = of_proxy(config);
    names.extend(of_url(&config.proxy_api_url()));
    without_repetition(names)
}

/// Those of the hub: also the addresses that it gives to others.
pub(super) fn of_hub(config: &Config) -> Vec<String> {
    let mut names = of_proxy(config);
    names.extend(config.hub_connect_urls().iter().filter_map(|(_, url)| of_url(url)));
    if let Some(host) = config.hub.hub_bind_url.host().filter(|host| !matches!(*host, "" | "0.0.0.0" | "::"))
    {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        names.extend(of_url(&format!("https://{host}")));
    }
    without_repetition(names)
}

/// The name of this machine. Of several hubs with one certificate each has another one, so it is none that must be
/// there.
pub(super) fn of_machine() -> Option<String> {
    let name = std::fs::read_to_string(HOST_NAME).ok()?;
    of_url(&format!("https://{}", name.trim()))
}

/// The host of a URL as the name of a certificate.
fn of_url(text: &str) -> Option<String> {
    match Url::parse(text).ok()?.host()? {
        Host::Domain(name) => Some(format!("DNS:{name}")),
        Host::Ipv4(address) => Some(format!("IP:{address}")),
        Host::Ipv6(address) => Some(format!("IP:{address}")),
    }
}

pub(super) fn without_repetition(names: Vec<String>) -> Vec<String> {
    let mut seen = Vec::with_capacity(names.len());
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use hub_config::BindUrl;

    use super::*;

    #[test]
    fn the_hub_has_the_names_that_it_gives_to_others() {
        let mut config = Config::default();
        config.hub.hub_connect_url = Some("https://hub:8081".to_owned());
        config.hub.hub_bind_url = BindUrl::http("fd00::1", 8081);
        config.hub.subdomain_host = "lab.example.org".to_owned();
        config.hub.trusted_alt_names = vec!["DNS:hub".to_owned(), "IP:10.0.0.7".to_owned()];
        let names = of_hub(&config);
        let local = [
            "IP:127.0.0.1",
            "IP:::1",
            "DNS:localhost",
            "DNS:lab.example.org",
            "DNS:hub",
            "IP:10.0.0.7",
            "IP:fd00::1",
        ];
        assert_eq!(names, local);
        assert_eq!(of_proxy(&config), local[..6]);
        assert_eq!(of_proxy_api(&config), local[..6]);
        config.proxy.api_url = Some("https://proxy-api:8001".to_owned());
        assert_eq!(of_proxy_api(&config).last().unwrap(), "DNS:proxy-api");
        config.spawner.kind = "kube".to_owned();
        let table = serde_json::json!({"hub_connect_url": "https://hub.jhub:8081"});
        config.spawner.plugins.insert("kube", table.as_object().unwrap().clone());
        assert!(of_hub(&config).contains(&"DNS:hub.jhub".to_owned()));
        config.hub.hub_bind_url = BindUrl::http("0.0.0.0", 8081);
        assert!(!of_hub(&config).contains(&"IP:0.0.0.0".to_owned()));
    }
}
