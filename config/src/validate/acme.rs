//! `[proxy.acme]`: what cannot be ordered.

use super::Rules;
use crate::proxy::{AcmeChallenge, ProxySection};

/// Names in one certificate, at most.
const MAX_DOMAINS: usize = 100;

pub(super) fn check(proxy: &ProxySection, rules: &mut Rules) {
    let acme = &proxy.acme;
    if !acme.is_wanted() {
        if acme.accept_terms || acme.contact.is_some() {
            rules.wrong("proxy.acme.domains", "is empty: name the hosts that the certificate is for");
        }
        return;
    }
    if !acme.accept_terms {
        rules.wrong_but(
            "proxy.acme.accept_terms",
            "is not true",
            format!(
                "read the terms of service of {} and agree to them by accept_terms = true",
                acme.directory
            ),
        );
    }
    if acme.domains.len() > MAX_DOMAINS {
        rules.wrong("proxy.acme.domains", format!("may name {MAX_DOMAINS} hosts at most"));
    }
    for (index, name) in acme.domains.iter().enumerate() {
        let characters = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        if !characters || !name.contains(|c: char| c.is_ascii_alphabetic()) {
            let message = format!("{name:?} is no host name; wildcards and addresses cannot be ordered");
            rules.wrong(format!("proxy.acme.domains[{index}]"), message);
        }
    }
    if let Some(url) = rules.http_url("proxy.acme.directory", &acme.directory)
        && url.scheme() != "https"
    {
        rules.wrong("proxy.acme.directory", "must begin with https://");
    }
    if acme.contact.as_ref().is_some_and(|contact| !contact.contains('@') || contact.starts_with("mailto:")) {
        rules.wrong("proxy.acme.contact", "must be a mail address, such as operator@example.org");
    }
    if proxy.ssl_key.is_some() || proxy.ssl_cert.is_some() {
        let message = "orders a certificate although proxy.ssl_key and proxy.ssl_cert name one";
        rules.wrong_but("proxy.acme", message, "remove either");
    }
    if acme.challenge == AcmeChallenge::Http && proxy.redirect_port.is_none() {
        rules.wrong_but(
            "proxy.redirect_port",
            "is missing: http-01 in proxy.acme.challenge is answered there",
            "set it to 80, or to the port that port 80 is forwarded to",
        );
    }
}
