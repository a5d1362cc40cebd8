//! Rules about users, services, roles, groups and scopes.

use std::collections::BTreeSet;

use hub_core::UserName;
use regex::Regex;
use secrecy::{ExposeSecret as _, SecretString};

use super::Rules;
use crate::Config;
use crate::check::child;

/// Lengths that tokens given by people may have, in characters: stock's bounds.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 8..=64;

pub(super) fn check(config: &Config, rules: &mut Rules) {
    authenticator(config, rules);
    services(config, rules);
    roles(config, rules);
    custom_scopes(config, rules);
    for (name, group) in &config.groups {
        let key = child("groups", name);
        names(&key, group.users(), rules);
        if name.trim().is_empty() || name.contains('/') {
            rules.wrong(key, "is no valid name of a group");
        }
    }
    for (table, tokens) in
        [("hub.service_tokens", &config.hub.service_tokens), ("hub.api_tokens", &config.hub.api_tokens)]
    {
        for (name, token) in tokens {
            check_named_token(table, name, token, rules);
        }
    }
}

fn names(key: &str, names: &[String], rules: &mut Rules) {
    for (index, name) in names.iter().enumerate() {
        if let Err(why) = UserName::new(name) {
            rules.wrong(format!("{key}[{index}]"), format!("{name:?}: {why}"));
        }
    }
}

/// The table is `name = "token"`. Stock has it the other way round, so that what stands for the name is not repeated:
/// it may be a token.
fn check_named_token(table: &str, name: &str, token: &SecretString, rules: &mut Rules) {
    let length = token.expose_secret().chars().count();
    let turned = name.len() >= 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if turned || !TOKEN_LENGTHS.contains(&length) {
        let (least, most) = (TOKEN_LENGTHS.start(), TOKEN_LENGTHS.end());
        rules.wrong_but(
            table,
            format!("a token must have {least} to {most} characters, and its name comes first"),
            "write name = \"token\", where stock has token: name; make one with: openssl rand -hex 32",
        );
    }
}

fn check_token(key: &str, token: &SecretString, rules: &mut Rules) {
    let length = token.expose_secret().chars().count();
    if !TOKEN_LENGTHS.contains(&length) {
        rules.wrong_but(
            key,
            format!(
                "a token must have {} to {} characters, this has {length}",
                TOKEN_LENGTHS.start(),
                TOKEN_LENGTHS.end()
            ),
            "make one with: openssl rand -hex 32",
        );
    }
}

fn authenticator(config: &Config, rules: &mut Rules) {
    let section = &config.authenticator;
    for (key, list) in [
        ("authenticator.allowed_users", &section.allowed_users),
        ("authenticator.blocked_users", &section.blocked_users),
        ("authenticator.admin_users", &section.admin_users),
    ] {
        names(key, list, rules);
    }
    match Regex::new(&format!("^(?:{})", section.username_pattern)) {
        Ok(pattern) => matching("authenticator.admin_users", &section.admin_users, &pattern, config, rules),
        Err(_) => unreadable_pattern(&section.username_pattern, rules),
    }
    if section.enable_auth_state && config.hub.crypt_keys.is_empty() {
        rules.wrong_but(
            "authenticator.enable_auth_state",
            "needs hub.crypt_keys, with which the state is encrypted",
            "make a key with: openssl rand -hex 32",
        );
    }
    if section.reset_managed_roles_on_startup && !section.manage_roles {
        rules.doubt("authenticator.reset_managed_roles_on_startup", "does nothing without manage_roles");
    }
}

/// An administrator whose name the pattern refuses could never log in.
fn matching(key: &str, names: &[String], pattern: &Regex, config: &Config, rules: &mut Rules) {
    for (index, name) in names.iter().enumerate() {
        let lower = name.to_lowercase();
        let mapped = config.authenticator.username_map.get(&lower).unwrap_or(&lower);
        if !pattern.is_match(mapped) {
            rules.wrong(
                format!("{key}[{index}]"),
                format!("{name:?} does not match authenticator.username_pattern"),
            );
        }
    }
}

fn unreadable_pattern(pattern: &str, rules: &mut Rules) {
    let why = Regex::new(pattern).err().map(|error| error.to_string()).unwrap_or_default();
    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
    rules.wrong("authenticator.username_pattern", format!("is no regular expression: {why}"));
}

