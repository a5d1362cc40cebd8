//! Servers whose owners belong to the workspace no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub_config::{LostMembership, WorkspaceRole};
use hub_db::entities::users;
use hub_db::repo;
use tracing::{info, warn};

use super::Workspaces;
use crate::app::Hub;
use crate::servers::store::Record;

/// Looks at the running servers of one person, after a login or refresh has changed what is known.
pub async fn after_change(hub: &Hub, user: &users::Model) {
    let Some(workspaces) = stopping(hub) else { return };
    match hub.servers.store.active_of(user.id, &user.name).await {
        Ok(records) => look(hub, &workspaces, user, &records).await,
        Err(error) => warn!(user = %user.name, %error, "cannot look at the workspaces of running servers"),
    }
}

/// Looks at all running servers.
pub async fn periodically(hub: &Hub) {
    let Some(workspaces) = stopping(hub) else { return };
    let records = match hub.servers.store.active().await {
        Ok(records) => records,
        Err(error) => {
            warn!(%error, "cannot look at the workspaces of running servers");
            return;
        }
    };
    let mut of_users: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    for record in records.into_iter().filter(|record| !record.key.server.is_default()) {
        of_users.entry(record.user_id).or_default().push(record);
    }
    for (id, records) in of_users {
        match repo::users::by_id(hub.db.conn(), id).await {
            Ok(Some(user)) => look(hub, &workspaces, &user, &records).await,
            Ok(None) => {}
            Err(error) => warn!(%error, "cannot look at the workspaces of running servers"),
        }
    }
}

/// The workspaces, if lost membership stops servers.
fn stopping(hub: &Hub) -> Option<Arc<Workspaces>> {
    hub.workspaces.clone().filter(|workspaces| workspaces.lost() == LostMembership::Stop)
}

async fn look(hub: &Hub, workspaces: &Workspaces, user: &users::Model, records: &[Record]) {
    let named: Vec<&Record> = records.iter().filter(|record| !record.key.server.is_default()).collect();
    if named.is_empty() {
        return;
    }
    let asker = match hub.workspace_asker(user).await {
        Ok(asker) => asker,
        Err(error) => {
            return warn!(user = %user.name, %error, "cannot look at the workspaces of running servers");
        }
    };
    let known = match workspaces.list(&asker).await {
        Ok(known) => known,
        // Who cannot be asked says nothing against anybody.
        Err(error) => return warn!(user = %user.name, %error, "servers of workspaces run on unchecked"),
    };
    for record in named {
        // Nor does a list that does not say it all.
        let Ok(role) = known.role(record.key.server.as_str()) else { continue };
        if role != Some(WorkspaceRole::Member) {
            info!(user = %user.name, server = %record.key.server, "the owner belongs to the workspace no more: stopping the server");
            hub.servers.stop(record.id, &record.key, false);
        }
    }
}
