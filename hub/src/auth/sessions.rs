//! The end of all that a person's browsers hold: login cookies, tokens, open websockets.

use hub_core::{ServerKey, ServerName, UserName};
use hub_db::entities::users;
use hub_db::repo::tokens::{Ended, Staying};
use hub_db::{DbError, Tx, repo};
use tracing::warn;

use crate::app::Hub;
use crate::notices::Notice;
use crate::rbac::HUB_CLIENT;
use crate::servers::store::token_note;
use crate::web::pages::context::servers_of;

/// Ends login cookies, the tokens of browsers and codes that could still become tokens; with `all_tokens` also the
/// tokens that people made for scripts. Those of running servers stay.
///
/// # Errors
/// When the database does not answer.
pub async fn end(hub: &Hub, tx: &Tx, user: &users::Model, all_tokens: bool) -> Result<Ended, DbError> {
    // What browsers hold is never a server's.
    let kept = if all_tokens { tokens_of_servers(hub, tx, user).await? } else { Vec::new() };
    repo::users::reset_cookie_id(tx, user.id).await?;
    let staying = Staying { tokens: &kept, ..Staying::default() };
    repo::tokens::delete_of_user(tx, user.id, all_tokens, staying).await
}

/// Ids of the tokens with which the running servers of somebody work. Anybody can give a token the note of one; but the
/// server's own was there when the server was started, and the first of its note since.
async fn tokens_of_servers(hub: &Hub, tx: &Tx, user: &users::Model) -> Result<Vec<i32>, DbError> {
    let tokens = repo::tokens::of_owner(tx, repo::Owner::User(user.id), hub.clock.now()).await?;
    let mut ids = Vec::new();
    for server in repo::spawners::of_user(tx, user.id).await?.iter().filter(|it| it.server.is_some()) {
        let key = ServerKey::new(UserName::stored(&user.name), ServerName::stored(&server.row.name));
        let note = token_note(&hub.urls.server(&key));
        let own = tokens.iter().map(|known| &known.token).filter(|token| {
            token.note.as_deref() == Some(note.as_str())
                && token.client_id.as_deref() == Some(HUB_CLIENT)
                && token.session_id.is_none()
                && token.created <= server.row.started
        });
        ids.extend(own.map(|token| token.id).min());
    }
    Ok(ids)
}

/// What follows when that is in the database: open websockets are cut, nothing is remembered of the login.
pub fn follow_up(hub: &Hub, user: &users::Model, ended: Ended) {
    hub.auth.looks.forget(user.id);
    hub.notices.tell(&hub.tasks, vec![Notice::Login(user.id)]);
    hub.cut_sessions_and_scripts(ended.sessions, &ended.tokens);
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
