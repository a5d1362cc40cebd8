//! The open websockets and who opened them, so that those of an ended session or revoked token can be cut.
//!
//! Of cookies only a hash is kept, under a key that never leaves the process. A token is kept as it is for as long as
//! its websocket lives: the hub has no more of it than a salted hash, with which only the token itself can be
//! compared.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderValue, Uri, header};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::token_hash::{MAX_TOKEN, TokenHash};
use crate::routes::Route;

/// Response header by which a target may say which token (by its public id) opened a websocket. Not passed on.
pub(crate) const TOKEN_ID: &str = "x-jupyterhub-token-id";
/// Longest token id that is kept.
const MAX_ID: usize = 128;

/// Which websockets to cut. Those that fit every field given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cut {
    /// Value of the session cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The token itself, as it was shown in `Authorization` or as `token` in the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The token by what the hub keeps of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_hash: Option<TokenHash>,
    /// The token's id, as the target told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// Key of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

impl Cut {
    /// Whether nothing is named: that would cut everything.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A keyed hash, wide enough that two secrets never share one.
type Mark = u128;

/// By what a websocket was opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opener {
    session: Option<Mark>,
    token: Option<Arc<SecretSlice<u8>>>,
    token_id: Option<Box<str>>,
}

#[derive(Debug)]
struct Open {
    opener: Opener,
    route: Arc<Route>,
    cut: CancellationToken,
}

/// All open websockets of a proxy.
#[derive(Debug, Default)]
pub(crate) struct Websockets {
    keys: (RandomState, RandomState),
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

/// Keeps a websocket in the list for as long as it lives.
#[derive(Debug)]
pub(crate) struct Listed {
    all: Arc<Websockets>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.id);
        // A crowd that has left gives its memory back.
        if open.capacity() > 64 && open.len() < open.capacity() / 4 {
            open.shrink_to_fit();
        }
    }
}

impl Websockets {
    fn mark(&self, secret: &[u8]) -> Mark {
        (u128::from(self.keys.0.hash_one(secret)) << 64) | u128::from(self.keys.1.hash_one(secret))
    }

    /// What a request shows of its sender.
    pub(crate) fn opener(&self, headers: &HeaderMap, uri: &Uri, session_cookie: &str) -> Opener {
        let session = cookie(headers, session_cookie).map(|value| self.mark(value.as_bytes()));
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = match shown.and_then(|value| value.split_once(' ')) {
            Some((scheme, token))
                if scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer") =>
            {
                Some(token.trim().as_bytes().to_vec())
            }
            _ => uri
                .query()
                .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("token=")))
                .map(|token| percent_decode_str(token).collect()),
        };
        // What is longer is no token of a hub.
        let token = token.filter(|token| token.len() <= MAX_TOKEN).map(|token| Arc::new(token.into()));
        Opener { session, token, token_id: None }
    }

    /// Notes a websocket; `cut` is cancelled when it is to end.
    pub(crate) fn list(
        self: &Arc<Self>,
        opener: Opener,
        route: Arc<Route>,
        cut: CancellationToken,
    ) -> Listed {
        let id = self.next.fetch_add(1, Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(id, Open { opener, route, cut });
        Listed { all: Arc::clone(self), id }
    }

    /// Cuts the websockets that fit, and says how many those were.
    pub(crate) fn cut(&self, order: &Cut) -> usize {
        if order.is_empty() {
            return 0;
        }
        let session = order.session.as_ref().map(|session| self.mark(session.as_bytes()));
        let route = order.route.as_deref().map(|route| format!("/{}", route.trim_matches('/')));
        let fits = |open: &Open| {
            (session.is_none() || session == open.opener.session)
                && order.token_id.as_deref().is_none_or(|id| open.opener.token_id.as_deref() == Some(id))
                && route.as_deref().is_none_or(|route| *open.route.key == *route)
        };
        // Comparing tokens takes its time, during which others may open and close websockets.
        let candidates: Vec<(Option<Arc<SecretSlice<u8>>>, CancellationToken)> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let fitting = open.values().filter(|open| fits(open));
            fitting.map(|open| (open.opener.token.clone(), open.cut.clone())).collect()
        };
        let is_token = |shown: Option<&Arc<SecretSlice<u8>>>| {
            let shown = shown.map(|shown| shown.expose_secret());
            order
                .token
                .as_ref()
                .is_none_or(|token| shown.is_some_and(|shown| shown.ct_eq(token.as_bytes()).into()))
                && order.token_hash.as_ref().is_none_or(|hash| shown.is_some_and(|shown| hash.fits(shown)))
        };
        candidates.iter().filter(|(shown, _)| is_token(shown.as_ref())).map(|(_, cut)| cut.cancel()).count()
    }
}

