//! JupyterHub's XSRF tokens: signed, and bound to the browser session and the user.
//!
//! The cookie `_xsrf` holds the unpadded URL-safe base64 of a signed value whose payload is
//! `{session id}:{user's cookie id}`, or `{session id or None}:{anonymous id}` before login.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::signed;

/// Name of the cookie, and of the query or form argument.
pub const NAME: &str = "_xsrf";
/// How long a token is accepted, in seconds.
const MAX_AGE: i64 = 31 * 86_400;
/// How long an anonymous browser keeps it, in seconds.
pub const ANONYMOUS_MAX_AGE: i64 = 3_600;

/// To whom a token belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XsrfId(String);

impl XsrfId {
    /// A logged-in browser: its session id and the user's cookie id.
    pub fn user(session_id: &str, cookie_id: &str) -> Self {
        Self(format!("{session_id}:{cookie_id}"))
    }

    /// Nobody yet: recognised by address (or the configured network that holds it) and chosen headers.
    pub fn anonymous<'a>(
        session_id: Option<&str>,
        remote: Option<IpAddr>,
        networks: &[Network],
        headers: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        let mut hasher = Sha256::new();
        let address = remote.map_or_else(String::new, |ip| {
            networks.iter().find(|n| n.contains(ip)).map_or_else(|| ip.to_string(), |n| n.text.clone())
        });
        hasher.update(address.as_bytes());
        for value in headers {
            hasher.update(value);
            hasher.update([0xff]);
        }
        Self(format!("{}:{}", session_id.unwrap_or("None"), URL_SAFE.encode(hasher.finalize())))
    }
}

/// A network in CIDR form, with the text by which it was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    text: String,
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// Parses `10.0.0.0/8` or a bare address.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(widest);
        (bits <= widest).then(|| Self { text: text.to_owned(), base, bits })
    }

    /// Whether the address lies in the network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                same(u128::from(a.to_bits()), u128::from(b.to_bits()), 32 - self.bits)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128 - self.bits),
            _ => false,
        }
    }
}

fn same(a: u128, b: u128, host_bits: u8) -> bool {
    a.checked_shr(u32::from(host_bits)) == b.checked_shr(u32::from(host_bits))
}

/// A fresh token, the value of both cookie and argument.
pub fn issue(secret: &[u8], id: &XsrfId, now: i64) -> String {
    URL_SAFE_NO_PAD.encode(signed::sign(secret, NAME, id.0.as_bytes(), now, 0))
}

/// Whether a token was issued by us to this id.
pub fn belongs_to(secret: &[u8], id: &XsrfId, token: &str, now: i64) -> bool {
    URL_SAFE_NO_PAD
        .decode(token.trim_end_matches('='))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| signed::verify(secret, NAME, &text, MAX_AGE, now))
        .is_some_and(|signed| signed.value == id.0.as_bytes())
}

/// The part of a request that decides whether its token must be checked.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// HTTP method in capitals.
    pub method: &'a str,
    /// `Sec-Fetch-Mode`.
    pub mode: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub site: Option<&'a str>,
}

impl Fetch<'_> {
    /// Whether a cookie-authenticated request needs no token: reading navigations, websockets, and reads by the
    /// same origin.
    pub fn is_exempt(&self) -> bool {
        let read_only = matches!(self.method, "GET" | "HEAD" | "OPTIONS");
        match self.mode {
            Some("websocket") => true,
            None | Some("navigate") => read_only,
            Some("no-cors") => read_only && self.site == Some("same-origin"),
            Some(_) => false,
        }
    }

    /// Whether a fresh cookie may be set on the response.
    pub fn may_issue(&self) -> bool {
        matches!(self.mode, None | Some("navigate"))
    }
}

/// Why a token was not accepted; the texts are stock's, clients match them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XsrfError {
    /// No argument and no header.
    Missing,
    /// Not the value of a cookie that was issued to whoever asks. Stock says the same of what is no token at all.
    Mismatch,
}

impl XsrfError {
    /// The message for the answer.
    pub fn message(self, method: &str) -> String {
        match self {
            Self::Missing => format!("'_xsrf' argument missing from {method}"),
            Self::Mismatch => format!("XSRF cookie does not match {method} argument"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_belongs_to_one_session_of_one_user() {
        let id = XsrfId::user("session", "cookie");
        let token = issue(SECRET, &id, 1_000);
        assert!(belongs_to(SECRET, &id, &token, 1_000));
        assert!(!belongs_to(SECRET, &XsrfId::user("session", "other"), &token, 1_000));
        assert!(!belongs_to(SECRET, &id, &token, 1_001 + MAX_AGE));
        assert!(!belongs_to(b"other", &id, &token, 1_000));
        assert!(!belongs_to(SECRET, &id, "%%%", 1_000));
    }

    #[test]
    fn strangers_in_one_configured_network_are_one() {
        let networks = [Network::parse("10.0.0.0/8").unwrap()];
        let of =
            |ip: &str| XsrfId::anonymous(None, ip.parse().ok(), &networks, [b"agent".as_slice()].into_iter());
        assert_eq!(of("10.1.1.1"), of("10.2.2.2"));
        assert_ne!(of("11.1.1.1"), of("10.2.2.2"));
        assert!(of("10.1.1.1").0.starts_with("None:"));
        assert!(Network::parse("::/0").unwrap().contains("::1".parse().unwrap()));
        assert_eq!(Network::parse("10.0.0.0/33"), None);
    }

    #[test]
    fn only_reading_navigations_and_same_origin_reads_are_exempt() {
        let exempt = |method, mode, site| Fetch { method, mode, site }.is_exempt();
        assert!(exempt("GET", None, None));
        assert!(!exempt("POST", None, None));
        assert!(!exempt("GET", Some("cors"), Some("same-origin")));
        assert!(exempt("GET", Some("no-cors"), Some("same-origin")));
        assert!(!exempt("GET", Some("no-cors"), Some("cross-site")));
        assert!(exempt("GET", Some("websocket"), None));
    }
}
