//! Logins that an identity service ends (back-channel logout): cookies, tokens and, where wanted, servers.

use std::collections::BTreeMap;

use hub_core::{Account, Identity, Revocation};
use hub_db::entities::users;
use hub_db::repo;
use hub_db::repo::browser_sessions::BrowserSession;
use tracing::info;

use super::lease::without_mark;
use super::{browsers, sessions};
use crate::app::Hub;
use crate::web::error::ApiResult;

/// How many users are read at a time.
const PAGE: u64 = 500;

/// Ends the logins that a revocation concerns; how many people there were.
///
/// # Errors
/// When the database does not answer.
pub async fn revoke(hub: &Hub, revocation: &Revocation) -> ApiResult<usize> {
    let ended = match &revocation.session {
        Some(session) => end_session(hub, revocation, session).await?,
        None => end_those(hub, |account| revocation.concerns(account).then_some(revocation)).await?,
    };
    if ended == 0 {
        info!(issuer = %revocation.issuer, "the identity service ended a login that nobody here has");
    }
    Ok(ended)
}

/// Ends the logins that came from one session at the identity service. Browsers that came from another one stay in.
async fn end_session(hub: &Hub, revocation: &Revocation, session: &str) -> ApiResult<usize> {
    let mark = browsers::mark(&revocation.issuer, session);
    let mut of_users: BTreeMap<i32, Vec<BrowserSession>> = BTreeMap::new();
    for login in repo::browser_sessions::of_mark(hub.db.conn(), &mark, hub.clock.now()).await? {
        of_users.entry(login.user_id).or_default().push(login);
    }
    let mut ended = 0;
    for (id, logins) in of_users {
        let Some(user) = repo::users::by_id(hub.db.conn(), id).await? else { continue };
        let who = identity(hub, &user);
        let account = who.and_then(|who| hub.auth.authenticator.account(&who));
        if account.is_none_or(|account| {
            revocation.concerns(&Account { session: Some(session.to_owned()), ..account })
        }) {
            end_some(hub, &user, revocation, logins).await?;
            ended += 1;
        }
    }
    if ended > 0 {
        return Ok(ended);
    }
    // Logins that nobody noted the session of: from before it was noted, or of a service that tells it only here.
    let mut after = 0;
    while let Some(page) = page_after(hub, &mut after).await? {
        for Known { user, who, account } in page {
            if !revocation.concerns(&account) || is_over(hub, &user, &who).await? {
                continue;
            }
            let mut logins = repo::browser_sessions::of_user(hub.db.conn(), user.id, hub.clock.now()).await?;
            let of_cookies_alone = logins.is_empty();
            logins.retain(|login| login.mark.is_none());
            if !logins.is_empty() || of_cookies_alone || revocation.ends_kept(&account) {
                end_some(hub, &user, revocation, logins).await?;
                ended += 1;
            }
        }
    }
    Ok(ended)
}

/// Ends some logins of a user. With the last of them ends all that a revocation ends.
async fn end_some(
    hub: &Hub,
    user: &users::Model,
    revocation: &Revocation,
    logins: Vec<BrowserSession>,
) -> ApiResult<()> {
    let (db, now) = (hub.db.conn(), hub.clock.now());
    let mut others = repo::browser_sessions::of_user(db, user.id, now).await?;
    others.retain(|other| logins.iter().all(|login| login.id != other.id));
    for login in &logins {
        if others.iter().any(|other| other.session_id == login.session_id) {
            // The same browser has come back from another session since, and what it was given goes on with that.
            repo::browser_sessions::delete(db, login).await?;
        } else {
            browsers::end(hub, user, login).await?;
        }
    }
    // Asked again: of several calls at once, for all sessions of a person, the last one must see that it is the last.
    if repo::browser_sessions::of_user(db, user.id, now).await?.is_empty() {
        return end(hub, user, revocation).await;
    }
    // The tokens that were kept worked in the session alone. Who is in by another one logs in again when they are
    // looked at next, without a password where the service still knows them.
    if let Some(who) = identity(hub, user)
        && hub.auth.authenticator.account(&who).is_some_and(|account| revocation.ends_kept(&account))
        && let Some(stored) = &user.encrypted_auth_state
    {
        let kept = remembered(hub, user);
        repo::auth_state::swap(hub.db.conn(), user.id, stored, kept.as_deref()).await?;
    }
    info!(user = %user.name, logins = logins.len(), "logins of one session ended by the identity service");
    Ok(())
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
    let (mut ended, mut after) = (0, 0);
    while let Some(page) = page_after(hub, &mut after).await? {
        for Known { user, who, account } in page {
            if let Some(revocation) = concerning(&account)
                && !is_over(hub, &user, &who).await?
            {
                end(hub, &user, revocation).await?;
                ended += 1;
            }
        }
    }
    Ok(ended)
}

