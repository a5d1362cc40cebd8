//! Hashing of tokens, off the async threads when it takes long.

use hub_core::token;

use crate::error::DbError;

/// More rounds than this take long enough to delay other tasks.
const QUICK_ROUNDS: u32 = 64;

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
    let search = {
        let text = text.to_owned();
        move || {
            stored
                .iter()
                .position(|stored| stored.as_deref().is_some_and(|stored| token::verify(&text, stored)))
        }
    };
    if quick { Ok(search()) } else { run(search).await }
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DbError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| DbError::Unavailable(format!("hashing was interrupted: {error}")))
}
