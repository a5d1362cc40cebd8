//! The logins of a person's browsers, each of which can be seen and ended by itself. Not in JupyterHub, where one cookie
//! is that of all browsers.
//!
//! The login cookie carries a number, where stock writes the version of its only key and reads it past, so that either
//! hub takes the other's cookies. Behind the number is a row that every replica sees: without it, the cookie is worth
//! nothing. Cookies of stock carry none: they hold until all logins of their user are ended.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::USER_AGENT;
use chrono::TimeDelta;
use hub_core::secret::random_bytes;
use hub_db::entities::users;
use hub_db::repo;
use hub_db::repo::browser_sessions::{BrowserSession, NewBrowserSession};
use tracing::info;

use super::sessions::{self, Ended};
use crate::app::Hub;
use crate::web::error::ApiResult;

/// Most logins of one user; with one more, one ends that was not seen again, or else not for longest.
pub const MOST: usize = 50;
/// Longest name of a browser that is kept, in characters; the column has room for 1023.
const LONGEST_AGENT: usize = 512;
/// How long several tabs of a browser may take to log in.
const TABS: TimeDelta = TimeDelta::minutes(5);
/// How the note of a login begins, which stock's list of tokens shows.
const NOTE: &str = "Browser login from ";
/// Stands for an address that is not known.
const NOWHERE: &str = "-";

/// From where a login came and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The browser's address, as far as trusted proxies tell.
    pub address: Option<String>,
    /// What the browser says that it is.
    pub agent: Option<String>,
}

impl Origin {
    /// Of a request.
    pub fn of(rq: &HttpRequest, remote: Option<IpAddr>) -> Self {
        let agent = rq.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        let agent = agent.map(|text| text.chars().take(LONGEST_AGENT).collect::<String>());
        Self {
            address: remote.map(|address| address.to_string()),
            agent: agent.filter(|text| !text.trim().is_empty()),
        }
    }

    fn note(&self) -> String {
        let address = self.address.as_deref().unwrap_or(NOWHERE);
        let agent = self.agent.as_deref().unwrap_or_default();
        format!("{NOTE}{address}: {agent}").trim_end().to_owned()
    }

    /// Of the row of a login.
    pub fn noted(session: &BrowserSession) -> Self {
        let rest = session.note.as_deref().and_then(|note| note.strip_prefix(NOTE)).unwrap_or_default();
        // The address itself may have colons, but no spaces.
        let (address, agent) = rest.split_once(": ").unwrap_or((rest.strip_suffix(':').unwrap_or(rest), ""));
        let known = |text: &str| (!text.is_empty() && text != NOWHERE).then(|| text.to_owned());
        Self { address: known(address), agent: known(agent) }
    }
}

/// Notes a login and returns the number for its cookie.
pub async fn begin(hub: &Hub, user: &users::Model, session_id: &str, origin: &Origin) -> ApiResult<u64> {
    // Zero is what cookies of stock carry.
    let number = u64::from_ne_bytes(random_bytes()).max(1);
    let now = hub.clock.now();
    let new = NewBrowserSession {
        user_id: user.id,
        number,
        session_id: session_id.to_owned(),
        note: origin.note(),
        expires_at: hub.sessions.login_end(),
    };
    // A browser has one login of a person: the one before ends with its cookie. Where several tabs log in at once, nobody
    // knows whose cookie comes last.
    repo::browser_sessions::forget_in(hub.db.conn(), user.id, session_id, now - TABS).await?;
    let own = repo::browser_sessions::begin(hub.db.conn(), new, now).await?;
    let all = repo::browser_sessions::of_user(hub.db.conn(), user.id, now).await?;
    let mut others: Vec<&BrowserSession> = all.iter().filter(|session| session.id != own.id).collect();
    // Programs log in again and again and leave it at that; the browsers of people stay.
    others.sort_by_key(|session| (session.last_activity > session.created, session.last_activity));
    let surplus = others.len().saturating_sub(MOST - 1);
    for session in others.into_iter().take(surplus) {
        end(hub, user, session).await?;
    }
    Ok(number)
}

/// Ends one login: its cookie, the tokens that servers and services got in that browser, open websockets.
pub async fn end(hub: &Hub, user: &users::Model, session: &BrowserSession) -> ApiResult<()> {
    let tx = hub.db.begin().await?;
    repo::browser_sessions::delete(&tx, session).await?;
    let browser = session.session_id.as_deref().filter(|id| !id.is_empty());
    if let Some(id) = browser {
        repo::tokens::delete_by_session(&tx, user.id, id).await?;
    }
    tx.commit().await?;
    hub.cut_sessions(browser.map(str::to_owned));
    info!(user = %user.name, session = session.id, "login of a browser ended");
    Ok(())
}

/// Ends all logins of a user but `kept`, those by cookies of stock among them. With one that is kept, gives back the
/// cookie id and the number of its new cookie.
pub async fn end_all(
    hub: &Hub,
    user: &users::Model,
    kept: Option<&BrowserSession>,
) -> ApiResult<Option<(String, u64)>> {
    let tx = hub.db.begin().await?;
    let mut stay = Vec::new();
    if let Some(session) = kept {
        stay.push(session.id);
        if let Some(id) = session.session_id.as_deref().filter(|id| !id.is_empty()) {
            stay.extend(repo::browser_sessions::ids_in(&tx, user.id, id).await?);
        }
    }
    let cookie_id = repo::users::reset_cookie_id(&tx, user.id).await?;
    let tokens = repo::tokens::delete_of_user(&tx, user.id, false, &stay).await?;
    tx.commit().await?;
    let count = tokens.len();
    sessions::follow_up(hub, user, &Ended { tokens });
    info!(user = %user.name, count, kept = kept.is_some(), "logins of all browsers ended");
    Ok(kept.and_then(repo::browser_sessions::number).map(|number| (cookie_id, number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(note: &str) -> Origin {
        Origin::noted(&BrowserSession {
            note: Some(note.to_owned()),
            user_id: None,
            service_id: None,
            id: 1,
            hashed: None,
            prefix: None,
            client_id: None,
            session_id: None,
            created: None,
            expires_at: None,
            last_activity: None,
            scopes: hub_db::JsonList(Vec::new()),
        })
    }

    #[test]
    fn an_origin_is_read_back_as_it_was_noted() {
        let addresses = [None, Some("192.0.2.7"), Some("2001:db8::1"), Some("::")];
        for address in addresses {
            for agent in [None, Some("curl/8"), Some("a: b: c"), Some("Mozilla/5.0 (X11; Linux)")] {
                let origin = Origin { address: address.map(str::to_owned), agent: agent.map(str::to_owned) };
                assert_eq!(noted(&origin.note()), origin, "{}", origin.note());
            }
        }
        assert_eq!(noted("something else"), Origin::default());
    }
}
