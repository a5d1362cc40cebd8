//! Which authorities of `hub.internal_ssl` a database belongs with: one text, so that a hub with others is told apart
//! before it does harm.
//!
//! Stock has no table for it. Like notices it is an authorization code of the hub's own OAuth client, which gets none
//! otherwise: it belongs to nobody, and its end is beyond all times.

use chrono::{DateTime, Utc};
use sea_orm::prelude::*;
use sea_orm::{ConnectionTrait, QueryOrder as _, QuerySelect as _};

use super::notices;
use super::oauth::HUB_CLIENT;
use crate::entities::{oauth_clients, oauth_codes};
use crate::error::DbError;
use crate::{Db, Tx};

/// The code of its row.
const CODE: &str = "himalia-authorities";

/// The text, where there is one.
pub async fn kept(db: &impl ConnectionTrait) -> Result<Option<String>, DbError> {
    let row = oauth_codes::Entity::find()
        .filter(notices::left(CODE))
        .order_by_asc(oauth_codes::Column::Id)
        .one(db)
        .await?;
    Ok(row.and_then(|row| row.scopes.0.into_iter().next()))
}

/// Keeps a text where there is none, or in place of the one there is, and tells which is there now. Of several hubs that
/// come at once one is first. The hub's own client must exist.
pub async fn keep(db: &Db, text: &str, anew: bool) -> Result<String, DbError> {
    let tx = db.begin().await?;
    let kept = keep_in(&tx, text, anew).await?;
    tx.commit().await?;
    Ok(kept)
}

async fn keep_in(tx: &Tx, text: &str, anew: bool) -> Result<String, DbError> {
    // One after the other, also where transactions do not exclude each other.
    let own = oauth_clients::Column::Identifier.eq(HUB_CLIENT);
    oauth_clients::Entity::find().filter(own).lock_exclusive().one(tx).await?;
    match kept(tx).await? {
        Some(kept) if !anew || kept == text => return Ok(kept),
        Some(_) => {
            oauth_codes::Entity::delete_many().filter(notices::left(CODE)).exec(tx).await?;
        }
        None => {}
    }
    notices::row(CODE.to_owned(), text.to_owned(), DateTime::<Utc>::MAX_UTC).insert(tx).await?;
    Ok(text.to_owned())
}
