//! What the proxy writes on requests to the hub, so that the hub tells them from those that come to its own port.
//!
//! Servers must reach that port, so whoever has a server can send it anything, also headers that only a proxy should
//! write. The mark is derived from a secret that hub and proxy have anyway. It goes to the hub's own route alone: what
//! every target got, people could read in their servers and send along.

use actix_web::http::header::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The header, in lower case.
pub const MARK_HEADER: &str = "x-himalia-proxy";

/// The value of [`MARK_HEADER`] on requests that came through the proxy.
#[derive(Clone)]
pub struct Mark(String);

fn derived(secret: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(b"mark of the proxy");
    hex::encode(mac.finalize().into_bytes())
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mark")
    }
}

impl Mark {
    /// The mark that follows from a secret: the cookie secret for a proxy in the hub's process, else the token of the
    /// proxy's API. Hub and proxy come to the same, also after one of them was started anew.
    pub fn from_secret(secret: &[u8]) -> Self {
        Self(derived(secret))
    }

    /// Header and value, for the proxy.
    pub fn header(&self) -> (String, String) {
        (MARK_HEADER.to_owned(), self.0.clone())
    }

    /// Whether a request bears it.
    pub fn is_on(&self, headers: &HeaderMap) -> bool {
        headers.get(MARK_HEADER).is_some_and(|value| value.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}
