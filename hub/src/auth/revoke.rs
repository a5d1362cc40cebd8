//! Logins that an identity service ends (back-channel logout): cookies, tokens and, where wanted, servers.

use hub_core::{Identity, Revocation};
use hub_db::entities::users;
use hub_db::repo;
use tracing::info;

use super::lease::without_mark;
use super::sessions;
use crate::app::Hub;
use crate::web::error::ApiResult;

/// How many users are read at a time.
const PAGE: u64 = 500;

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
    let ended = sessions::end(hub, &tx, user, revocation.all_tokens, hub.clock.now()).await?;
    // What was kept has ended with the login: a refresh token that works no more, a session that is gone.
    repo::users::set_auth_state(&tx, user.id, None).await?;
    tx.commit().await?;
    info!(user = %user.name, tokens = ended.tokens, "login ended by the identity service");
    if revocation.stop_servers || hub.auth.settings.shutdown_on_logout {
        sessions::stop_servers(hub, user).await;
    }
    sessions::follow_up(hub, user, &ended).await;
    Ok(())
}
