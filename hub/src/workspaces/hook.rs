//! What the start of a workspace's server needs: that the owner still belongs to it, labels, environment.

use std::sync::Arc;

use async_trait::async_trait;
use hub_core::{HookContext, HookError, SpawnHook, StartJob};

use super::{Asker, SourceError, UNKNOWN, Workspaces, refusal};

/// The label with the workspace's name, which spawners also fill into templates as `{workspace}`.
const LABEL: &str = "workspace";

/// Looks at membership once more, with what a refresh just before the start has changed.
#[derive(Debug)]
pub struct WorkspaceHook(pub Arc<Workspaces>);

#[async_trait]
impl SpawnHook for WorkspaceHook {
    async fn before_start(&self, _cx: &HookContext, job: &mut StartJob) -> Result<(), HookError> {
        if job.key.server.is_default() {
            return Ok(());
        }
        let name = job.key.server.as_str().to_owned();
        let asker = Asker {
            name: job.key.user.as_str().to_owned(),
            groups: job.owner.groups.clone(),
            auth_state: job.owner.auth_state.clone(),
        };
        let unknown = |error: SourceError| HookError::Broken {
            user: UNKNOWN.to_owned(),
            operator: error.to_string(),
            retry: true,
        };
        let listing = self.0.list(&asker).await.map_err(unknown)?;
        if let Some(why) = refusal(listing.role(&name).map_err(unknown)?) {
            return Err(HookError::Refused(why.to_owned()));
        }
        if let Some(found) = listing.all.get(&name) {
            job.display_name = Some(found.display_name.clone());
        }
        let fill = |text: &String| fill(text, &name, &asker.name);
        job.env.extend(self.0.environment.iter().map(|(key, value)| (key.clone(), fill(value))));
        job.labels.extend(self.0.labels.iter().map(|(key, value)| (key.clone(), fill(value))));
        job.labels.insert(LABEL.to_owned(), name.clone());
        Ok(())
    }
}

/// Fills a template; what stands in a name is not looked at again.
pub(super) fn fill(template: &str, workspace: &str, user: &str) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let known = [("{workspace}", workspace), ("{username}", user)];
        match known.into_iter().find_map(|(field, value)| Some((from.strip_prefix(field)?, value))) {
            Some((after, value)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    filled.push_str(rest);
    filled
}
