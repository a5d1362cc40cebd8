//! The provider's public keys: kept in memory, read again when they are old or when a token names an unknown one.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, TimeDelta, Utc};
use hub_core::Clock;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{debug, info};

use crate::fault::{Fault, TokenFault};
use crate::http::Http;

/// Most keys that are kept.
const MOST_KEYS: usize = 64;
/// How long keys are taken to hold without looking again.
const FRESH: TimeDelta = TimeDelta::hours(1);
/// Unknown keys lead to one request in this time at most, whoever sends tokens that name them.
const PAUSE: TimeDelta = TimeDelta::seconds(10);

/// One usable key.
struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    family: AlgorithmFamily,
    public: DecodingKey,
}

struct Cached {
    keys: Vec<Key>,
    from: String,
    fetched: DateTime<Utc>,
}

/// The keys of one provider.
pub(crate) struct Keys {
    http: Http,
    clock: Arc<dyn Clock>,
    cached: ArcSwapOption<Cached>,
    asked: ArcSwapOption<DateTime<Utc>>,
    asking: Mutex<()>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.cached.load().as_ref().map_or(0, |cached| cached.keys.len());
        f.debug_struct("Keys").field("count", &count).finish_non_exhaustive()
    }
}

impl Keys {
    pub(crate) fn new(http: Http, clock: Arc<dyn Clock>) -> Self {
        Self {
            http,
            clock,
            cached: ArcSwapOption::empty(),
            asked: ArcSwapOption::empty(),
            asking: Mutex::new(()),
        }
    }

    /// The keys that a token with this header can be signed by: one when it names it, else all that fit.
    pub(crate) async fn find(
        &self,
        url: &str,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, Fault> {
        let now = self.clock.now();
        let seen = self.cached.load_full().filter(|cached| cached.from == url);
        if let Some(cached) = &seen
            && now - cached.fetched < FRESH
        {
            let found = cached.fitting(id, algorithm);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let fresh = self.refresh(url, seen.as_ref().map(|cached| cached.fetched)).await;
        match (fresh, seen) {
            (Ok(cached), _) => {
                let found = cached.fitting(id, algorithm);
                if found.is_empty() { Err(TokenFault::UnknownKey.into()) } else { Ok(found) }
            }
            // While the provider is away its last known keys serve on.
            (Err(fault), Some(cached)) => {
                let found = cached.fitting(id, algorithm);
                if found.is_empty() { Err(fault) } else { Ok(found) }
            }
            (Err(fault), None) => Err(fault),
        }
    }

    /// Keys newer than those that were seen; at most one request at a time, and not too many.
    async fn refresh(&self, url: &str, seen: Option<DateTime<Utc>>) -> Result<Arc<Cached>, Fault> {
        let _one = self.asking.lock().await;
        let now = self.clock.now();
        if let Some(cached) = self.cached.load_full().filter(|cached| cached.from == url) {
            let newer = seen.is_none_or(|seen| cached.fetched > seen);
            let asked_lately = self.asked.load().as_ref().is_some_and(|asked| now - **asked < PAUSE);
            if newer || asked_lately {
                return Ok(cached);
            }
        }
        self.asked.store(Some(Arc::new(now)));
        let document = self.http.document(url).await?;
        let keys: Vec<Key> = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| Fault::Nonsense("the key document has no keys".to_owned()))?
            .iter()
            .filter_map(usable)
            .take(MOST_KEYS)
            .collect();
        info!(count = keys.len(), "the provider's keys were read");
        let cached = Arc::new(Cached { keys, from: url.to_owned(), fetched: now });
        self.cached.store(Some(Arc::clone(&cached)));
        Ok(cached)
    }
}

impl Cached {
    fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let name = format!("{algorithm:?}");
        self.keys
            .iter()
            .filter(|key| key.family == algorithm.family())
            .filter(|key| key.algorithm.as_ref().is_none_or(|alg| *alg == name))
            .filter(|key| id.is_none() || key.id.as_deref() == id)
            .map(|key| key.public.clone())
            .collect()
    }
}

/// A key that signatures can be checked with. Keys for encryption, shared keys and kinds that are not known are left
/// out one by one, so that they do not spoil the others.
fn usable(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|use_| *use_ != PublicKeyUse::Signature) {
        return None;
    }
    let family = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa,
        AlgorithmParameters::EllipticCurve(_) => AlgorithmFamily::Ec,
        AlgorithmParameters::OctetKeyPair(_) => AlgorithmFamily::Ed,
        _ => return None,
    };
    match DecodingKey::from_jwk(&jwk) {
        Ok(key) => Some(Key {
            id: jwk.common.key_id.clone(),
            algorithm: value.get("alg").and_then(Value::as_str).map(str::to_owned),
            family,
            public: key,
        }),
        Err(error) => {
            debug!(%error, "a key of the provider is left out");
            None
        }
    }
}
