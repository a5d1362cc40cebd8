//! Hashing of tokens, off the async threads when it takes long.

use std::sync::LazyLock;

use hub_core::token;
use hub_core::token::Verified;

use crate::error::DbError;

/// More rounds than this take long enough to delay other tasks.
const QUICK_ROUNDS: u32 = 64;

/// Services ask again and again with tokens that take many rounds: about a millisecond each time.
static VERIFIED: LazyLock<Verified> = LazyLock::new(|| Verified::new(4_096));

/// The stored form of `token`.
pub(super) async fn hash(text: &str, rounds: u32) -> Result<String, DbError> {
    if text.len() > token::MAX_LENGTH {
        return Err(DbError::Invalid(format!("a token may have at most {} characters", token::MAX_LENGTH)));
    }
    if rounds <= QUICK_ROUNDS {
        return Ok(token::hash(text, rounds));
    }
    let text = text.to_owned();
    run(move || token::hash(&text, rounds)).await
}

/// The position of the stored form that belongs to `token`, if any does.
pub(super) async fn position(text: &str, stored: Vec<Option<String>>) -> Result<Option<usize>, DbError> {
    if text.len() > token::MAX_LENGTH {
        return Ok(None);
    }
    let quick = stored.iter().flatten().all(|stored| {
        stored
            .split(':')
            .nth(1)
            .and_then(|rounds| rounds.parse().ok())
            .is_some_and(|r: u32| r <= QUICK_ROUNDS)
    });
    let is = |stored: &Option<String>, known: &dyn Fn(&str) -> bool| stored.as_deref().is_some_and(known);
    if quick {
        return Ok(stored.iter().position(|stored| is(stored, &|stored| token::verify(text, stored))));
    }
    if let Some(known) = stored.iter().position(|stored| is(stored, &|stored| VERIFIED.knows(text, stored))) {
        return Ok(Some(known));
    }
    let text = text.to_owned();
    run(move || {
        let found = stored.iter().enumerate().find_map(|(at, stored)| {
            Some((at, stored.as_deref().filter(|stored| token::verify(&text, stored))?))
        })?;
        VERIFIED.note(&text, found.1);
        Some(found.0)
    })
    .await
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DbError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| DbError::Unavailable(format!("hashing was interrupted: {error}")))
}
