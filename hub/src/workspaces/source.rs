//! One source of workspaces.

use std::collections::BTreeSet;

use hub_config::{SourceKind, StaticWorkspace, WorkspaceRole, WorkspaceSource};
use hub_core::PluginError;

use super::remote::Remote;
use super::{Asker, SourceError, Workspace, claim};

/// Most groups that a person can have: whoever has as many may be in more (`hub_auth_oidc`).
const MOST_GROUPS: usize = 1_000;

/// The workspaces that one source tells of.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) all: Vec<Workspace>,
    /// Whether there may be more of them.
    pub(super) cut: bool,
}

/// Where workspaces come from.
#[derive(Debug)]
pub(super) struct Source {
    kind: Kind,
    role: WorkspaceRole,
}

#[derive(Debug)]
enum Kind {
    Groups(Pattern),
    Claim { path: String, pattern: Pattern },
    Static(Vec<StaticWorkspace>),
    Http(Box<Remote>),
}

/// A text with one `*` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    before: String,
    after: String,
}

impl Pattern {
    fn of(text: &str) -> Self {
        let (before, after) = text.split_once('*').unwrap_or((text, ""));
        Self { before: before.to_owned(), after: after.to_owned() }
    }

    /// What the star stands for.
    fn name<'t>(&self, text: &'t str) -> Option<&'t str> {
        let name = text.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }
}

impl Source {
    pub(super) fn of(source: &WorkspaceSource, index: usize) -> Result<Self, PluginError> {
        let pattern = || Pattern::of(&source.pattern);
        let kind = match source.kind {
            SourceKind::Groups => Kind::Groups(pattern()),
            SourceKind::Claim => Kind::Claim { path: source.claim.clone(), pattern: pattern() },
            SourceKind::Static => Kind::Static(source.workspaces.clone()),
            SourceKind::Http => {
                Kind::Http(Box::new(Remote::new(source, &format!("workspaces.sources[{index}]"))?))
            }
        };
        Ok(Self { kind, role: source.role })
    }

    /// The workspaces of somebody.
    pub(super) async fn list(&self, asker: &Asker) -> Result<Found, SourceError> {
        let bare =
            |name: &str| Workspace { name: name.to_owned(), display_name: name.to_owned(), role: self.role };
        let mut cut = false;
        let all = match &self.kind {
            Kind::Groups(pattern) => {
                cut = asker.groups.len() >= MOST_GROUPS;
                asker.groups.iter().filter_map(|group| pattern.name(group)).map(bare).collect()
            }
            Kind::Claim { path, pattern } => {
                let texts =
                    asker.auth_state.as_ref().map(|state| claim::texts(state, path)).unwrap_or_default();
                cut = texts.len() >= claim::MOST;
                texts.into_iter().filter_map(|text| pattern.name(text)).map(bare).collect()
            }
            Kind::Static(all) => {
                all.iter().filter_map(|workspace| self.of_static(workspace, asker)).collect()
            }
            Kind::Http(remote) => remote.list(&asker.name, self.role).await?.as_ref().clone(),
        };
        Ok(Found { all, cut })
    }

    fn of_static(&self, workspace: &StaticWorkspace, asker: &Asker) -> Option<Workspace> {
        let groups: BTreeSet<&String> = asker.groups.iter().collect();
        let among = |people: &[String], teams: &[String]| {
            people.contains(&asker.name) || teams.iter().any(|team| groups.contains(team))
        };
        let role = if among(&workspace.members, &workspace.member_groups) {
            self.role
        } else if among(&workspace.viewers, &workspace.viewer_groups) {
            WorkspaceRole::Viewer
        } else {
            return None;
        };
        let shown = workspace.display_name.clone().filter(|name| !name.is_empty());
        Some(Workspace {
            name: workspace.name.clone(),
            display_name: shown.unwrap_or_else(|| workspace.name.clone()),
            role,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_star_stands_for_a_name() {
        let name = |pattern: &str, text: &str| Pattern::of(pattern).name(text).map(str::to_owned);
        assert_eq!(name("ws-*", "ws-alpha").as_deref(), Some("alpha"));
        assert_eq!(name("/workspaces/*/editors", "/workspaces/alpha/editors").as_deref(), Some("alpha"));
        assert_eq!(name("*", "alpha").as_deref(), Some("alpha"));
        for (pattern, text) in [
            ("ws-*", "ws-"),
            ("ws-*", "xws-alpha"),
            ("ws-*-ws", "ws-ws"),
            ("/workspaces/*", "/workspaces/alpha/editors"),
        ] {
            assert_eq!(name(pattern, text), None, "{pattern} {text}");
        }
    }
}
