//! The end of all that a person's browsers hold: login cookies, tokens, open websockets.

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
    /// The tokens, which tell the browser sessions that they were made in.
    pub tokens: Vec<ApiToken>,
}

/// Ends login cookies and the tokens of browsers; with `all_tokens` also those that people made for scripts.
///
/// # Errors
/// When the database does not answer.
pub async fn end(tx: &Tx, user: &users::Model, all_tokens: bool) -> Result<Ended, DbError> {
    repo::users::reset_cookie_id(tx, user.id).await?;
    let tokens = repo::tokens::delete_of_user(tx, user.id, all_tokens, SERVER_NOTE).await?;
    Ok(Ended { tokens })
}

/// What follows when that is in the database: open websockets are cut, nothing is remembered of the login.
pub fn follow_up(hub: &Hub, user: &users::Model, ended: &Ended) {
    hub.auth.looks.forget(user.id);
    let sessions = ended.tokens.iter().filter_map(|token| token.session_id.clone());
    let sessions = sessions.filter(|id| !id.is_empty()).collect();
    hub.cut_sessions_and_scripts(sessions, &ended.tokens);
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
