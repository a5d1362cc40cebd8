//! What is wrong with options, all of it at once.

use std::time::Duration;

use hub_core::{AuthenticatorContext, PluginError, Problem};
use jsonwebtoken::Algorithm;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::claims::ClaimPath;
use crate::environment::field;
use crate::exchange;
use crate::options::{ClientAuth, OidcOptions};

/// Longest wait for one answer that can be set.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest difference of clocks that can be set: an expired token must not pass for hours.
const LARGEST_SKEW: Duration = Duration::from_mins(5);

/// The algorithm of a name, unless its keys are secrets that both sides know, or there is no key at all.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    name.parse::<Algorithm>()
        .ok()
        .filter(|alg| !matches!(alg, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512))
}

/// Whether an address may be asked: TLS, this machine, or the operator said so.
pub(crate) fn is_safe(url: &Url, allow_insecure: bool) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && (loopback || allow_insecure))
}

struct Rules<'a> {
    table: &'a str,
    problems: Vec<Problem>,
}

impl Rules<'_> {
    fn wrong(&mut self, key: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(format!("{}.{key}", self.table), text));
    }

    fn address(&mut self, key: &str, text: Option<&str>, allow_insecure: bool) {
        let Some(text) = text else { return };
        match Url::parse(text) {
            Err(error) => self.wrong(key, format!("{text:?} is no URL: {error}")),
            Ok(url) if url.fragment().is_some() => self.wrong(key, "must have no part after #"),
            Ok(url) if !is_safe(&url, allow_insecure) => self.wrong(
                key,
                "must begin with https:, or set allow_insecure_http = true to send secrets in the clear",
            ),
            Ok(_) => {}
        }
    }

    fn path(&mut self, key: &str, text: &str) {
        if let Err(why) = ClaimPath::parse(text) {
            self.wrong(key, why);
        }
    }
}

/// Every problem of the options in the table of this name.
pub(crate) fn validate(
    options: &OidcOptions,
    table: &str,
    cx: &AuthenticatorContext,
) -> Result<(), PluginError> {
    let mut rules = Rules { table, problems: Vec::new() };
    addresses(options, &mut rules);
    client(options, &mut rules);
    claims(options, &mut rules, cx);
    if options.http_timeout.is_zero() || options.http_timeout > LONGEST_TIMEOUT {
        rules.wrong("http_timeout", "must be longer than 0 and a minute at most");
    }
    if options.clock_skew > LARGEST_SKEW {
        rules.wrong("clock_skew", "must be 5 minutes at most");
    }
    if !options.server_environment.is_empty() && !cx.auth_state {
        rules.wrong("server_environment", "needs authenticator.enable_auth_state, which keeps the tokens");
    }
    for name in options.server_environment.keys() {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            rules.wrong("server_environment", format!("{name:?} cannot be the name of a variable"));
        }
    }
    exchanges(options, &mut rules);
    if options.back_channel_logout && !cx.auth_state {
        rules.wrong(
            "back_channel_logout",
            "needs authenticator.enable_auth_state: what is kept there tells whose login a session is",
        );
    }
    if options.back_channel_logout && !options.is_oidc() {
        rules.wrong("back_channel_logout", "needs issuer: plain OAuth 2 has no logout tokens");
    }
    PluginError::check(rules.problems)
}

fn exchanges(options: &OidcOptions, rules: &mut Rules<'_>) {
    if options.token_exchange.len() > exchange::MOST {
        rules.wrong("token_exchange", format!("names more than {} services", exchange::MOST));
    }
    for (name, wanted) in &options.token_exchange {
        let key = format!("token_exchange.{name}");
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            rules.wrong(&key, "is no name: write it with letters, digits, - and _");
        }
        if wanted.audience.is_none() && wanted.resource.is_none() {
            rules.wrong(&key, "names no service: give audience or resource");
        }
        let field = field(name);
        if !options.server_environment.values().any(|text| text.contains(&field)) {
            rules.wrong(&key, format!("is used by nothing: {field} belongs into server_environment"));
        }
    }
    for (variable, text) in &options.server_environment {
        for (at, _) in text.match_indices("{exchanged.") {
            let rest = text.get(at..).unwrap_or_default();
            if !options.token_exchange.keys().any(|name| rest.starts_with(&field(name))) {
                rules.wrong(
                    "server_environment",
                    format!("{variable} asks for a service that token_exchange lacks"),
                );
            }
        }
    }
}

