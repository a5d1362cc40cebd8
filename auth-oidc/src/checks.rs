//! What must hold for the claims of a token whose signature is right.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

use crate::fault::TokenFault;

/// Event of a logout token.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How old a logout token may be that does not say when it ends, in seconds.
const LOGOUT_AGE: i64 = 300;

/// For whom and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) now: DateTime<Utc>,
    /// Seconds by which clocks may differ.
    pub(crate) skew: i64,
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A time in whole seconds; some providers write fractions.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and such times fail their checks")]
fn time(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

fn audience(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

impl Expected<'_> {
    fn parties(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        if text(claims, "iss").ok_or(TokenFault::Missing("iss"))? != self.issuer {
            return Err(TokenFault::Issuer);
        }
        if !audience(claims).contains(&self.client_id) {
            return Err(TokenFault::Audience);
        }
        Ok(())
    }

    fn times(&self, claims: &Map<String, Value>, end_is_needed: bool) -> Result<(), TokenFault> {
        let now = self.now.timestamp();
        match time(claims, "exp") {
            None if end_is_needed => return Err(TokenFault::Missing("exp")),
            Some(end) if end.saturating_add(self.skew) <= now => return Err(TokenFault::Expired),
            _ => {}
        }
        for name in ["iat", "nbf"] {
            if time(claims, name).is_some_and(|begin| begin.saturating_sub(self.skew) > now) {
                return Err(TokenFault::TooEarly);
            }
        }
        Ok(())
    }

    /// The id_token of a login. `nonce` is none only for tokens that come with a refresh.
    pub(crate) fn id_token(
        &self,
        claims: &Map<String, Value>,
        nonce: Option<&str>,
    ) -> Result<(), TokenFault> {
        self.parties(claims)?;
        let party = text(claims, "azp");
        if party.is_some_and(|party| party != self.client_id)
            || (party.is_none() && audience(claims).len() > 1)
        {
            return Err(TokenFault::AuthorizedParty);
        }
        self.times(claims, true)?;
        text(claims, "sub").ok_or(TokenFault::Missing("sub"))?;
        time(claims, "iat").ok_or(TokenFault::Missing("iat"))?;
        if let Some(nonce) = nonce {
            let given = text(claims, "nonce").ok_or(TokenFault::Nonce)?;
            if !bool::from(given.as_bytes().ct_eq(nonce.as_bytes())) {
                return Err(TokenFault::Nonce);
            }
        }
        Ok(())
    }

    /// A signed answer of the userinfo endpoint: where it names parties, they must be right.
    pub(crate) fn userinfo(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        if text(claims, "iss").is_some_and(|issuer| issuer != self.issuer) {
            return Err(TokenFault::Issuer);
        }
        if claims.contains_key("aud") && !audience(claims).contains(&self.client_id) {
            return Err(TokenFault::Audience);
        }
        self.times(claims, false)
    }

    /// An access token that the hub reads claims from: of this issuer, for this client, not expired.
    pub(crate) fn access_token(&self, claims: &Map<String, Value>) -> Result<(), TokenFault> {
        if text(claims, "iss").ok_or(TokenFault::Missing("iss"))? != self.issuer {
            return Err(TokenFault::Issuer);
        }
        let party = text(claims, "azp").or_else(|| text(claims, "client_id"));
        if party.is_none_or(|party| party != self.client_id) && !audience(claims).contains(&self.client_id) {
            return Err(TokenFault::AuthorizedParty);
        }
        self.times(claims, true)
    }

    /// A logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6).
    pub(crate) fn logout_token(
        &self,
        claims: &Map<String, Value>,
        kind: Option<&str>,
    ) -> Result<(), TokenFault> {
        if let Some(kind) =
            kind.filter(|kind| !matches!(*kind, "logout+jwt" | "application/logout+jwt" | "jwt"))
        {
            return Err(TokenFault::Type(kind.to_owned()));
        }
        self.parties(claims)?;
        self.times(claims, false)?;
        let issued = time(claims, "iat").ok_or(TokenFault::Missing("iat"))?;
        if issued.saturating_add(LOGOUT_AGE).saturating_add(self.skew) <= self.now.timestamp() {
            return Err(TokenFault::Expired);
        }
        text(claims, "jti").ok_or(TokenFault::Missing("jti"))?;
        if !claims.get("events").and_then(|events| events.get(LOGOUT_EVENT)).is_some_and(Value::is_object) {
            return Err(TokenFault::Logout("it does not name the event"));
        }
        if claims.contains_key("nonce") {
            return Err(TokenFault::Logout("it has a nonce, as id_tokens do"));
        }
        if text(claims, "sub").is_none() && text(claims, "sid").is_none() {
            return Err(TokenFault::Missing("sub and sid"));
        }
        Ok(())
    }
}

/// That the access token beside an id_token is the one that it was issued with, where it says so.
pub(crate) fn access_token_hash(
    claims: &Map<String, Value>,
    algorithm: Algorithm,
    access_token: &str,
) -> Result<(), TokenFault> {
    let Some(expected) = claims.get("at_hash").and_then(Value::as_str) else { return Ok(()) };
    let digest = match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => Sha384::digest(access_token).to_vec(),
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => Sha512::digest(access_token).to_vec(),
        _ => Sha256::digest(access_token).to_vec(),
    };
    let half = digest.get(..digest.len() / 2).unwrap_or_default();
    if bool::from(URL_SAFE_NO_PAD.encode(half).as_bytes().ct_eq(expected.as_bytes())) {
        Ok(())
    } else {
        Err(TokenFault::AccessTokenHash)
    }
}
