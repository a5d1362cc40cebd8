//! Scopes that are granted by sharing a server: always limited to that server.

use std::collections::BTreeSet;

use thiserror::Error;

/// A shared scope names something else than the shared server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("!{filter} not allowed on sharing {scope}, only !{allowed}")]
pub struct ShareScopeError {
    /// The whole scope.
    pub scope: String,
    /// Its filter.
    pub filter: String,
    /// The one filter that is allowed.
    pub allowed: String,
}

/// What is shared if nothing is said: the use of the server.
pub fn default_share_scope(owner: &str, server: &str) -> String {
    format!("access:servers!server={owner}/{server}")
}

/// Limits scopes to the shared server; any other filter is refused. Sorted. Answers to `Share.apply_filter`.
pub fn pin_share_scopes<T: AsRef<str>>(
    scopes: impl IntoIterator<Item = T>,
    owner: &str,
    server: &str,
) -> Result<BTreeSet<String>, ShareScopeError> {
    let allowed = format!("server={owner}/{server}");
    let mut pinned = BTreeSet::new();
    for scope in scopes {
        let scope = scope.as_ref();
        let (name, filter) = scope.split_once('!').unwrap_or((scope, ""));
        if !filter.is_empty() && filter != allowed {
            return Err(ShareScopeError { scope: scope.to_owned(), filter: filter.to_owned(), allowed });
        }
        pinned.insert(format!("{name}!{allowed}"));
    }
    Ok(pinned)
}

/// Stored scopes of a share with the filter that fits today's names of owner and server. Sorted.
pub fn repin_share_scopes<T: AsRef<str>>(
    scopes: impl IntoIterator<Item = T>,
    owner: &str,
    server: &str,
) -> BTreeSet<String> {
    let pin = |scope: T| {
        let name = scope.as_ref().split('!').next().unwrap_or_default().to_owned();
        format!("{name}!server={owner}/{server}")
    };
    scopes.into_iter().map(pin).collect()
}
