//! The authenticator, the rules around it, and the refusal to open a hub to everybody by accident.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use hub_config::Config;
use hub_core::{Authenticator, AuthenticatorContext, Clock, PluginError, SpawnHook};

use crate::auth::chain::{self, Chain};
use crate::auth::credentials::Renewals;
use crate::auth::crypt::Crypt;
use crate::auth::looks::Looks;
use crate::auth::names::NameRules;
use crate::auth::throttle::{Limits, Throttle};
use crate::auth::{AllowRules, Auth, AuthSettings};
use crate::registry::Registry;
use crate::urls::Urls;
use crate::workspaces::{WorkspaceHook, Workspaces};

pub(super) fn build_auth(
    config: &Config,
    options: serde_json::Value,
    clock: &Arc<dyn Clock>,
    crypt: Arc<Crypt>,
    urls: &Urls,
    registry: &Registry,
) -> anyhow::Result<Auth> {
    let section = &config.authenticator;
    let names = Arc::new(
        NameRules::new(section.username_map.clone(), &section.username_pattern).with_context(|| {
            format!("authenticator.username_pattern: {:?} is no regular expression", section.username_pattern)
        })?,
    );
    let normalised = |list: &[String]| list.iter().map(|name| names.normalize(name)).collect::<BTreeSet<_>>();
    let admins = normalised(&section.admin_users);
    let users = normalised(&section.allowed_users);
    let normalise = Arc::clone(&names);
    let context = AuthenticatorContext {
        clock: Arc::clone(clock),
        admin_users: admins.clone(),
        manage_groups: section.manage_groups,
        manage_roles: section.manage_roles,
        auth_state: section.enable_auth_state,
        login_service: section.login_service.clone(),
        hub_path: urls.hub().to_owned(),
        public_origin: urls.public().map(|url| url.origin().ascii_serialization()),
        normalise: Arc::new(move |name| normalise.normalize(name)),
    };
    let authenticator: Arc<dyn Authenticator> = if section.kind == chain::KIND {
        Arc::new(Chain::build(section, registry, &context)?)
    } else {
        (registry.authenticator(&section.kind)?.build)(options, &context)?
    };
    let renewals = Renewals::new(authenticator.credentials_max_age());
    let open_by_nature = matches!(section.kind.as_str(), "dummy");
    Ok(Auth {
        authenticator,
        allow: AllowRules {
            all: section.allow_all.unwrap_or(open_by_nature && users.is_empty()),
            existing: section.allow_existing_users.unwrap_or(!users.is_empty()),
            users,
            blocked: normalised(&section.blocked_users),
            admins,
        },
        names,
        crypt,
        settings: AuthSettings {
            manage_groups: section.manage_groups,
            manage_roles: section.manage_roles,
            auth_state: section.enable_auth_state,
            refresh_age: section.auth_refresh_age,
            refresh_pre_spawn: section.refresh_pre_spawn,
            refresh_pre_stop: section.refresh_pre_stop,
            refresh_strict: section.auth_refresh_strict,
            auto_login: section.auto_login,
            auto_login_oauth: section.auto_login_oauth2_authorize,
            shutdown_on_logout: config.hub.shutdown_on_logout,
        },
        renewals,
        looks: Looks::new(section.auth_refresh_age),
        throttle: Throttle::new(Limits {
            account: section.login_failures_per_account,
            network: section.login_failures_per_network,
            window: section.login_failures_window,
        }),
    })
}

/// Refuses to give a shell to the network, unless somebody said that this is meant. An `external` proxy listens where
/// nobody here knows.
pub(super) fn check_public(
    config: &Config,
    authenticator: &dyn Authenticator,
    external: bool,
) -> Result<(), PluginError> {
    if !authenticator.lets_everybody_in() || config.hub.allow_public_without_authentication {
        return Ok(());
    }
    let (key, what) = if external {
        ("authenticator.kind", "the proxy is another process, which may listen anywhere,")
    } else if !config.proxy.bind_url.is_loopback() {
        ("proxy.bind_url", "this is a public address")
    } else if !config.hub.hub_bind_url.is_loopback() {
        ("hub.hub_bind_url", "this is a public address")
    } else {
        return Ok(());
    };
    let text = format!(
        "{what} and the authenticator {:?} lets everybody in; set a password or choose another authenticator, listen on \
         127.0.0.1, or say that you mean it with hub.allow_public_without_authentication = true",
        config.authenticator.kind
    );
    Err(PluginError::one(key, text))
}

/// Refuses to promise that the proxy goes on after the hub where both are one process.
pub(super) fn check_cleanup(config: &Config, external: bool) -> Result<(), PluginError> {
    if external || config.hub.cleanup_proxy {
        return Ok(());
    }
    let text = "the proxy is in the hub's process and ends with it; run them apart (`himalia hub` and `himalia proxy`, \
                with proxy.should_start = false), or set proxy.handover_socket, by which the next process takes over \
                without a break, and leave this out";
    Err(PluginError::one("hub.cleanup_proxy", text))
}

/// What is done before each start: workspaces first, then what the authenticator has to say.
pub(super) fn spawn_hooks(
    workspaces: Option<&Arc<Workspaces>>,
    authenticator: &dyn Authenticator,
) -> Vec<Arc<dyn SpawnHook>> {
    let own = workspaces.map(|all| Arc::new(WorkspaceHook(Arc::clone(all))) as Arc<dyn SpawnHook>);
    own.into_iter().chain(authenticator.spawn_hooks()).collect()
}

#[cfg(test)]
mod tests {
    use hub_config::BindUrl;
    use hub_core::SystemClock;

    use super::*;

    #[test]
    fn who_lets_everybody_in_listens_on_loopback_or_says_that_it_is_meant() {
        let context = AuthenticatorContext::new(Arc::new(SystemClock));
        let dummy = |options| {
            (Registry::built_in().authenticator("dummy").unwrap().build)(options, &context).unwrap()
        };
        let (open, closed) = (dummy(serde_json::json!({})), dummy(serde_json::json!({"password": "x"})));
        let public = |host: &str| BindUrl::http(host, 8000);
        for (proxy, hub, external, named) in [
            ("127.0.0.1", "127.0.0.1", false, None),
            ("", "127.0.0.1", false, Some("proxy.bind_url")),
            ("127.0.0.1", "0.0.0.0", false, Some("hub.hub_bind_url")),
            ("127.0.0.1", "127.0.0.1", true, Some("another process")),
        ] {
            let mut config = Config::default();
            (config.proxy.bind_url, config.hub.hub_bind_url) = (public(proxy), public(hub));
            let text = check_public(&config, open.as_ref(), external).err().map(|error| error.to_string());
            match named {
                Some(named) => assert!(text.is_some_and(|text| text.contains(named)), "{named}"),
                None => assert_eq!(text, None),
            }
            assert!(check_public(&config, closed.as_ref(), external).is_ok());
            config.hub.allow_public_without_authentication = true;
            assert!(check_public(&config, open.as_ref(), external).is_ok());
        }
    }

    #[test]
    fn only_a_proxy_of_another_process_can_be_left_running() {
        let mut config = Config::default();
        for (cleanup, external, fits) in
            [(true, false, true), (true, true, true), (false, true, true), (false, false, false)]
        {
            config.hub.cleanup_proxy = cleanup;
            assert_eq!(check_cleanup(&config, external).is_ok(), fits, "{cleanup} {external}");
        }
        let text = check_cleanup(&config, false).unwrap_err().to_string();
        assert!(text.contains("hub.cleanup_proxy") && text.contains("himalia proxy"), "{text}");
    }
}
