//! What requests read again and again, remembered for as long as [`Known`] allows: who is behind a token, what they
//! hold, the rows that models are made of.
//!
//! Nothing here is to be used within a transaction, which must see its own changes.

use std::sync::Arc;

use hub_core::scopes::ScopeSet;
use hub_db::entities::{api_tokens, users};
use hub_db::repo::browser_sessions::BrowserSession;
use hub_db::repo::user_list::{Only, ServerState, UserQuery};
use hub_db::repo::users::UserDetails;
use hub_db::{Db, DbError, Known, repo};
use sha2::{Digest as _, Sha256};

use crate::rbac::{Held, Holder, Rbac, roles};
use crate::web::caller::Who;

/// Most tokens, and most users, that are remembered.
const MOST: usize = 4_096;

/// Longest filter, in bytes, and most names in one, for which a number of users is remembered.
const LONGEST_FILTER: usize = 64;
const MOST_NAMES: usize = 64;

/// Whoever is behind a token, and what it allows. When the owner was last active may be out of date.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The token.
    pub token: api_tokens::Model,
    /// Its owner.
    pub who: Who,
    /// Effective scopes.
    pub scopes: ScopeSet,
}

/// A token without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// Of the text of a token.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

/// What the number of users on all pages depends on.
type CountKey = (Option<ServerState>, Option<String>, Option<Only>);

/// Everything that is remembered.
#[derive(Debug)]
pub struct KnownRows {
    /// By token.
    pub credentials: Known<TokenKey, Arc<Credential>>,
    users: Known<String, Option<users::Model>>,
    ids: Known<String, Option<i32>>,
    user_counts: Known<CountKey, u64>,
    browser_sessions: Known<(i32, u64), Option<Arc<BrowserSession>>>,
    details: Known<i32, Arc<UserDetails>>,
    held: Known<(Holder, bool), Held>,
    groups: Known<i32, Vec<String>>,
    roles_of_services: Known<i32, Vec<String>>,
    default_token_scopes: Known<(), Vec<String>>,
    clients: Known<Option<String>, Option<String>>,
}

impl Default for KnownRows {
    fn default() -> Self {
        Self {
            credentials: Known::without_activity(MOST),
            users: Known::new(MOST),
            ids: Known::without_activity(MOST),
            user_counts: Known::without_activity(MOST),
            browser_sessions: Known::new(MOST),
            details: Known::new(MOST),
            held: Known::without_activity(MOST),
            groups: Known::without_activity(MOST),
            roles_of_services: Known::without_activity(MOST),
            default_token_scopes: Known::without_activity(1),
            clients: Known::without_activity(MOST),
        }
    }
}

impl KnownRows {
    /// [`repo::users::by_name`].
    pub async fn user(&self, db: &Db, name: &str) -> Result<Option<users::Model>, DbError> {
        self.users.get(db, name.to_owned(), repo::users::by_name(db.conn(), name)).await
    }

    /// [`repo::user_list::count`].
    pub async fn user_count(&self, db: &Db, query: &UserQuery) -> Result<u64, DbError> {
        let long = |text: &String| text.len() > LONGEST_FILTER;
        let many = |only: &Only| only.users.len() + only.groups.len() > MOST_NAMES;
        if query.name_filter.as_ref().is_some_and(long) || query.only.as_ref().is_some_and(many) {
            return repo::user_list::count(db.conn(), query).await;
        }
        let key = (query.state, query.name_filter.clone(), query.only.clone());
        self.user_counts.get(db, key, repo::user_list::count(db.conn(), query)).await
    }

    /// The id of the user with this very name.
    pub async fn user_id(&self, db: &Db, name: &str) -> Result<Option<i32>, DbError> {
        let read = async { Ok(self.user(db, name).await?.map(|user| user.id)) };
        self.ids.get(db, name.to_owned(), read).await
    }

    /// [`repo::browser_sessions::find`]. A number is never asked for before there is a row, so that one that is not
    /// there will never be.
    pub async fn browser_session(
        &self,
        db: &Db,
        user: i32,
        number: u64,
    ) -> Result<Option<Arc<BrowserSession>>, DbError> {
        let read = async {
            let found = repo::browser_sessions::find(db.conn(), user, number).await;
            found.map(|session| session.map(Arc::new))
        };
        self.browser_sessions.get(db, (user, number), read).await
    }

    /// [`repo::users::with_details`] of one user, whose row may be one that was remembered.
    pub async fn details(&self, db: &Db, user: &users::Model) -> Result<Arc<UserDetails>, DbError> {
        let read = async {
            let row = match self.details.version(db) {
                Some(_) => repo::users::by_id(db.conn(), user.id).await?,
                None => Some(user.clone()),
            };
            let found = repo::users::with_details(db.conn(), row.into_iter().collect()).await?.pop();
            let gone = || DbError::Conflict("the user was deleted meanwhile".to_owned());
            Ok(Arc::new(found.ok_or_else(gone)?))
        };
        self.details.get(db, user.id, read).await
    }

    /// [`Rbac::held`].
    pub async fn held(
        &self,
        db: &Db,
        rbac: &Rbac,
        holder: &Holder,
        group_shares: bool,
    ) -> Result<Held, DbError> {
        self.held.get(db, (holder.clone(), group_shares), rbac.held(db.conn(), holder, group_shares)).await
    }

    /// Names of the groups of a user, sorted.
    pub async fn groups(&self, db: &Db, user: i32) -> Result<Vec<String>, DbError> {
        let read = async {
            Ok(repo::groups::names_of_users(db.conn(), &[user]).await?.remove(&user).unwrap_or_default())
        };
        self.groups.get(db, user, read).await
    }

    /// Names of the roles of a service, sorted.
    pub async fn roles_of_service(&self, db: &Db, service: i32) -> Result<Vec<String>, DbError> {
        let read = async {
            let roles = repo::roles::of(db.conn(), repo::roles::Holder::Service(service)).await?;
            Ok(roles.into_iter().map(|role| role.name).collect())
        };
        self.roles_of_services.get(db, service, read).await
    }

    /// [`roles::default_token_scopes`].
    pub async fn default_token_scopes(&self, db: &Db) -> Result<Vec<String>, DbError> {
        self.default_token_scopes.get(db, (), roles::default_token_scopes(db.conn())).await
    }

    /// [`repo::tokens::with_client`].
    pub async fn with_client(
        &self,
        db: &Db,
        token: api_tokens::Model,
    ) -> Result<repo::tokens::TokenDetails, DbError> {
        let read = async {
            let found = repo::tokens::with_client(db.conn(), token.clone()).await;
            found.map(|details| details.oauth_client)
        };
        let oauth_client = self.clients.get(db, token.client_id.clone(), read).await?;
        Ok(repo::tokens::TokenDetails { token, oauth_client })
    }
}