fn services(config: &Config, rules: &mut Rules) {
    let mut seen = BTreeSet::new();
    for (index, service) in config.services.iter().enumerate() {
        let key = format!("services[{index}]");
        if service.name.is_empty() {
            rules.wrong(child(&key, "name"), "is missing: every service needs a name");
        } else if let Err(why) = UserName::new(&service.name) {
            rules.wrong(child(&key, "name"), format!("{:?}: {why}", service.name));
        } else if percent_encoding::percent_decode_str(&service.name).decode_utf8_lossy()
            != service.name.as_str()
        {
            rules.wrong(
                child(&key, "name"),
                format!("{:?} is percent-encoded; write it plainly", service.name),
            );
        } else if !seen.insert(service.name.as_str()) {
            rules.wrong(child(&key, "name"), format!("there are two services {:?}", service.name));
        }
        if let Some(url) = &service.url
            && !url.starts_with("http+unix://")
        {
            rules.http_url(&child(&key, "url"), url);
        }
        if let Some(token) = &service.api_token {
            check_token(&child(&key, "api_token"), token, rules);
        }
        if service.oauth_client_id.as_ref().is_some_and(|id| !id.starts_with("service-")) {
            rules.wrong(child(&key, "oauth_client_id"), "must begin with service-");
        }
        if service.oauth_available() && service.url.is_none() && service.oauth_redirect_uri.is_none() {
            rules.wrong(child(&key, "oauth_redirect_uri"), "is needed for OAuth, as the service has no url");
        }
        let outside = !service.is_managed();
        for (name, given) in [
            ("cwd", service.cwd.is_some()),
            ("environment", !service.environment.is_empty()),
            ("user", service.user.is_some()),
        ] {
            if outside && given {
                rules.wrong(child(&key, name), "has no meaning for a service without command");
            }
        }
        if outside
            && service.url.is_none()
            && service.api_token.is_none()
            && !config.hub.service_tokens.contains_key(&service.name)
        {
            rules.doubt(&key, format!("service {:?} has neither url, command nor api_token", service.name));
        }
    }
    let unknown = config.hub.service_tokens.keys().filter(|name| !seen.contains(name.as_str())).count();
    if unknown > 0 {
        // Who took over stock's order has written the token where the name belongs, so it is not repeated.
        let known = seen.iter().copied().collect::<Vec<_>>().join(", ");
        rules.wrong_but(
            "hub.service_tokens",
            format!("{unknown} of the names are those of no service"),
            format!("write service = \"token\", where stock has token: service; services are: {known}"),
        );
    }
}

fn roles(config: &Config, rules: &mut Rules) {
    let mut seen = BTreeSet::new();
    for (index, role) in config.roles.iter().enumerate() {
        let key = format!("roles[{index}]");
        if !is_role_name(&role.name) {
            rules.wrong_but(
                child(&key, "name"),
                format!("{:?} is no name of a role", role.name),
                "3 to 255 characters of a-z, 0-9 and -_~., a letter first, a letter or digit last",
            );
        } else if !seen.insert(role.name.as_str()) {
            rules.wrong(child(&key, "name"), format!("there are two roles {:?}", role.name));
        }
        if role.name == "admin" && (role.scopes.is_some() || role.description.is_some()) {
            rules.wrong(&key, "scopes and description of the role admin cannot be changed");
        }
        names(&child(&key, "users"), role.users.as_deref().unwrap_or_default(), rules);
        if config.authenticator.manage_roles && (role.users.is_some() || role.groups.is_some()) {
            rules.wrong_but(
                &key,
                format!(
                    "role {:?} is given to users or groups here, but roles come from the authenticator",
                    role.name
                ),
                "remove users and groups, or authenticator.manage_roles",
            );
        }
        for (at, service) in role.services.iter().flatten().enumerate() {
            if !config.services.iter().any(|known| known.name == *service) {
                rules.wrong(format!("{key}.services[{at}]"), format!("there is no service {service:?}"));
            }
        }
    }
}

fn is_role_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (3..=255).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_~.".contains(b))
}

fn custom_scopes(config: &Config, rules: &mut Rules) {
    for (name, scope) in &config.custom_scopes {
        let key = child("custom_scopes", name);
        if !is_custom_scope(name) {
            rules.wrong_but(
                &key,
                "is no name of a custom scope",
                "custom: and then at least three characters of a-z, 0-9 and _-:*, not beginning with one of _-:*, \
                 not ending in :",
            );
        }
        if scope.description.is_empty() {
            rules.wrong(child(&key, "description"), "is missing: people are shown it");
        }
        for (index, inner) in scope.subscopes.iter().enumerate() {
            if !config.custom_scopes.contains_key(inner) {
                rules.wrong(
                    format!("{key}.subscopes[{index}]"),
                    format!("there is no custom scope {inner:?}"),
                );
            }
        }
    }
}

fn is_custom_scope(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("custom:") else { return false };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = rest.as_bytes();
    bytes.len() >= 3
        && bytes.first().copied().is_some_and(plain)
        && bytes.last().is_some_and(|b| plain(*b) || b"_-*".contains(b))
        && bytes.iter().all(|b| plain(*b) || b"_-:*".contains(b))
}
