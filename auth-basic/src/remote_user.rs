//! `remote-user`: a proxy in front has asked who it is and says so in a header. Only the proxies that the
//! configuration names are believed, by the address from which they connect; from anywhere else the header means
//! nothing.
//!
//! Stock has nothing like it; `jhub-remote-user-authenticator` and `jupyterhub-header-authenticator` are in use.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hub_core::plugin::read_options;
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, Identity, LoginMethod, LoginRequest, LoginStep,
    PluginError, Problem,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use crate::table;

/// The `kind`.
pub(crate) const NAME: &str = "remote-user";
/// Most groups that are read from a header.
const MOST_GROUPS: usize = 1_000;

/// The table `[authenticator.remote-user]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteUserOptions {
    /// Header with the name. The proxy must set it on every request, replacing what the browser sent.
    pub header: String,
    /// Header with groups, separated by commas. Needs `authenticator.manage_groups`.
    pub groups_header: Option<String>,
    /// Addresses and networks (`10.0.0.0/8`, `::1`) of the proxies that are believed.
    pub trusted_proxies: Vec<String>,
    /// Where the browser goes after logout, for the proxy to forget the person too.
    pub logout_url: Option<String>,
}

impl Default for RemoteUserOptions {
    fn default() -> Self {
        Self {
            header: "X-Remote-User".to_owned(),
            groups_header: None,
            trusted_proxies: Vec::new(),
            logout_url: None,
        }
    }
}

/// An address with the number of bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.trim().parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.trim().parse().ok().filter(|bits| *bits <= most))?;
        Some(Self { address, bits })
    }

    fn contains(self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                ours.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                ours.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// Believes proxies.
#[derive(Debug)]
pub struct RemoteUserAuthenticator {
    header: String,
    groups_header: Option<String>,
    trusted: Vec<Network>,
    logout_url: Option<String>,
}

impl RemoteUserAuthenticator {
    /// Checks the options.
    pub fn new(options: RemoteUserOptions, cx: &AuthenticatorContext) -> Result<Self, PluginError> {
        let mut problems = Vec::new();
        let mut wrong =
            |key: &str, text: String| problems.push(Problem::new(format!("{}.{key}", table(NAME)), text));
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_name(&options.header) {
            wrong("header", format!("{:?} is no name of a header", options.header));
        }
        if let Some(name) = &options.groups_header {
            if !is_name(name) {
                wrong("groups_header", format!("{name:?} is no name of a header"));
            }
            if !cx.manage_groups {
                wrong("groups_header", "needs authenticator.manage_groups = true".to_owned());
            }
        }
        if options.trusted_proxies.is_empty() {
            wrong(
                "trusted_proxies",
                "is missing: without the addresses of the proxies anybody could send the header".to_owned(),
            );
        }
        let mut trusted = Vec::new();
        for text in &options.trusted_proxies {
            match Network::parse(text) {
                Some(network) if network.bits == 0 => {
                    wrong("trusted_proxies", format!("{text:?} is everybody: anybody could send the header"));
                }
                Some(network) => trusted.push(network),
                None => wrong("trusted_proxies", format!("{text:?} is neither an address nor a network")),
            }
        }
        PluginError::check(problems)?;
        Ok(Self {
            header: options.header.to_ascii_lowercase(),
            groups_header: options.groups_header.map(|name| name.to_ascii_lowercase()),
            trusted,
            logout_url: options.logout_url,
        })
    }

    fn identity(&self, rq: &LoginRequest) -> Result<Identity, AuthError> {
        let refused = |reason: &'static str, why: String| {
            warn!(reason, why, "login refused");
            AuthError::Invalid(why)
        };
        let peer = rq.peer.ok_or_else(|| {
            refused(
                "not_through_proxy",
                "the request did not come through the hub's proxy; if it did, list in hub.proxy_networks from where that \
                 connects to the hub"
                    .to_owned(),
            )
        })?;
        if !self.trusted.iter().any(|network| network.contains(peer)) {
            return Err(refused("proxy_not_trusted", format!("{peer} is not among trusted_proxies")));
        }
        let name = rq.headers.get(&self.header).map(|name| name.trim()).filter(|name| !name.is_empty());
        let name = name
            .ok_or_else(|| refused("header_missing", format!("the proxy sent no {} header", self.header)))?;
        // Two headers of one name are joined with a comma: one of them may come from the browser.
        if name.contains(',') {
            return Err(refused(
                "header_twice",
                "the header came twice or names more than one person".to_owned(),
            ));
        }
        let groups = self.groups_header.as_ref().map(|header| {
            let text = rq.headers.get(header).map(String::as_str).unwrap_or_default();
            let groups =
                text.split(',').map(str::trim).filter(|group| !group.is_empty() && group.len() <= 255);
            groups.take(MOST_GROUPS).map(str::to_owned).collect()
        });
        Ok(Identity { name: name.to_owned(), groups, ..Identity::default() })
    }
}

