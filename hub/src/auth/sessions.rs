//! The end of all that a person's browsers hold: login cookies, tokens, open websockets.

use chrono::{DateTime, Utc};
use hub_db::entities::api_tokens::Model as ApiToken;
use hub_db::entities::users;
use hub_db::{DbError, Tx, repo};
use tracing::warn;

use crate::app::Hub;
use crate::web::pages::context::servers_of;

/// Notes of the tokens that servers use themselves begin so.
const SERVER_NOTE: &str = "Server at ";

/// What was ended in the database.
#[derive(Debug)]
pub struct Ended {
    /// How many tokens.
    pub tokens: u64,
    /// Ids of the browser sessions that they were made in.
    sessions: Vec<String>,
    /// The tokens themselves.
    revoked: Vec<ApiToken>,
}

/// Ends login cookies and the tokens of browsers; with `all_tokens` also those that people made for scripts.
///
/// # Errors
/// When the database does not answer.
pub async fn end(
    tx: &Tx,
    user: &users::Model,
    all_tokens: bool,
    now: DateTime<Utc>,
) -> Result<Ended, DbError> {
    let owner = repo::Owner::User(user.id);
    let before = repo::tokens::of_owner(tx, owner, now).await?;
    let sessions = repo::tokens::sessions_of_user(tx, user.id).await?;
    repo::users::reset_cookie_id(tx, user.id).await?;
    let tokens = repo::tokens::delete_of_user(tx, user.id, all_tokens, SERVER_NOTE).await?;
    let kept = repo::tokens::of_owner(tx, owner, now).await?;
    let is_kept = |id: i32| kept.iter().any(|left| left.token.id == id);
    let revoked = before.into_iter().map(|known| known.token).filter(|token| !is_kept(token.id)).collect();
    Ok(Ended { tokens, sessions, revoked })
}

/// What follows when that is in the database: open websockets are cut, nothing is remembered of the login.
pub async fn follow_up(hub: &Hub, user: &users::Model, ended: &Ended) {
    hub.auth.looks.forget(user.id);
    hub.cut_sessions(ended.sessions.iter().cloned());
    if let Err(error) = hub.cut_tokens(&ended.revoked).await {
        warn!(user = %user.name, %error, "websockets of a token that has ended stay open");
    }
}

/// Asks for all servers of somebody to be stopped.
pub async fn stop_servers(hub: &Hub, user: &users::Model) {
    match servers_of(hub, user).await {
        Ok(servers) => {
            for server in servers.iter().filter(|server| server.is_active()) {
                hub.servers.stop(server.record.id, server.key(), false);
            }
        }
        Err(error) => warn!(user = %user.name, %error, "the servers of a user who was logged out run on"),
    }
}
