//! `config check`: what can be known of a configuration without starting anything.

use std::net::SocketAddr;
use std::sync::Arc;

use hub_config::Config;
use hub_core::{Clock, PluginError, SystemClock};

use super::auth::{build_auth, check_cleanup, check_public};
use super::spawners::spawners;
use super::{crypt, urls};
use crate::app::first_admin;
use crate::registry::Registry;

/// Lets authenticator and spawners read their options, without starting anything.
pub(in crate::app) fn check(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    // Whoever checks a configuration need not be who runs the hub: the rights of root are taken for granted.
    let spawners = spawners(config, &std::env::current_dir()?, true, None, registry).map(drop);
    let cleanup = check_cleanup(config, !config.proxy.should_start).map_err(anyhow::Error::from);
    for checked in [spawners, check_authenticator(config, registry), cleanup] {
        match checked.map_err(anyhow::Error::downcast::<PluginError>) {
            Ok(()) => {}
            Err(Ok(wrong)) => problems.extend(wrong.problems),
            Err(Err(other)) => return Err(other),
        }
    }
    Ok(PluginError::check(problems)?)
}

fn check_authenticator(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    let section = &config.authenticator;
    let mut options = section.options(&section.kind);
    if section.kind == first_admin::KIND {
        // What is filled in depends on the cookie secret, whether it is right does not.
        (options, _) = first_admin::fill(options, &[]);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let urls = urls(config, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let auth = build_auth(config, options, &clock, crypt(config)?, &urls, registry)?;
    Ok(check_public(config, auth.authenticator.as_ref(), !config.proxy.should_start)?)
}