fn addresses(options: &OidcOptions, rules: &mut Rules<'_>) {
    let insecure = options.allow_insecure_http;
    if options.is_oidc() {
        rules.address("issuer", Some(&options.issuer), insecure);
    } else {
        for (key, url) in [("authorize_url", &options.authorize_url), ("token_url", &options.token_url)] {
            if url.is_none() {
                rules.wrong(
                    key,
                    "is missing: give either issuer, or authorize_url, token_url and userdata_url",
                );
            }
        }
        if options.userdata_url.is_none() {
            rules.wrong("userdata_url", "is missing: without issuer nothing else tells who logs in");
        }
    }
    for (key, url) in [
        ("authorize_url", &options.authorize_url),
        ("token_url", &options.token_url),
        ("userdata_url", &options.userdata_url),
        ("jwks_url", &options.jwks_url),
        ("end_session_url", &options.end_session_url),
    ] {
        rules.address(key, url.as_deref(), insecure);
    }
    // Browsers go there, no secret of the hub does.
    for (key, url) in [
        ("oauth_callback_url", &options.oauth_callback_url),
        ("logout_redirect_url", &options.logout_redirect_url),
        ("post_logout_redirect_url", &options.post_logout_redirect_url),
    ] {
        rules.address(key, url.as_deref().filter(|url| !url.starts_with('/')), true);
    }
    if options.oauth_callback_url.as_deref().is_some_and(|url| !url.ends_with("/oauth_callback")) {
        rules.wrong("oauth_callback_url", "must end in /hub/oauth_callback, where the hub waits for people");
    }
    if options.userdata_from_id_token && !options.is_oidc() {
        rules.wrong(
            "userdata_from_id_token",
            "needs issuer: an id_token is checked against its provider's keys",
        );
    }
    if options.userdata_from_id_token && options.userdata_url.is_some() {
        rules.wrong("userdata_from_id_token", "says the opposite of userdata_url; keep one of them");
    }
}

fn client(options: &OidcOptions, rules: &mut Rules<'_>) {
    if options.client_id.is_empty() {
        rules.wrong("client_id", "is missing: the name of this hub at the provider");
    }
    let secret = options.client_secret.as_ref().is_some_and(|secret| !secret.expose_secret().is_empty());
    let needs_secret =
        matches!(options.client_auth, Some(ClientAuth::ClientSecretBasic | ClientAuth::ClientSecretPost));
    if needs_secret && !secret {
        rules.wrong(
            "client_secret",
            "is missing: client_auth says that there is one (client_secret_file names a file)",
        );
    }
    if options.client_auth == Some(ClientAuth::PrivateKeyJwt) && options.private_key_file.is_none() {
        rules.wrong("private_key_file", "is missing: client_auth is private_key_jwt");
    }
    let public = options.client_auth == Some(ClientAuth::None)
        || (options.client_auth.is_none() && !secret && options.private_key_file.is_none());
    if public && !options.enable_pkce {
        rules
            .wrong("enable_pkce", "must stay on for a client without secret: codes could be used by anybody");
    }
    if algorithm(&options.private_key_alg).is_none() {
        rules.wrong(
            "private_key_alg",
            format!("{:?} is no algorithm with a private key", options.private_key_alg),
        );
    }
    if options.signing_algs.is_empty() {
        rules.wrong("signing_algs", "must name one algorithm at least");
    }
    for name in &options.signing_algs {
        if algorithm(name).is_none() {
            rules.wrong(
                "signing_algs",
                format!("{name:?} is no algorithm with a public key, which is needed here"),
            );
        }
    }
}

fn claims(options: &OidcOptions, rules: &mut Rules<'_>, cx: &AuthenticatorContext) {
    rules.path("username_claim", &options.username_claim);
    for (key, path) in [
        ("display_name_claim", &options.display_name_claim),
        ("groups_claim", &options.groups_claim),
        ("roles_claim", &options.roles_claim),
    ] {
        if !path.is_empty() {
            rules.path(key, path);
        }
    }
    for (key, list) in [
        ("admin_claims", &options.admin_claims),
        ("allowed_claims", &options.allowed_claims),
        ("required_claims", &options.required_claims),
    ] {
        for rule in list {
            rules.path(key, &rule.claim);
            if rule.values.is_empty() {
                rules.wrong(
                    key,
                    format!("the rule for {:?} names no values and would never hold", rule.claim),
                );
            }
        }
    }
    if !options.roles_claim.is_empty() && !cx.manage_roles {
        rules.wrong("roles_claim", "needs authenticator.manage_roles = true");
    }
    for (key, used) in [
        ("auth_state_groups_key", options.auth_state_groups_key.is_some()),
        ("allowed_groups", !options.allowed_groups.is_empty()),
        ("admin_groups", !options.admin_groups.is_empty()),
    ] {
        if used && !cx.manage_groups {
            rules.wrong(key, "needs authenticator.manage_groups = true, as in stock");
        }
    }
    for domain in &options.allowed_email_domains {
        if domain.is_empty() || domain.contains('@') {
            rules.wrong("allowed_email_domains", format!("{domain:?}: write the domain alone, example.org"));
        }
    }
}
