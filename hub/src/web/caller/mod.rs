//! Who asks: a user or a service, by token or cookie, and the scopes that go with it.
//!
//! [`Api`] and [`Page`] are the two extractors of handlers. Both read who asks, then check the XSRF token, in stock's
//! order; a handler then asks [`Caller::require`].

mod again;
mod api;
mod identify;
mod page;
mod renew;

use std::sync::Arc;

use hub_core::scopes::{Decision, Resource, ScopeSet};
use hub_core::{ServerName, UserName};
use hub_db::entities::{api_tokens, services, users};
use hub_db::repo::browser_sessions::BrowserSession;

pub use self::again::About;
pub use self::api::Api;
pub(super) use self::identify::logged_in;
pub use self::page::{Page, UserPath};
use super::error::{ApiError, ApiResult};
use crate::app::Hub;
use crate::rbac::{Held, Holder};
use crate::sessions::xsrf::XsrfId;

/// A user or a service.
#[derive(Debug, Clone)]
pub enum Who {
    /// A user.
    User(Box<users::Model>),
    /// A service.
    Service(Box<services::Model>),
}

impl Who {
    /// As the holder of roles.
    pub fn holder(&self) -> Holder {
        match self {
            Self::User(user) => Holder::User { id: user.id, name: user.name.clone() },
            Self::Service(service) => Holder::Service { id: service.id, name: service.name.clone() },
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.name,
            Self::Service(service) => &service.name,
        }
    }

    /// Whether the admin flag is set.
    pub fn is_admin(&self) -> bool {
        match self {
            Self::User(user) => user.is_admin(),
            Self::Service(service) => service.admin.unwrap_or(false),
        }
    }
}

/// How somebody proved who they are.
#[derive(Debug, Clone)]
pub enum Via {
    /// An API token.
    Token(Box<api_tokens::Model>),
    /// The login cookie.
    Cookie,
    /// Not at all.
    Nobody,
}

/// Who asks, and what they may do.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user or service; none for a stranger.
    pub who: Option<Who>,
    /// The proof.
    pub via: Via,
    /// The browser session's id: of the cookie, or of the token that was made in it.
    pub session_id: Option<String>,
    /// The browser's login, where one is noted.
    pub login: Option<Arc<BrowserSession>>,
    /// Effective scopes.
    pub scopes: ScopeSet,
    /// Raw scopes of the user's roles and shares; empty for tokens.
    pub raw: Held,
    /// To whom XSRF tokens of this request belong.
    pub xsrf: XsrfId,
}

impl Caller {
    /// Nobody known.
    fn stranger(session_id: Option<String>, xsrf: XsrfId) -> Self {
        Self {
            who: None,
            via: Via::Nobody,
            session_id,
            login: None,
            scopes: ScopeSet::new(),
            raw: Held::default(),
            xsrf,
        }
    }

    /// The user; none for services and strangers.
    pub fn user(&self) -> Option<&users::Model> {
        match &self.who {
            Some(Who::User(user)) => Some(user),
            _ => None,
        }
    }

    /// The token by which somebody asks.
    pub fn token(&self) -> Option<&api_tokens::Model> {
        match &self.via {
            Via::Token(token) => Some(token),
            _ => None,
        }
    }

    /// Whoever asks, or 403.
    pub fn known(&self) -> ApiResult<&Who> {
        self.who.as_ref().ok_or_else(ApiError::anonymous)
    }

    /// Nothing, when any of the scopes allows it on the resource; else 403 or 404 as stock tells them apart.
    pub fn require(&self, names: &[&str], on: &Resource<'_>) -> ApiResult<()> {
        self.known()?;
        match self.scopes.decide(names, on) {
            Decision::Granted => Ok(()),
            Decision::Hidden => Err(ApiError::no_access()),
            Decision::Lacking => Err(lacking(names)),
        }
    }

    /// Nothing, when any of the scopes is held for anything at all, for handlers that then apply the filters.
    pub fn require_some(&self, names: &[&str]) -> ApiResult<()> {
        self.known()?;
        if names.iter().any(|name| self.scopes.has_any(name)) { Ok(()) } else { Err(lacking(names)) }
    }

    /// The same for a user, whose groups are looked up.
    pub async fn require_user(&self, hub: &Hub, names: &[&str], user: &str) -> ApiResult<()> {
        self.known()?;
        let groups = self.groups_of(hub, names, user).await?;
        self.require(names, &Resource::User { name: user, groups: &groups })
    }

    /// The same for a server.
    pub async fn require_server(&self, hub: &Hub, names: &[&str], user: &str, server: &str) -> ApiResult<()> {
        self.known()?;
        let user_groups = self.groups_of(hub, names, user).await?;
        self.require(names, &Resource::Server { user, server, user_groups: &user_groups })
    }

    /// Whether any of the scopes allows it on a server.
    pub async fn may_on_server(
        &self,
        hub: &Hub,
        names: &[&str],
        user: &UserName,
        server: &ServerName,
    ) -> ApiResult<bool> {
        let user_groups = self.groups_of(hub, names, user.as_str()).await?;
        let on = Resource::Server { user: user.as_str(), server: server.as_str(), user_groups: &user_groups };
        Ok(matches!(self.scopes.decide(names, &on), Decision::Granted))
    }

    /// Groups are read only when a filter of one of the scopes names groups.
    async fn groups_of(&self, hub: &Hub, names: &[&str], user: &str) -> ApiResult<Vec<String>> {
        let needed = names
            .iter()
            .any(|name| self.scopes.filter_for(name).filters().is_some_and(|f| !f.groups.is_empty()));
        if !needed {
            return Ok(Vec::new());
        }
        let mut groups = hub.rbac.groups_of(hub.db.conn(), &[user.to_owned()]).await?;
        Ok(groups.0.remove(user).unwrap_or_default())
    }
}

fn lacking(names: &[&str]) -> ApiError {
    let names = names.join(", ");
    ApiError::forbidden(format!("Action is not authorized with current scopes; requires any of [{names}]"))
}
