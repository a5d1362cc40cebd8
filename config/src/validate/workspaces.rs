//! Rules about `[workspaces]`.

use std::collections::BTreeSet;

use hub_core::ServerName;
use url::Url;

use super::Rules;
use crate::Config;
use crate::workspaces::{SourceKind, WorkspaceSource};

pub(super) fn check(config: &Config, rules: &mut Rules) {
    let section = &config.workspaces;
    if section.sources.is_empty() {
        let idle = !section.environment.is_empty() || !section.labels.is_empty();
        if idle {
            rules.doubt("workspaces", "there are no workspaces without workspaces.sources");
        }
        return;
    }
    if !config.hub.allow_named_servers {
        rules.wrong("hub.allow_named_servers", "must be true: workspaces are named servers");
    }
    if section.check_interval.is_zero() {
        rules.wrong("workspaces.check_interval", "must be longer than nothing");
    }
    for (index, source) in section.sources.iter().enumerate() {
        let at = |key: &str| format!("workspaces.sources[{index}].{key}");
        if source.kind == SourceKind::Claim && !config.authenticator.enable_auth_state {
            rules.wrong(at("kind"), "needs authenticator.enable_auth_state = true, which keeps the claims");
        }
        one(source, at, rules);
    }
}

fn one(source: &WorkspaceSource, at: impl Fn(&str) -> String, rules: &mut Rules) {
    if source.pattern.matches('*').count() != 1 {
        rules.wrong(at("pattern"), "must have one `*`, which stands for the name of the workspace");
    }
    match source.kind {
        SourceKind::Claim if source.claim.is_empty() => {
            rules.wrong(at("claim"), "is missing: the path of the claim in auth_state");
        }
        SourceKind::Groups | SourceKind::Claim => {}
        SourceKind::Static => {
            let mut seen = BTreeSet::new();
            for (index, workspace) in source.workspaces.iter().enumerate() {
                let key = at(&format!("workspaces[{index}].name"));
                if workspace.name.is_empty() {
                    rules.wrong(key, "is missing");
                } else if let Err(why) = ServerName::any(workspace.name.as_str()) {
                    rules.wrong(key, format!("{:?}: {why}", workspace.name));
                } else if !seen.insert(workspace.name.as_str()) {
                    rules.wrong(key, "is there twice");
                }
            }
        }
        SourceKind::Http => {
            let filled = source.url.replace("{username}", "x");
            let fits = Url::parse(&filled)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
            if !fits {
                rules.wrong(at("url"), "must be an address that begins with https:// or http://");
            }
            if source.timeout.is_zero() {
                rules.wrong(at("timeout"), "must be longer than nothing");
            }
        }
    }
}
