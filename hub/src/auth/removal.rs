//! The end of a user's record: of one that somebody deletes, and with `delete_invalid_users` of those whose name cannot
//! be that of anybody any more. Answers to `UserAPIHandler.delete` and to the end of `init_users`.

use futures_util::future::join_all;
use hub_db::entities::users;
use hub_db::{Tx, repo};
use tracing::{error, info, warn};

use crate::app::Hub;
use crate::servers::live::Snapshot;
use crate::servers::store::Record;
use crate::web::error::{ApiError, ApiResult};
use crate::web::pages::context::{ServerState, servers_of};

/// How many users are read at a time.
const PAGE: u64 = 500;
/// Most names that one line of the log tells.
const SHOWN: usize = 20;

/// Whether a server of a locked user is up or on its way: the last look, after which none can begin to start.
pub(crate) async fn has_active(tx: &Tx, user: i32) -> ApiResult<bool> {
    Ok(repo::spawners::of_user(tx, user).await?.iter().any(|server| server.server.is_some()))
}

/// What becomes of what outlives the servers of a user who is removed: volumes, for the most part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belongings {
    /// The spawner deletes them.
    Deleted,
    /// They stay: whoever has the name again finds them.
    Kept,
}

/// Stops all servers of a user and deletes the record with all that hangs on it. False: a server takes too long to
/// stop, and nothing was deleted yet.
///
/// # Errors
/// When the database does not answer, or the user is gone.
pub(crate) async fn remove(hub: &Hub, user: &users::Model, belongings: Belongings) -> ApiResult<bool> {
    if !stop_all(hub, user).await? {
        return Ok(false);
    }
    let servers = servers_of(hub, user).await?;
    let tx = hub.db.begin().await?;
    repo::users::lock(&tx, user.id).await?.ok_or_else(ApiError::not_found)?;
    if has_active(&tx, user.id).await? {
        return Ok(false);
    }
    let owner = repo::Owner::User(user.id);
    let known = repo::tokens::of_owner(&tx, owner, hub.clock.now()).await?;
    repo::users::delete(&tx, user.id).await?;
    tx.commit().await?;
    let tokens: Vec<_> = known.into_iter().map(|known| known.token).collect();
    hub.cut_tokens(&tokens).await;
    if belongings == Belongings::Deleted {
        // At once: a spawner may take its time over each, and what is to go should be known before anybody has the name.
        join_all(servers.iter().map(|state| delete_forever(hub, &state.record))).await;
    }
    for state in servers {
        hub.servers.entries.forget(state.record.id);
    }
    Ok(true)
}

/// Stops every server of a user; whether all have stopped. One that takes too long goes on stopping.
async fn stop_all(hub: &Hub, user: &users::Model) -> ApiResult<bool> {
    let active: Vec<ServerState> =
        servers_of(hub, user).await?.into_iter().filter(ServerState::is_active).collect();
    let limit = hub.config.hub.slow_stop_timeout;
    let stops = active.iter().map(|state| {
        let entry = hub.servers.stop(state.record.id, state.key(), false);
        async move { entry.live.wait(limit, Snapshot::is_settled).await }
    });
    join_all(stops).await;
    Ok(!servers_of(hub, user).await?.iter().any(ServerState::is_active))
}

/// Lets the spawner delete what outlives a stop. What fails here must not keep the user.
async fn delete_forever(hub: &Hub, record: &Record) {
    let server = record.server_ref();
    let spawner = hub.servers.spawners.of_state(&server.state);
    if let Err(failure) = spawner.delete_forever(&server).await {
        error!(user = %record.key.user, server = %record.key.server, cause = %failure.cause, error = %failure.operator,
            "cannot delete what belonged to the server of a deleted user");
    }
}

/// Looks at the names of all users when the hub starts: the invalid ones are deleted with `delete_invalid_users`, else
/// told in the log. Blocked people are left as they are. Only with the setting is the authenticator asked about each.
pub(crate) async fn look_for_invalid(hub: &Hub) -> ApiResult<()> {
    let delete = hub.config.authenticator.delete_invalid_users;
    let (mut after, mut told, mut kept) = (0, Vec::new(), 0_usize);
    loop {
        let page = repo::users::page(hub.db.conn(), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for user in page.iter().filter(|user| !hub.auth.allow.blocked.contains(&user.name)) {
            let Some(why) = invalid(hub, &user.name, delete).await else { continue };
            if !delete {
                kept += 1;
                told.extend((kept <= SHOWN).then(|| user.name.clone()));
                continue;
            }
            warn!(user = %user.name, why, "deleting an invalid user (authenticator.delete_invalid_users)");
            match remove(hub, user, Belongings::Kept).await {
                Ok(true) => info!(user = %user.name, "user deleted"),
                Ok(false) => {
                    warn!(user = %user.name, "a server of the invalid user does not stop; the next start looks again");
                }
                Err(error) => error!(user = %user.name, %error, "cannot delete an invalid user"),
            }
        }
        tokio::task::yield_now().await;
    }
    if kept > 0 {
        warn!(
            count = kept,
            users = ?told,
            "users whose names are not valid (authenticator.username_pattern) stay in the database; \
             authenticator.delete_invalid_users = true deletes them at start"
        );
    }
    Ok(())
}

/// Why a user of this name cannot be; none if it can. Who cannot be asked says nothing against anybody.
async fn invalid(hub: &Hub, name: &str, ask: bool) -> Option<String> {
    if let Err(why) = hub.auth.names.validate(name) {
        return Some(why.to_string());
    }
    if !ask {
        return None;
    }
    match hub.auth.authenticator.may_exist(name).await {
        Ok(true) => None,
        Ok(false) => Some("nobody of this name is known where people log in".to_owned()),
        Err(error) => {
            warn!(user = name, %error, "it cannot be told whether a user is still valid; the record stays");
            None
        }
    }
}
