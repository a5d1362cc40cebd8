//! `Idempotency-Key`: a `POST` that is sent again gets the answer of the first time. Not in JupyterHub.
//!
//! Only successes are kept: a call that failed has made nothing, and is tried anew. What is kept is in memory, since an
//! answer may hold a secret: it lasts an hour at most, ends with the process, and other hubs on the same database do
//! not know it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::MessageBody as _;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use jupyterhub_api_compat::endpoints::Endpoint;
use jupyterhub_api_compat::openapi::takes_idempotency_key;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::call::Call;
use crate::rbac::Holder;
use crate::web::error::{ApiError, ApiResult};

/// The header.
const HEADER: &str = "idempotency-key";
/// Header of an answer that was kept.
const REPLAYED: &str = "idempotent-replayed";
/// Longest key, in bytes.
const LONGEST_KEY: usize = 255;
/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_hours(1);
/// Most keys of one caller; beyond, the oldest go.
const KEYS_OF_ONE: usize = 100;
/// Most keys of all callers together.
const KEYS_OF_ALL: usize = 10_000;
/// Largest answer that is kept, in bytes.
const LARGEST: usize = 64 * 1024;
/// All kept answers together, in bytes.
const LARGEST_OF_ALL: usize = 32 * 1024 * 1024;

/// Digest of what was asked, and by which token: path, query and body. An answer may hold a secret, which another
/// token of the same person, that may do less, must not get.
type Fingerprint = [u8; 32];

/// An answer that can be given again.
#[derive(Debug, Clone)]
struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    fn respond(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status).body(self.body.clone());
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        let yes = HeaderValue::from_static("true");
        response.headers_mut().insert(HeaderName::from_static(REPLAYED), yes);
        response
    }
}

#[derive(Debug)]
struct Entry {
    key: String,
    asked: Fingerprint,
    since: Instant,
    /// None while the first call is under way.
    kept: Option<Kept>,
}

impl Entry {
    fn size(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.body.len())
    }

    fn is_over(&self) -> bool {
        self.kept.is_some() && self.since.elapsed() > KEPT_FOR
    }
}

/// Whose key it is: users and services have their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    user: bool,
    id: i32,
}

impl Owner {
    fn of(call: &Call) -> Option<Self> {
        Some(match call.caller.who.as_ref()?.holder() {
            Holder::User { id, .. } => Self { user: true, id },
            Holder::Service { id, .. } => Self { user: false, id },
        })
    }
}

#[derive(Debug, Default)]
struct Store {
    callers: HashMap<Owner, VecDeque<Entry>>,
    keys: usize,
    bytes: usize,
}

/// What is to be done with a call.
#[derive(Debug)]
enum Turn {
    /// It is the first with its key.
    First,
    /// It was answered.
    Again(Kept),
    /// The first is not answered yet.
    UnderWay,
    /// Another call had this key.
    Other,
    /// So many are under way that no more can be remembered.
    Full,
}

impl Store {
    fn begin(&mut self, owner: &Owner, key: &str, asked: Fingerprint) -> Turn {
        self.drop_old();
        let entries = self.callers.entry(owner.clone()).or_default();
        if let Some(entry) = entries.iter().find(|entry| entry.key == key) {
            return match &entry.kept {
                _ if entry.asked != asked => Turn::Other,
                Some(kept) => Turn::Again(kept.clone()),
                None => Turn::UnderWay,
            };
        }
        if entries.len() >= KEYS_OF_ONE {
            let Some(oldest) = entries.iter().position(|entry| entry.kept.is_some()) else {
                return Turn::Full;
            };
            if let Some(entry) = entries.remove(oldest) {
                self.keys -= 1;
                self.bytes -= entry.size();
            }
        }
        entries.push_back(Entry { key: key.to_owned(), asked, since: Instant::now(), kept: None });
        self.keys += 1;
        Turn::First
    }

    /// What is over goes; and the oldest answers where there are too many or they are too large together.
    fn drop_old(&mut self) {
        let full = self.keys >= KEYS_OF_ALL || self.bytes >= LARGEST_OF_ALL;
        let (mut keys, mut bytes) = (0, 0);
        for entries in self.callers.values_mut() {
            // Under pressure every caller gives the older half.
            let give = if full { entries.len().div_ceil(2) } else { 0 };
            let mut place = 0;
            entries.retain(|entry| {
                place += 1;
                entry.kept.is_none() || (place > give && !entry.is_over())
            });
            keys += entries.len();
            bytes += entries.iter().map(Entry::size).sum::<usize>();
        }
        self.callers.retain(|_, entries| !entries.is_empty());
        (self.keys, self.bytes) = (keys, bytes);
    }

    /// The first call with a key is through: its answer is kept, or the key is free again.
    fn end(&mut self, owner: &Owner, key: &str, kept: Option<Kept>) {
        let Some(entries) = self.callers.get_mut(owner) else { return };
        let Some(place) = entries.iter().position(|entry| entry.key == key && entry.kept.is_none()) else {
            return;
        };
        match (kept, entries.get_mut(place)) {
            (Some(kept), Some(entry)) => {
                self.bytes += kept.body.len();
                entry.since = Instant::now();
                entry.kept = Some(kept);
            }
            _ => {
                entries.remove(place);
                self.keys -= 1;
            }
        }
    }
}

/// The keys of all callers.
#[derive(Debug, Default)]
pub struct Idempotency(Mutex<Store>);