/// Somebody and the account that their login came from.
struct Known {
    user: users::Model,
    who: Identity,
    account: Account,
}

/// The next page of people with an account; none after the last one.
///
/// Whose login it is stands in what was kept about each user, encrypted. So all of it is read, page by page: the
/// database stays the only truth, and a hundred thousand users take a few seconds.
async fn page_after(hub: &Hub, after: &mut i32) -> ApiResult<Option<Vec<Known>>> {
    let page = repo::auth_state::page(hub.db.conn(), *after, PAGE).await?;
    let Some(last) = page.last() else { return Ok(None) };
    *after = last.id;
    let known = page.into_iter().filter_map(|user| {
        let who = identity(hub, &user)?;
        let account = hub.auth.authenticator.account(&who)?;
        Some(Known { user, who, account })
    });
    let known = known.collect();
    // Decrypting a page takes a moment that others may want.
    tokio::task::yield_now().await;
    Ok(Some(known))
}

/// Whether more is kept of a login than whose the name is.
fn holds_tokens(hub: &Hub, who: &Identity) -> bool {
    hub.auth.authenticator.remembered(who) != who.auth_state
}

/// Whether nothing is left of the logins of a user that could be ended.
async fn is_over(hub: &Hub, user: &users::Model, who: &Identity) -> ApiResult<bool> {
    let now = hub.clock.now();
    Ok(!holds_tokens(hub, who)
        && repo::browser_sessions::of_user(hub.db.conn(), user.id, now).await?.is_empty())
}

/// A user with what was kept of the login.
fn identity(hub: &Hub, user: &users::Model) -> Option<Identity> {
    let state = hub.auth.crypt.decrypt(user.encrypted_auth_state.as_deref()?)?;
    let auth_state = Some(without_mark(state.state));
    Some(Identity { name: user.name.clone(), auth_state, ..Identity::default() })
}

/// The accounts of all people here.
///
/// # Errors
/// When the database does not answer.
pub async fn known_accounts(hub: &Hub) -> ApiResult<Vec<Account>> {
    let (mut accounts, mut after) = (Vec::new(), 0);
    while let Some(page) = page_after(hub, &mut after).await? {
        let in_use = page.into_iter().filter(|known| holds_tokens(hub, &known.who));
        accounts.extend(in_use.map(|known| known.account));
    }
    Ok(accounts)
}

/// What stays of a user's kept state when the login has ended, encrypted: a refresh token works no more, but whose the
/// name is stays, or somebody else could take it over.
fn remembered(hub: &Hub, user: &users::Model) -> Option<Vec<u8>> {
    let kept = hub.auth.authenticator.remembered(&identity(hub, user)?)?;
    hub.auth.crypt.encrypt(&kept)
}

async fn end(hub: &Hub, user: &users::Model, revocation: &Revocation) -> ApiResult<()> {
    let tx = hub.db.begin().await?;
    let ended = sessions::end(hub, &tx, user, revocation.all_tokens).await?;
    repo::users::set_auth_state(&tx, user.id, remembered(hub, user)).await?;
    tx.commit().await?;
    info!(user = %user.name, tokens = ended.tokens.len(), "login ended by the identity service");
    if revocation.stop_servers || hub.auth.settings.shutdown_on_logout {
        sessions::stop_servers(hub, user).await;
    }
    sessions::follow_up(hub, user, ended);
    Ok(())
}
