//! Who asks, looked at again: for answers that go on for long.

use hub_db::repo;
use hub_db::repo::browser_sessions::BrowserSession;

use super::{Caller, Via, Who};
use crate::app::Hub;
use crate::rbac::{Held, Holder};
use crate::web::error::ApiResult;

/// Whether a login has not ended.
async fn is_there(hub: &Hub, login: &BrowserSession) -> ApiResult<bool> {
    let found = repo::browser_sessions::find(hub.db.conn(), login.user_id, login.number()).await?;
    Ok(found.is_some_and(|login| !login.has_ended(hub.clock.now())))
}

impl Caller {
    /// The same caller as of now, for answers that go on for long; none if the credential has ended meanwhile.
    pub async fn renewed(&self, hub: &Hub) -> ApiResult<Option<Self>> {
        let db = hub.db.conn();
        let who = match &self.who {
            Some(Who::User(user)) => {
                let row = repo::users::by_id(db, user.id).await?;
                row.filter(|row| row.cookie_id == user.cookie_id).map(|row| Who::User(Box::new(row)))
            }
            Some(Who::Service(service)) => {
                repo::services::by_id(db, service.id).await?.map(|row| Who::Service(Box::new(row)))
            }
            None => None,
        };
        let Some(who) = who else { return Ok(None) };
        let holder = who.holder();
        let (via, raw, scopes) = match &self.via {
            Via::Nobody => return Ok(None),
            Via::Cookie => {
                if let Some(login) = &self.login
                    && !is_there(hub, login).await?
                {
                    return Ok(None);
                }
                let raw = hub.rbac.session_scopes(db, &holder).await?;
                (Via::Cookie, raw.clone(), raw.scopes)
            }
            Via::Token(token) => {
                let owner = match &holder {
                    Holder::User { id, .. } => repo::Owner::User(*id),
                    Holder::Service { id, .. } => repo::Owner::Service(*id),
                };
                let found = repo::tokens::by_id(db, owner, token.id, hub.clock.now()).await?;
                let Some(found) = found else { return Ok(None) };
                let scopes = hub.rbac.token_scopes(db, &found.token, &holder).await?;
                (Via::Token(Box::new(found.token)), Held::default(), scopes)
            }
        };
        Ok(Some(Self { who: Some(who), via, raw, scopes, ..self.clone() }))
    }
}