impl Idempotency {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees the key of a call that ends without an answer.
struct Running {
    hub: actix_web::web::Data<crate::app::Hub>,
    owner: Owner,
    key: String,
    kept: Option<Kept>,
}

impl Running {
    fn keep(&mut self, kept: Option<Kept>) {
        self.kept = kept;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.hub.idempotency.lock().end(&self.owner, &self.key, self.kept.take());
    }
}

fn key_of(call: &Call) -> ApiResult<Option<String>> {
    let Some(value) = call.header_bytes(HEADER) else { return Ok(None) };
    let fits = (1..=LONGEST_KEY).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    let text = fits.then(|| String::from_utf8(value.to_vec()).ok()).flatten();
    let wrong = || {
        ApiError::bad_request(format!("Idempotency-Key must be 1 to {LONGEST_KEY} visible ASCII characters"))
    };
    text.map(Some).ok_or_else(wrong)
}

fn fingerprint(call: &Call) -> Fingerprint {
    let mut digest = Sha256::new();
    digest.update(call.facts.uri());
    digest.update([0]);
    digest.update(call.caller.token().map(|token| token.id).unwrap_or_default().to_le_bytes());
    digest.update(&call.body);
    digest.finalize().into()
}

/// Answers a call, by `handler` or with what was kept for its key.
pub(super) async fn answer(
    endpoint: &Endpoint,
    call: Call,
    handler: fn(Call) -> LocalBoxFuture<'static, ApiResult<HttpResponse>>,
) -> ApiResult<HttpResponse> {
    let key = if takes_idempotency_key(endpoint) { key_of(&call)? } else { None };
    let (Some(key), Some(owner)) = (key, Owner::of(&call)) else { return handler(call).await };
    let turn = call.hub.idempotency.lock().begin(&owner, &key, fingerprint(&call));
    match turn {
        Turn::First => {}
        Turn::Again(kept) => return Ok(kept.respond()),
        Turn::UnderWay => {
            let text = "A call with this Idempotency-Key is under way.";
            return Err(ApiError::conflict(text).with_header(RETRY_AFTER, "1"));
        }
        Turn::Other => {
            let text = "This Idempotency-Key was used for another call.";
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
        Turn::Full => {
            let text = "Too many calls with an Idempotency-Key are under way.";
            return Err(ApiError::conflict(text).with_header(RETRY_AFTER, "1"));
        }
    }
    let mut running = Running { hub: call.hub.clone(), owner, key, kept: None };
    // To its end even if the client goes away: it will ask again for what has become of it.
    let work = actix_web::rt::spawn(async move {
        let (response, kept) = keep(handler(call).await?);
        running.keep(kept);
        Ok(response)
    });
    work.await.map_err(ApiError::internal)?
}

/// The response once more, and what is kept of it.
fn keep(response: HttpResponse) -> (HttpResponse, Option<Kept>) {
    let (head, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(body) => body,
        Err(stream) => return (head.set_body(stream), None),
    };
    let keep = head.status().is_success() && body.len() <= LARGEST;
    let kept =
        keep.then(|| Kept { status: head.status(), headers: head.headers().clone(), body: body.clone() });
    (head.set_body(actix_web::body::BoxBody::new(body)), kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Owner = Owner { user: true, id: 1 };

    #[expect(clippy::unnecessary_wraps, reason = "what the store takes")]
    fn kept(size: usize) -> Option<Kept> {
        let body = Bytes::from(vec![b'x'; size]);
        Some(Kept { status: StatusCode::CREATED, headers: HeaderMap::new(), body })
    }

    #[test]
    fn a_key_belongs_to_one_call_of_one_caller() {
        let mut store = Store::default();
        assert!(matches!(store.begin(&ADA, "k", [0; 32]), Turn::First));
        assert!(matches!(store.begin(&ADA, "k", [0; 32]), Turn::UnderWay));
        assert!(matches!(store.begin(&ADA, "k", [1; 32]), Turn::Other));
        assert!(matches!(store.begin(&Owner { user: false, id: 1 }, "k", [1; 32]), Turn::First));
        store.end(&ADA, "k", kept(3));
        assert!(matches!(store.begin(&ADA, "k", [0; 32]), Turn::Again(_)));
        assert!(matches!(store.begin(&ADA, "k", [1; 32]), Turn::Other));
    }

    #[test]
    fn a_call_that_failed_frees_its_key() {
        let mut store = Store::default();
        store.begin(&ADA, "k", [0; 32]);
        store.end(&ADA, "k", None);
        assert!(matches!(store.begin(&ADA, "k", [1; 32]), Turn::First));
        assert_eq!(store.keys, 1);
    }

    #[test]
    fn a_caller_has_so_many_keys_and_the_oldest_answer_goes_first() {
        let mut store = Store::default();
        for i in 0..KEYS_OF_ONE {
            assert!(matches!(store.begin(&ADA, &i.to_string(), [0; 32]), Turn::First));
        }
        assert!(matches!(store.begin(&ADA, "more", [0; 32]), Turn::Full));
        store.end(&ADA, "7", kept(10));
        assert!(matches!(store.begin(&ADA, "more", [0; 32]), Turn::First));
        assert!(matches!(store.begin(&ADA, "7", [0; 32]), Turn::Full));
        assert_eq!((store.keys, store.bytes), (KEYS_OF_ONE, 0));
    }

    #[test]
    fn all_answers_together_are_bounded() {
        let mut store = Store::default();
        for id in 0..2_000 {
            let owner = Owner { user: true, id };
            store.begin(&owner, "k", [0; 32]);
            store.end(&owner, "k", kept(LARGEST));
            assert!(store.bytes <= LARGEST_OF_ALL + LARGEST, "{}", store.bytes);
            assert!(store.keys <= KEYS_OF_ALL);
        }
    }
}
