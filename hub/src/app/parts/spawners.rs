//! The spawners of a hub, one for each profile, and what its servers are told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hub_config::{Config, SpawnerSection};
use hub_core::spawner::Resources;
use hub_core::{Spawner, SpawnerContext};
use hub_db::Db;

use crate::app::embedding::Embedding;
use crate::internal_ssl::InternalSsl;
use crate::registry::Registry;
use crate::servers::ServerSettings;
use crate::servers::changes::Changes;
use crate::servers::env::EnvSettings;
use crate::servers::spawners::Spawners;

pub(super) fn build_spawners(
    config: &Config,
    db: &Db,
    internal: Option<&InternalSsl>,
    registry: &Registry,
) -> anyhow::Result<Spawners> {
    let directory = db.file().and_then(Path::parent).filter(|path| !path.as_os_str().is_empty());
    let directory = directory.map_or_else(std::env::current_dir, std::path::absolute)?;
    spawners(config, &directory, nix::unistd::geteuid().is_root(), internal, registry)
}

pub(super) fn spawners(
    config: &Config,
    directory: &Path,
    root: bool,
    internal: Option<&InternalSsl>,
    registry: &Registry,
) -> anyhow::Result<Spawners> {
    let build = |section: &SpawnerSection, path: &str| -> anyhow::Result<Arc<dyn Spawner>> {
        let plugin = registry.spawner(&section.kind)?;
        let context = SpawnerContext {
            section: path.to_owned(),
            ip: section.ip.clone(),
            port: section.port,
            shared: section.shared(),
            env_keep: section.env_keep.clone(),
            state_dir: directory.join("himalia-servers"),
            environment: hub_config::Sources::process_env(),
            certificates: internal.map(InternalSsl::issuer),
            root,
            reenter: vec!["/proc/self/exe".into()],
        };
        Ok((plugin.build)(section.options(&section.kind), &context)?)
    };
    let mut profiles = BTreeMap::new();
    for (name, profile) in &config.spawner.profiles {
        let spawner = build(&profile.spawner, &format!("spawner.profiles.{name}"))?;
        profiles.insert(name.clone(), spawner);
    }
    let limits = config.spawner.profiles.iter();
    let limits = limits.map(|(name, profile)| (name.clone(), profile.allowed_workspaces.clone())).collect();
    let usual = config.spawner.usual_profile().map(str::to_owned);
    Ok(Spawners::new(build(&config.spawner, "spawner")?, profiles, limits, usual))
}

pub(super) fn profile_settings(config: &Config, embedding: &Embedding) -> BTreeMap<String, ServerSettings> {
    let profiles = config.spawner.profiles.iter();
    profiles
        .map(|(name, profile)| (name.clone(), server_settings(config, &profile.spawner, embedding)))
        .collect()
}

pub(super) fn server_settings(
    config: &Config,
    section: &SpawnerSection,
    embedding: &Embedding,
) -> ServerSettings {
    ServerSettings {
        start_timeout: section.start_timeout,
        http_timeout: section.http_timeout,
        poll_interval: section.poll_interval,
        command: section.command(),
        args: embedding.arguments_after(&section.args),
        resources: Resources {
            mem_limit: section.mem_limit,
            mem_guarantee: section.mem_guarantee,
            cpu_limit: section.cpu_limit,
            cpu_guarantee: section.cpu_guarantee,
        },
        env: EnvSettings {
            cookie_options: embedding.server_cookies.clone(),
            cookie_host_prefix: config.hub.cookie_host_prefix_enabled,
            admin_access: config.hub.admin_access,
            client_allowed_scopes: section.oauth_client_allowed_scopes.clone(),
            notebook_dir: section.notebook_dir.clone(),
            default_url: section.default_url.clone(),
            disable_user_config: section.disable_user_config,
            debug: section.debug,
            environment: section.environment.clone(),
        },
        changes: Changes {
            options: section.apply_user_options.clone(),
            groups: section.group_overrides.clone(),
        },
        concurrent_starts: config.hub.concurrent_spawn_limit as usize,
        consecutive_failure_limit: section.consecutive_failure_limit,
        start_again_after: section.start_again_after.clone(),
    }
}
