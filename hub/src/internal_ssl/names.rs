//! Under which names hub and proxy are reached.

use hub_config::Config;
use url::{Host, Url};

/// Where the kernel tells the name of this machine.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Those of the proxy.
pub(super) fn of_proxy(config: &Config) -> Vec<String> {
    let mut names = ["IP:127.0.0.1", "IP:::1", "DNS:localhost"].map(str::to_owned).to_vec();
    names.extend(config.hub.subdomain_host().and_then(|text| of_url(&text)));
    names.extend(config.hub.trusted_alt_names.iter().cloned());
    without_repetition(names)
}

/// Those of the hub: also the addresses that it gives to others, and the name of the machine.
pub(super) fn of_hub(config: &Config) -> Vec<String> {
    let mut names = of_proxy(config);
    let connect = [config.hub.hub_connect_url.as_deref(), config.spawner.hub_connect_url.as_deref()];
    names.extend(connect.into_iter().flatten().filter_map(of_url));
    if let Some(host) = config.hub.hub_bind_url.host().filter(|host| !matches!(*host, "" | "0.0.0.0" | "::"))
    {
        names.extend(of_url(&format!(
            "https://{}",
            if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
        )));
    }
    let machine = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    names.extend(of_url(&format!("https://{}", machine.trim())));
    without_repetition(names)
}

/// The host of a URL as the name of a certificate.
fn of_url(text: &str) -> Option<String> {
    match Url::parse(text).ok()?.host()? {
        Host::Domain(name) => Some(format!("DNS:{name}")),
        Host::Ipv4(address) => Some(format!("IP:{address}")),
        Host::Ipv6(address) => Some(format!("IP:{address}")),
    }
}

fn without_repetition(names: Vec<String>) -> Vec<String> {
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
        assert_eq!(names.get(..7).unwrap(), local, "{names:?}");
        assert_eq!(of_proxy(&config), local[..6]);
        config.hub.hub_bind_url = BindUrl::http("0.0.0.0", 8081);
        assert!(!of_hub(&config).contains(&"IP:0.0.0.0".to_owned()));
    }
}
