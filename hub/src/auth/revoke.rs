//! Logins that an identity service ends (back-channel logout): cookies, tokens and, where wanted, servers.

use std::collections::BTreeMap;

use hub_core::{Account, Identity, Revocation};
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
    let ended = end_those(hub, |account| revocation.concerns(account).then_some(revocation)).await?;
    if ended == 0 {
        info!(issuer = %revocation.issuer, "the identity service ended a login that nobody here has");
    }
    Ok(ended)
}

/// Ends the logins of many accounts, each named by its subject, in one look at all users.
pub async fn revoke_all(hub: &Hub, revocations: &[Revocation]) -> ApiResult<usize> {
    let key = |one: &Revocation| Some(((one.issuer.clone(), one.subject.clone()?), one.clone()));
    let all: BTreeMap<(String, String), Revocation> = revocations.iter().filter_map(key).collect();
    end_those(hub, |account| all.get(&(account.issuer.clone(), account.subject.clone()))).await
}

/// Ends the logins of the accounts that `concerning` has a revocation for.
async fn end_those<'r>(
    hub: &Hub,
    concerning: impl Fn(&Account) -> Option<&'r Revocation>,
) -> ApiResult<usize> {
    let mut ended = 0;
    let mut after = 0;
    loop {
        let page = repo::auth_state::page(hub.db.conn(), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for user in &page {
            if let Some(revocation) = account_in_use(hub, user).as_ref().and_then(&concerning) {
                end(hub, user, revocation).await?;
                ended += 1;
            }
        }
        // Decrypting a page takes a moment that others may want.
        tokio::task::yield_now().await;
    }
    Ok(ended)
}

/// The account that a user's login came from, unless nothing is left of it but whose the name is: its login was ended
/// already.
fn account_in_use(hub: &Hub, user: &users::Model) -> Option<Account> {
    let who = identity(hub, user)?;
    let authenticator = &hub.auth.authenticator;
    (authenticator.remembered(&who) != who.auth_state).then(|| authenticator.account(&who)).flatten()
}

/// A user with what was kept of the login.
fn identity(hub: &Hub, user: &users::Model) -> Option<Identity> {
    let state = hub.auth.crypt.decrypt(user.encrypted_auth_state.as_deref()?)?;
    let auth_state = Some(without_mark(state.state));
    Some(Identity { name: user.name.clone(), auth_state, ..Identity::default() })
}

/// The accounts of all people here.
pub async fn known_accounts(hub: &Hub) -> ApiResult<Vec<Account>> {
    let mut accounts = Vec::new();
    let mut after = 0;
    loop {
        let page = repo::auth_state::page(hub.db.conn(), after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(accounts) };
        after = last.id;
        accounts.extend(page.iter().filter_map(|user| account_in_use(hub, user)));
        tokio::task::yield_now().await;
    }
}

async fn end(hub: &Hub, user: &users::Model, revocation: &Revocation) -> ApiResult<()> {
    let tx = hub.db.begin().await?;
    let ended = sessions::end(hub, &tx, user, revocation.all_tokens).await?;
    // What was kept has ended with the login: a refresh token that works no more, a session that is gone. Whose the
    // name is stays, or somebody else could take it over.
    let kept = identity(hub, user).and_then(|who| hub.auth.authenticator.remembered(&who));
    repo::users::set_auth_state(&tx, user.id, kept.and_then(|state| hub.auth.crypt.encrypt(&state))).await?;
    tx.commit().await?;
    info!(user = %user.name, tokens = ended.tokens.len(), "login ended by the identity service");
    if revocation.stop_servers || hub.auth.settings.shutdown_on_logout {
        sessions::stop_servers(hub, user).await;
    }
    sessions::follow_up(hub, user, ended);
    Ok(())
}
