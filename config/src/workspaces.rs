//! `[workspaces]`: which places of work people belong to. Each is a named server. Stock has nothing like it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hub_core::plugin::{DurationText, SecretText};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Where workspaces come from, and what their servers get. In templates `{workspace}` is the name of the workspace and
/// `{username}` that of the person; other braces are literal.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkspacesSection {
    /// Where workspaces come from. With any, named servers are workspaces: no others can be started.
    pub sources: Vec<WorkspaceSource>,
    /// What becomes of a running server whose owner belongs to its workspace no more.
    pub lost_membership: LostMembership,
    /// How often the members of running servers are looked at; they are also at each login and refresh.
    #[serde(with = "DurationText")]
    pub check_interval: Duration,
    /// Environment of the servers; `{workspace}` and `{username}` in values are filled in.
    pub environment: BTreeMap<String, String>,
    /// Labels of the servers, beside `workspace`; values likewise.
    pub labels: BTreeMap<String, String>,
}

impl Default for WorkspacesSection {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            lost_membership: LostMembership::Stop,
            check_interval: Duration::from_mins(1),
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// What becomes of a running server whose owner belongs to its workspace no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LostMembership {
    /// It is stopped.
    #[default]
    Stop,
    /// It runs on, and cannot be started again.
    Keep,
}

/// One source of workspaces.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkspaceSource {
    /// Which kind of source.
    pub kind: SourceKind,
    /// For `groups` and `claim`: which names count; `*` stands for the name of the workspace.
    pub pattern: String,
    /// For `claim`: path in `auth_state`, `oauth_user.groups` or `oauth_user.teams[*].name`.
    pub claim: String,
    /// For `static`: the workspaces.
    pub workspaces: Vec<StaticWorkspace>,
    /// For `http`: the address, with `{username}` for the person. It answers with a list of
    /// `{"name", "display_name", "role"}`; the last two can be left out.
    pub url: String,
    /// For `http`: sent as `Authorization: Bearer`.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<SecretText>")]
    pub token: Option<SecretString>,
    /// For `http`: how long the service may take for its answer.
    #[serde(with = "DurationText")]
    pub timeout: Duration,
    /// For `http`: further certificates (PEM) by which the service is recognised.
    pub ca_file: Option<PathBuf>,
    /// For `http`: how long an answer counts.
    #[serde(with = "DurationText")]
    pub cache_for: Duration,
    /// What people are in the workspaces of this source, where it does not say itself.
    pub role: WorkspaceRole,
}

impl Default for WorkspaceSource {
    fn default() -> Self {
        Self {
            kind: SourceKind::Groups,
            pattern: "*".to_owned(),
            claim: String::new(),
            workspaces: Vec::new(),
            url: String::new(),
            token: None,
            timeout: Duration::from_secs(5),
            ca_file: None,
            cache_for: Duration::from_secs(30),
            role: WorkspaceRole::Member,
        }
    }
}

/// Kinds of sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The person's groups.
    #[default]
    Groups,
    /// What the authenticator keeps about the person.
    Claim,
    /// The configuration itself.
    Static,
    /// A service that is asked.
    Http,
}

/// What somebody is in a workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkspaceRole {
    /// Sees the workspace but cannot start its server.
    Viewer,
    /// Uses its server.
    #[default]
    Member,
}

/// A workspace of the configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StaticWorkspace {
    /// Name; part of the address of its servers.
    pub name: String,
    /// Name shown to people; the name itself when left out.
    pub display_name: Option<String>,
    /// People who use it.
    pub members: Vec<String>,
    /// Groups whose members use it.
    pub member_groups: Vec<String>,
    /// People who see it.
    pub viewers: Vec<String>,
    /// Groups whose members see it.
    pub viewer_groups: Vec<String>,
}