impl Opener {
    /// Takes the token's id from the target's answer.
    pub(crate) fn learn(&mut self, headers: &mut HeaderMap) {
        let told = headers.remove(TOKEN_ID);
        let id = told.as_ref().and_then(|id: &HeaderValue| id.to_str().ok());
        self.token_id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID).map(Into::into);
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RouteTable;

    fn opener(all: &Websockets, headers: &[(&'static str, &str)], uri: &str) -> Opener {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        all.opener(&headers, &uri.parse().unwrap(), "sid")
    }

    #[test]
    fn exactly_the_websockets_that_fit_are_cut() {
        let all = Arc::<Websockets>::default();
        let routes = RouteTable::new(false);
        routes.add("/user/a", "http://127.0.0.1:1", serde_json::Map::new()).unwrap();
        let route = routes.exact("/user/a").unwrap();
        let mut held = Vec::new();
        let mut open = |opener: Opener| {
            let cut = CancellationToken::new();
            held.push(all.list(opener, Arc::clone(&route), cut.clone()));
            cut
        };
        let by_session = open(opener(&all, &[("cookie", "a=b; sid=one")], "/"));
        let by_other = open(opener(&all, &[("cookie", "sid=two")], "/"));
        let by_header = open(opener(&all, &[("authorization", "token secret")], "/"));
        let by_query = open(opener(&all, &[], "/x?a=b&token=sec%72et"));
        let mut learned = Opener::default();
        learned.learn(
            &mut [(http::HeaderName::from_static(TOKEN_ID), "a7".parse().unwrap())].into_iter().collect(),
        );
        let by_id = open(learned);

        let cut = |order: Cut| all.cut(&order);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(cut(Cut::default()), 0);
        assert_eq!(cut(Cut { session: some("none"), ..Cut::default() }), 0);
        assert_eq!(cut(Cut { session: some("one"), route: some("/user/b"), ..Cut::default() }), 0);
        assert_eq!(cut(Cut { session: some("one"), route: some("/user/a/"), ..Cut::default() }), 1);
        assert!(by_session.is_cancelled() && !by_other.is_cancelled());
        // SHA-512 of "salt" and twice "secret".
        let digest = "df601cecd7ae8fa9112e98e019512759f532a467b9e4a1ea31f478a3297a6d839a0ed76a82222ca1717c296a9ad3171466cc03367ae799273eef9c9ba0c0692b";
        let hash = |prefix: &str, digest: &str| {
            Some(TokenHash { prefix: prefix.to_owned(), hashed: format!("sha512:2:salt:{digest}") })
        };
        assert_eq!(cut(Cut { token_hash: hash("secr", "00"), ..Cut::default() }), 0);
        assert_eq!(cut(Cut { token_hash: hash("othe", digest), ..Cut::default() }), 0);
        assert_eq!(cut(Cut { token_hash: hash("secr", digest), ..Cut::default() }), 2);
        assert_eq!(cut(Cut { token: some("secret"), ..Cut::default() }), 2);
        assert!(by_header.is_cancelled() && by_query.is_cancelled() && !by_id.is_cancelled());
        assert_eq!(cut(Cut { token_id: some("a7"), ..Cut::default() }), 1);
        assert!(by_id.is_cancelled() && !by_other.is_cancelled());
        drop(held);
        assert_eq!(cut(Cut { route: some("/user/a"), ..Cut::default() }), 0);
        assert!(!format!("{all:?}").contains("secret"));
    }
}
