//! OAuth clients and authorization codes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hub_core::token::CHOSEN_ROUNDS;
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::{Condition, ConnectionTrait, IntoActiveModel as _};

use super::fitting::{fitting, kept};
use super::{CHUNK, hashing};
use crate::entities::{api_tokens, oauth_clients, oauth_codes, services, spawners};
use crate::error::DbError;
use crate::types::JsonList;

/// One OAuth client.
pub use crate::entities::oauth_clients::Model as Client;
/// One authorization code.
pub use crate::entities::oauth_codes::Model as Code;

/// Identifier of the hub's own client, which all plain tokens refer to.
pub const HUB_CLIENT: &str = "jupyterhub";

/// What to store for a client.
#[derive(Debug, Clone)]
pub struct ClientSpec {
    /// Unique client id, at most 255 characters.
    pub identifier: String,
    /// Text for people; empty: the identifier.
    pub description: String,
    /// Where the browser goes back to, at most 1023 characters.
    pub redirect_uri: String,
    /// Scopes that it may ask for.
    pub allowed_scopes: Vec<String>,
}

/// What to store for a code.
#[derive(Debug, Clone)]
pub struct NewCode {
    /// The code, at most 36 characters.
    pub code: String,
    /// Identifier of the client, which must exist.
    pub client_id: String,
    /// The user who agreed.
    pub user_id: i32,
    /// Where the browser goes back to.
    pub redirect_uri: String,
    /// Browser session of the user.
    pub session_id: Option<String>,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// PKCE challenge and its method.
    pub challenge: Option<(String, String)>,
    /// When it ends; whole seconds are kept.
    pub expires_at: DateTime<Utc>,
}

/// The client with this identifier.
pub async fn client(db: &impl ConnectionTrait, identifier: &str) -> Result<Option<Client>, DbError> {
    let found = oauth_clients::Entity::find()
        .filter(oauth_clients::Column::Identifier.eq(identifier))
        .one(db)
        .await?;
    Ok(found.filter(|client| client.identifier == identifier))
}

/// The clients with these identifiers, by identifier. One query.
pub async fn clients_by_ids(
    db: &impl ConnectionTrait,
    identifiers: &[String],
) -> Result<HashMap<String, Client>, DbError> {
    let mut wanted: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = HashMap::new();
    for identifiers in wanted.chunks(CHUNK) {
        let filter = oauth_clients::Column::Identifier.is_in(identifiers.iter().copied());
        let rows = oauth_clients::Entity::find().filter(filter).all(db).await?;
        found.extend(rows.into_iter().map(|client| (client.identifier.clone(), client)));
    }
    Ok(found)
}

/// The secret of a client as it is stored.
#[derive(Debug, Clone)]
pub struct HashedSecret(String);

/// Hashes the secret of a client with many rounds, off the async threads: a matter of milliseconds, in which no
/// transaction should be open. An empty one stays empty: such a client cannot authenticate.
pub async fn hash_secret(secret: &str) -> Result<HashedSecret, DbError> {
    let hashed = if secret.is_empty() { String::new() } else { hashing::hash(secret, CHOSEN_ROUNDS).await? };
    Ok(HashedSecret(hashed))
}

/// Makes a client or brings it up to date; its tokens and codes stay.
pub async fn upsert_client(
    db: &impl ConnectionTrait,
    spec: ClientSpec,
    secret: HashedSecret,
) -> Result<Client, DbError> {
    let known = client(db, &spec.identifier).await?;
    let found = known.is_some();
    let mut row = known.map(Client::into_active_model).unwrap_or_default();
    let description = if spec.description.is_empty() { spec.identifier.clone() } else { spec.description };
    row.description = Set(Some(kept(db, description, 1023)));
    row.identifier = Set(spec.identifier);
    row.secret = Set(Some(secret.0));
    row.redirect_uri = Set(Some(kept(db, spec.redirect_uri, 1023)));
    row.allowed_scopes = Set(JsonList(spec.allowed_scopes));
    Ok(if found { row.update(db).await? } else { row.insert(db).await? })
}

/// Whether a stored redirection URI is this one.
pub fn is_redirect_uri(stored: &str, uri: &str) -> bool {
    stored == uri || stored == fitting(uri, 1023)
}

/// Gives a client another secret; without effect when there is no such client.
pub async fn set_secret(
    db: &impl ConnectionTrait,
    identifier: &str,
    secret: HashedSecret,
) -> Result<(), DbError> {
    if let Some(known) = client(db, identifier).await? {
        let mut row = known.into_active_model();
        row.secret = Set(Some(secret.0));
        row.update(db).await?;
    }
    Ok(())
}

