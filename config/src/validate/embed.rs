//! Rules about `hub.embed_from`.

use url::Url;

use super::Rules;
use crate::Config;

pub(super) fn check(config: &Config, rules: &mut Rules) {
    let hub = &config.hub;
    if hub.embed_from.is_empty() {
        return;
    }
    for (index, origin) in hub.embed_from.iter().enumerate() {
        if let Err(text) = check_origin(origin) {
            rules.wrong(format!("hub.embed_from[{index}]"), text);
        }
    }
    // Browsers take Secure cookies over HTTPS, and from this very machine.
    let public = hub.public_url.as_deref().and_then(|text| Url::parse(text).ok());
    if public.is_some_and(|url| url.scheme() == "http" && !is_this_machine(&url)) {
        rules.wrong(
            "hub.embed_from",
            "needs HTTPS, for browsers keep the cookies of embedded pages only then: hub.public_url begins with http://",
        );
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An origin as `frame-ancestors` has it: scheme, host (with `*.` in front of it for all below) and port.
fn check_origin(text: &str) -> Result<(), String> {
    let why = || {
        format!(
            "{text:?} is no origin: https://app.example.org, https://*.example.org or http://localhost:3000"
        )
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(why)?;
    let host = rest.strip_prefix("*.").unwrap_or(rest);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
    if !matches!(scheme, "https" | "http") || host.is_empty() || !host.bytes().all(plain) {
        return Err(why());
    }
    let url = Url::parse(&format!("{scheme}://{host}")).map_err(|_| why())?;
    if url.host_str().is_none() || rest.starts_with("*.") && !matches!(url.host(), Some(url::Host::Domain(_)))
    {
        return Err(why());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_nothing_that_could_end_the_header() {
        for good in [
            "https://app.example.org",
            "https://*.example.org:8443",
            "http://localhost:3000",
            "http://[::1]:80",
        ] {
            assert_eq!(check_origin(good), Ok(()), "{good}");
        }
        for bad in [
            "app.example.org",
            "https://app.example.org/",
            "https://a.example; script-src *",
            "https://a b",
            "ftp://a",
            "*",
            "https://*",
            "https://*.127.0.0.1",
            "https://user@a",
            "",
        ] {
            assert!(check_origin(bad).is_err(), "{bad}");
        }
    }
}
