//! The logins of a person's browsers, each of which can be seen and ended by itself. Not in JupyterHub, where one
//! cookie is that of all browsers.
//!
//! The login cookie carries a number, where stock writes the version of its only key and reads it past, so that either
//! hub takes the other's cookies. Behind the number is a row that every replica sees: without it, the cookie is worth
//! nothing. Cookies of stock carry none: they hold until all logins of their user are ended.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::USER_AGENT;
use chrono::TimeDelta;
use hub_core::Account;
use hub_db::entities::users;
use hub_db::repo;
use hub_db::repo::browser_sessions::{BrowserSession, NewBrowserSession};
use hub_db::repo::tokens::Staying;
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::sessions;
use crate::app::Hub;
use crate::web::error::ApiResult;

/// Most logins of one user; with one more, one ends that was not seen again, or else not for longest.
pub const MOST: usize = 200;
/// Longest name of a browser that is kept, in characters.
const LONGEST_AGENT: usize = 512;
/// How long several tabs of a browser may take to log in.
const TABS: TimeDelta = TimeDelta::minutes(5);

/// From where a login came and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The browser's address, as far as trusted proxies tell.
    pub address: Option<String>,
    /// What the browser says that it is.
    pub agent: Option<String>,
    /// Stands for the session at the identity service, see [`mark`].
    pub mark: Option<String>,
}

/// What stands for a session at an identity service. Whoever reads the database learns no session by it.
pub fn mark(issuer: &str, session: &str) -> String {
    let digest = Sha256::new().chain_update(issuer).chain_update([0]).chain_update(session).finalize();
    format!("himalia-session:{}", hex::encode(digest))
}

/// [`mark`] of the session of an account, where the service has told it.
pub fn mark_of(account: &Account) -> Option<String> {
    Some(mark(&account.issuer, account.session.as_deref()?))
}

impl Origin {
    /// Of a request that logs in an account.
    pub fn of(rq: &HttpRequest, remote: Option<IpAddr>, account: Option<&Account>) -> Self {
        let agent = rq.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        let agent = agent.map(|text| text.chars().take(LONGEST_AGENT).collect::<String>());
        Self {
            address: remote.map(|address| address.to_string()),
            agent: agent.filter(|text| !text.trim().is_empty()),
            mark: account.and_then(mark_of),
        }
    }
}

/// Notes a login and returns the number for its cookie.
pub async fn begin(hub: &Hub, user: &users::Model, session_id: &str, origin: Origin) -> ApiResult<u64> {
    let now = hub.clock.now();
    let new = NewBrowserSession {
        user_id: user.id,
        session_id: session_id.to_owned(),
        expires_at: hub.sessions.login_end(),
        address: origin.address,
        agent: origin.agent,
        mark: origin.mark,
    };
    let db = hub.db.conn();
    let own = repo::browser_sessions::begin(db, new, now).await?;
    let others = repo::browser_sessions::of_user(db, user.id, now).await?;
    let mut others: Vec<BrowserSession> = others.into_iter().filter(|other| other.id != own.id).collect();
    // A browser has one login of a person: the one before ends with its cookie. Where several tabs log in at once,
    // nobody knows whose cookie comes last.
    let replaced = |other: &mut BrowserSession| other.session_id == session_id && other.created < now - TABS;
    for other in others.extract_if(.., replaced) {
        repo::browser_sessions::delete(db, &other).await?;
    }
    // Programs log in again and again and leave it at that; the browsers of people stay.
    others.sort_by_key(|other| (other.last_activity > other.created, other.last_activity));
    let surplus = others.len().saturating_sub(MOST - 1);
    for other in others.iter().take(surplus) {
        if other.session_id == session_id {
            // What its browser session was given is this login's, too.
            repo::browser_sessions::delete(db, other).await?;
        } else {
            end(hub, user, other).await?;
        }
    }
    Ok(own.number())
}

/// Ends one login: its cookie, the tokens that servers and services got in that browser, open websockets.
pub async fn end(hub: &Hub, user: &users::Model, session: &BrowserSession) -> ApiResult<()> {
    let tx = hub.db.begin().await?;
    repo::browser_sessions::delete(&tx, session).await?;
    repo::tokens::delete_by_session(&tx, user.id, &session.session_id).await?;
    tx.commit().await?;
    hub.cut_sessions([session.session_id.clone()]);
    info!(user = %user.name, session = session.id, "login of a browser ended");
    Ok(())
}

/// Ends all logins of a user but `kept`, those by cookies of stock among them. Gives back the new cookie id, for the
/// cookie of the one that is kept.
pub async fn end_all(hub: &Hub, user: &users::Model, kept: Option<&BrowserSession>) -> ApiResult<String> {
    let tx = hub.db.begin().await?;
    let staying = Staying { session: kept.map(|session| session.session_id.as_str()), ..Staying::default() };
    let cookie_id = repo::users::reset_cookie_id(&tx, user.id).await?;
    let ended = repo::tokens::delete_of_user(&tx, user.id, false, staying).await?;
    tx.commit().await?;
    let count = ended.sessions.len();
    sessions::follow_up(hub, user, ended);
    info!(user = %user.name, count, kept = kept.is_some(), "logins of all browsers ended");
    Ok(cookie_id)
}
