//! Logins that an identity service ends (back-channel logout): cookies, tokens and, where wanted, servers.

use hub_core::{Identity, Revocation};
use hub_db::entities::users;
use hub_db::repo;
use tracing::{info, warn};

use super::lease::without_mark;
use crate::app::Hub;
use crate::web::error::ApiResult;
use crate::web::pages::context::servers_of;

/// How many users are read at a time.
const PAGE: u64 = 500;
/// Notes of the tokens that servers use themselves begin so.
const SERVER_NOTE: &str = "Server at ";

/// Ends the logins that a revocation concerns; how many people there were.
///
/// Whose login it is stands in what was kept about each user, encrypted. So all of it is read, page by page: the
/// database stays the only truth, and a hundred thousand users take a few seconds.
pub async fn revoke(hub: &Hub, revocation: &Revocation) -> ApiResult<usize> {
    let mut ended = 0;
    let mut after = 0;
    loop {
        let page = repo::auth_state::page(hub.db.conn(), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for user in &page {
            if is_concerned(hub, user, revocation) {
                end(hub, user, revocation).await?;
                ended += 1;
            }
        }
        // Decrypting a page takes a moment that others may want.
        tokio::task::yield_now().await;
    }
    if ended == 0 {
        info!(issuer = %revocation.issuer, "the identity service ended a login that nobody here has");
    }
    Ok(ended)
}

fn is_concerned(hub: &Hub, user: &users::Model, revocation: &Revocation) -> bool {
    let Some(state) = user.encrypted_auth_state.as_deref().and_then(|stored| hub.auth.crypt.decrypt(stored))
    else {
        return false;
    };
    let who = Identity {
        name: user.name.clone(),
        auth_state: Some(without_mark(state.state)),
        ..Identity::default()
    };
    hub.auth.authenticator.account(&who).is_some_and(|account| revocation.concerns(&account))
}

async fn end(hub: &Hub, user: &users::Model, revocation: &Revocation) -> ApiResult<()> {
    let tx = hub.db.begin().await?;
    let (owner, now) = (repo::Owner::User(user.id), hub.clock.now());
    let before = repo::tokens::of_owner(&tx, owner, now).await?;
    repo::users::reset_cookie_id(&tx, user.id).await?;
    // What was kept has ended with the login: a refresh token that works no more, a session that is gone.
    repo::users::set_auth_state(&tx, user.id, None).await?;
    let tokens = repo::tokens::delete_of_user(&tx, user.id, revocation.all_tokens, SERVER_NOTE).await?;
    let kept = repo::tokens::of_owner(&tx, owner, now).await?;
    tx.commit().await?;
    let is_kept = |id: i32| kept.iter().any(|left| left.token.id == id);
    let ended: Vec<_> =
        before.into_iter().map(|known| known.token).filter(|token| !is_kept(token.id)).collect();
    hub.cut_sessions(ended.iter().filter_map(|token| token.session_id.clone()));
    hub.cut_tokens(&ended).await?;
    hub.auth.looks.forget(user.id);
    info!(user = %user.name, tokens, "login ended by the identity service");
    if revocation.stop_servers || hub.auth.settings.shutdown_on_logout {
        match servers_of(hub, user).await {
            Ok(servers) => {
                for server in servers.iter().filter(|server| server.is_active()) {
                    hub.servers.stop(server.record.id, server.key(), false);
                }
            }
            Err(error) => warn!(user = %user.name, %error, "the servers of a user who was logged out run on"),
        }
    }
    Ok(())
}