pub(crate) fn build(
    options: Value,
    cx: &AuthenticatorContext,
) -> Result<Arc<dyn Authenticator>, PluginError> {
    Ok(Arc::new(RemoteUserAuthenticator::new(read_options(options, &table(NAME))?, cx)?))
}

#[async_trait]
impl Authenticator for RemoteUserAuthenticator {
    fn class_name(&self) -> &'static str {
        "hub_auth_basic::RemoteUserAuthenticator"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Automatic
    }

    async fn begin(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        self.identity(rq).map(|who| LoginStep::Identity(Box::new(who)))
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        self.begin(rq).await
    }

    async fn logged_out(&self, _who: &Identity, _rq: &LoginRequest) -> Result<Option<String>, AuthError> {
        Ok(self.logout_url.clone())
    }
}

#[cfg(test)]
mod tests {
    use hub_core::testing::Log;
    use serde_json::json;

    use super::*;
    use crate::testing::{context, identity};

    fn cx() -> AuthenticatorContext {
        AuthenticatorContext { manage_groups: true, ..context() }
    }

    fn rq(peer: &str, headers: &[(&str, &str)]) -> LoginRequest {
        LoginRequest {
            method: "GET".to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            peer: peer.parse().ok(),
            // what headers say about the address counts for nothing
            remote: "10.1.2.3".parse().ok(),
            ..LoginRequest::default()
        }
    }

    #[tokio::test]
    async fn only_trusted_proxies_are_believed() {
        let options =
            json!({"trusted_proxies": ["10.0.0.0/8", "fd00::/64", "192.0.2.7"], "groups_header": "X-Groups"});
        let hub = build(options, &cx()).unwrap();
        for (peer, name, expected) in [
            ("10.9.9.9", "Ada", Ok("Ada")),
            ("::ffff:10.9.9.9", " ada ", Ok("ada")),
            ("fd00::1", "ada", Ok("ada")),
            ("fd00:0:0:1::1", "ada", Err("proxy_not_trusted")),
            ("192.0.2.7", "ada", Ok("ada")),
            ("192.0.2.8", "ada", Err("proxy_not_trusted")),
            ("11.0.0.1", "ada", Err("proxy_not_trusted")),
            ("nobody", "ada", Err("not_through_proxy")),
            ("10.9.9.9", "", Err("header_missing")),
            ("10.9.9.9", "ada, eve", Err("header_twice")),
        ] {
            let (log, _guard) = Log::begin();
            let step = hub.begin(&rq(peer, &[("x-remote-user", name), ("x-groups", "a, b,,")])).await;
            match expected {
                Ok(expected) => {
                    let who = identity(step);
                    assert_eq!(who.name, expected);
                    assert_eq!(who.groups, Some(vec!["a".to_owned(), "b".to_owned()]));
                    assert!(!who.allowed);
                }
                Err(reason) => {
                    assert!(matches!(step, Err(AuthError::Invalid(_))), "{peer} {name}: {step:?}");
                    assert_eq!(log.reasons(), [reason], "{peer} {name}");
                    assert!(!log.text().contains("eve"), "{}", log.text());
                }
            }
        }
    }

    #[test]
    fn a_setting_that_would_believe_everybody_is_refused() {
        let keys = |options: Value| {
            let error = build(options, &context()).unwrap_err();
            error.problems.iter().map(|p| p.key.rsplit('.').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keys(json!({})), ["trusted_proxies"]);
        assert_eq!(
            keys(json!({"trusted_proxies": ["0.0.0.0/0", "::/0", "10.0.0.0/33", "x"]})),
            vec!["trusted_proxies"; 4]
        );
        assert_eq!(
            keys(json!({"trusted_proxies": ["::1"], "header": "a b", "groups_header": "g"})),
            ["header", "groups_header"]
        );
    }
}
