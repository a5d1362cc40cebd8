//! Workspaces: places of work that people belong to, each a named server. Which those are is told by sources of the
//! configuration; membership is asked when servers are listed, started, and looked after.
//!
//! Stock has nothing like it. Servers that people run outside of a workspace they belong to are ordinary named servers
//! of the database, which can be stopped and deleted but not started.

mod claim;
mod enforce;
mod hook;
mod remote;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use hub_config::{LostMembership, WorkspaceRole, WorkspacesSection};
use hub_core::{PluginError, ServerName};
use hub_db::entities::users;
use hub_db::repo;
use serde_json::Value;
use thiserror::Error;
use tracing::warn;

pub use enforce::{after_change, periodically};
pub use hook::WorkspaceHook;
use source::Source;

use crate::app::Hub;
use crate::web::error::{ApiError, ApiResult};

/// Most workspaces of one person that are looked at.
const MOST: usize = 1_000;

/// One workspace as one person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Name; that of the server.
    pub name: String,
    /// Name shown to people.
    pub display_name: String,
    /// What the person is there.
    pub role: WorkspaceRole,
}

/// The workspaces of one person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// By name.
    pub all: BTreeMap<String, Workspace>,
    /// Whether there may be more of them than these.
    pub cut: bool,
}

/// The person whose workspaces are asked for.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Name.
    pub name: String,
    /// Names of groups.
    pub groups: Vec<String>,
    /// What the authenticator keeps, decrypted.
    pub auth_state: Option<Value>,
}

/// Why it cannot be told which workspaces somebody has; for the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SourceError(String);

/// All sources.
#[derive(Debug)]
pub struct Workspaces {
    sources: Vec<Source>,
    lost: LostMembership,
    environment: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

impl Workspaces {
    /// The sources of a configuration; none when it names none.
    ///
    /// # Errors
    /// When a client for a service cannot be made.
    pub fn of(section: &WorkspacesSection) -> Result<Option<Arc<Self>>, PluginError> {
        if section.sources.is_empty() {
            return Ok(None);
        }
        let sources = section.sources.iter().enumerate();
        let sources = sources.map(|(index, source)| Source::of(source, index)).collect::<Result<_, _>>()?;
        Ok(Some(Arc::new(Self {
            sources,
            lost: section.lost_membership,
            environment: section.environment.clone(),
            labels: section.labels.clone(),
        })))
    }

    /// The workspaces of somebody, by name. Where several sources name one, the higher role counts.
    ///
    /// # Errors
    /// When a source does not answer: then nothing is known, not even of the other sources.
    pub async fn list(&self, asker: &Asker) -> Result<Listing, SourceError> {
        let Listing { mut all, mut cut } = Listing::default();
        let (mut unfit, mut beyond): (Vec<String>, usize) = (Vec::new(), 0);
        for source in &self.sources {
            let found = source.list(asker).await?;
            cut |= found.cut;
            for found in found.all {
                if found.name.is_empty() || ServerName::any(found.name.as_str()).is_err() {
                    unfit.push(found.name);
                    continue;
                }
                if all.len() >= MOST && !all.contains_key(&found.name) {
                    beyond += 1;
                    continue;
                }
                let known = all.entry(found.name.clone()).or_insert_with(|| found.clone());
                known.role = known.role.max(found.role);
                if known.display_name == known.name {
                    known.display_name = found.display_name;
                }
            }
        }
        if !unfit.is_empty() {
            let (count, names) = (unfit.len(), shown(&unfit));
            warn!(user = %asker.name, count, ?names, "workspaces are left out whose names cannot be those of servers");
        }
        cut |= beyond > 0;
        if cut {
            warn!(user = %asker.name, most = MOST, beyond, "the list of workspaces is cut: nobody loses a server for not being on it");
        }
        Ok(Listing { all, cut })
    }

    /// What somebody is in a workspace; none for a stranger to it.
    ///
    /// # Errors
    /// When a source does not answer.
    pub async fn role(&self, asker: &Asker, workspace: &str) -> Result<Option<WorkspaceRole>, SourceError> {
        self.list(asker).await?.role(workspace)
    }

    /// What becomes of servers whose owners belong to the workspace no more.
    pub fn lost(&self) -> LostMembership {
        self.lost
    }
}

impl Listing {
    /// What the person is in a workspace; none for a stranger to it.
    ///
    /// # Errors
    /// When the list is cut and does not have it.
    pub fn role(&self, workspace: &str) -> Result<Option<WorkspaceRole>, SourceError> {
        match self.all.get(workspace) {
            Some(found) => Ok(Some(found.role)),
            None if self.cut => Err(SourceError(format!(
                "the list of workspaces is cut and does not have {workspace:?}: name fewer of them, by a narrower pattern"
            ))),
            None => Ok(None),
        }
    }
}

/// A few names for the log, each as far as it is short.
fn shown(names: &[String]) -> Vec<String> {
    names.iter().take(5).map(|name| name.chars().take(64).collect()).collect()
}

/// Why somebody cannot start the server of a workspace, in words.
pub fn refusal(role: Option<WorkspaceRole>) -> Option<&'static str> {
    match role {
        Some(WorkspaceRole::Member) => None,
        Some(WorkspaceRole::Viewer) => Some("You can look at this workspace, but not start its server."),
        None => Some("You do not belong to this workspace."),
    }
}

/// What people read when a source does not answer.
pub const UNKNOWN: &str = "It cannot be told at the moment which workspaces you belong to. Please try again.";

impl Hub {
    /// Somebody as the sources want to know them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workspace_asker(&self, user: &users::Model) -> Result<Asker, hub_db::DbError> {
        let mut groups = repo::groups::names_of_users(self.db.conn(), &[user.id]).await?;
        Ok(Asker {
            name: user.name.clone(),
            groups: groups.remove(&user.id).unwrap_or_default(),
            auth_state: self.auth_state(user),
        })
    }

    /// Whether somebody may start the server of this name, where named servers are workspaces; `false` where they are
    /// not and other rules decide.
    ///
    /// # Errors
    /// 403 with the reason, 503 when it cannot be told.
    pub async fn check_workspace(&self, owner: &users::Model, name: &ServerName) -> ApiResult<bool> {
        let Some(workspaces) = &self.workspaces else { return Ok(false) };
        let asker = self.workspace_asker(owner).await?;
        let role = workspaces
            .role(&asker, name.as_str())
            .await
            .map_err(|error| ApiError::unavailable(UNKNOWN, 10, error))?;
        match refusal(role) {
            None => Ok(true),
            Some(why) => Err(ApiError::forbidden(why)),
        }
    }
}

#[cfg(test)]
mod tests;