/// Makes the hub's own client if it is missing: without it no token could be stored.
pub async fn ensure_hub_client(db: &impl ConnectionTrait) -> Result<(), DbError> {
    if client(db, HUB_CLIENT).await?.is_some() {
        return Ok(());
    }
    let row = oauth_clients::ActiveModel {
        identifier: Set(HUB_CLIENT.to_owned()),
        description: Set(Some("JupyterHub".to_owned())),
        secret: Set(Some(String::new())),
        redirect_uri: Set(Some(String::new())),
        allowed_scopes: Set(JsonList::default()),
        ..Default::default()
    };
    match row.insert(db).await.map_err(DbError::from) {
        // Another hub made it at this moment.
        Err(error) if error.is_conflict() => Ok(()),
        result => result.map(drop),
    }
}

/// Whether `secret` is the client's. `false` for a client without one. Constant time, off the async threads.
pub async fn verify_secret(client: &Client, secret: &str) -> Result<bool, DbError> {
    let stored = client.secret.clone().filter(|stored| !stored.is_empty());
    Ok(hashing::position(secret, vec![stored]).await?.is_some())
}

/// Deletes a client with its tokens and codes, and cuts its tie to a server or service, also where the database has no
/// foreign keys for that. Five tables. `false`: there was none.
pub async fn delete_client(db: &impl ConnectionTrait, identifier: &str) -> Result<bool, DbError> {
    Ok(delete_clients(db, &[identifier.to_owned()]).await? > 0)
}

pub(super) async fn delete_clients(
    db: &impl ConnectionTrait,
    identifiers: &[String],
) -> Result<u64, DbError> {
    let mut deleted = 0;
    for ids in identifiers.chunks(CHUNK) {
        api_tokens::Entity::delete_many().filter(api_tokens::Column::ClientId.is_in(ids)).exec(db).await?;
        oauth_codes::Entity::delete_many().filter(oauth_codes::Column::ClientId.is_in(ids)).exec(db).await?;
        spawners::Entity::update_many()
            .col_expr(spawners::Column::OauthClientId, Expr::value(None::<String>))
            .filter(spawners::Column::OauthClientId.is_in(ids))
            .exec(db)
            .await?;
        services::Entity::update_many()
            .col_expr(services::Column::OauthClientId, Expr::value(None::<String>))
            .filter(services::Column::OauthClientId.is_in(ids))
            .exec(db)
            .await?;
        let filter = oauth_clients::Column::Identifier.is_in(ids);
        deleted += oauth_clients::Entity::delete_many().filter(filter).exec(db).await?.rows_affected;
    }
    Ok(deleted)
}

/// Stores a code.
pub async fn create_code(db: &impl ConnectionTrait, new: NewCode) -> Result<Code, DbError> {
    if new.code.is_empty() || new.code.len() > 36 {
        return Err(DbError::Invalid("an authorization code has 1 to 36 characters".to_owned()));
    }
    let (challenge, method) = new.challenge.unzip();
    let row = oauth_codes::ActiveModel {
        client_id: Set(Some(new.client_id)),
        code: Set(Some(new.code)),
        expires_at: Set(Some(epoch(new.expires_at))),
        redirect_uri: Set(Some(kept(db, new.redirect_uri, 1023))),
        session_id: Set(new.session_id),
        user_id: Set(Some(new.user_id)),
        scopes: Set(JsonList(new.scopes)),
        code_challenge: Set(challenge),
        code_challenge_method: Set(method),
        ..Default::default()
    };
    Ok(row.insert(db).await?)
}

/// The column is a 32-bit integer; a code of the year 2038 would rather live for ever than end at once.
pub(super) fn epoch(moment: DateTime<Utc>) -> i32 {
    i32::try_from(moment.timestamp()).unwrap_or(i32::MAX)
}

/// Looks at a code that has not ended without using it up. The hub's own client gets none: what looks like one is a
/// login ([`super::browser_sessions`]) or a notice ([`super::notices`]).
pub async fn code(
    db: &impl ConnectionTrait,
    code: &str,
    now: DateTime<Utc>,
) -> Result<Option<Code>, DbError> {
    let not_ended = Condition::any()
        .add(oauth_codes::Column::ExpiresAt.is_null())
        .add(oauth_codes::Column::ExpiresAt.gte(epoch(now)));
    let rows = oauth_codes::Entity::find()
        .filter(oauth_codes::Column::Code.eq(code))
        .filter(not_ended)
        .all(db)
        .await?;
    let is_it =
        |row: &Code| row.code.as_deref() == Some(code) && row.client_id.as_deref() != Some(HUB_CLIENT);
    Ok(rows.into_iter().find(is_it))
}

/// Uses up a code: of several callers with the same code exactly one gets it. Two statements, no transaction needed.
pub async fn take_code(
    db: &impl ConnectionTrait,
    text: &str,
    now: DateTime<Utc>,
) -> Result<Option<Code>, DbError> {
    let Some(found) = code(db, text, now).await? else { return Ok(None) };
    let deleted = oauth_codes::Entity::delete_by_id(found.id).exec(db).await?.rows_affected;
    Ok((deleted > 0).then_some(found))
}
