//! Signed tokens: first the header is held against what is accepted, then the signature against the provider's keys.
//! Nothing is read from a token before that.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde_json::{Map, Value};

use crate::fault::{Fault, TokenFault, short};
use crate::keys::Keys;
use crate::validate::algorithm;

/// Longest token, in bytes.
const LONGEST: usize = 64 << 10;

/// A token whose signature is right.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) algorithm: Algorithm,
    /// `typ` of the header.
    pub(crate) kind: Option<String>,
    pub(crate) claims: Map<String, Value>,
}

/// Whether a text has the shape of a signed token.
pub(crate) fn looks_signed(text: &str) -> bool {
    text.split('.').count() == 3
}

/// Checks the signature of a token with the keys at `url`. `accepted` are names of algorithms.
pub(crate) async fn verify(
    token: &str,
    keys: &Keys,
    url: &str,
    accepted: &[String],
) -> Result<Verified, Fault> {
    let header = header(token)?;
    let name = header.get("alg").and_then(Value::as_str).unwrap_or("none");
    let refused = || TokenFault::Algorithm(short(name));
    if !accepted.iter().any(|alg| alg == name) {
        return Err(refused().into());
    }
    let alg = algorithm(name).ok_or_else(refused)?;
    if header.contains_key("crit") {
        return Err(TokenFault::Critical.into());
    }
    let id = header.get("kid").and_then(Value::as_str);
    let mut validation = Validation::new(alg);
    // Times and parties are checked elsewhere, with the hub's clock and a named reason for each.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims = HashSet::new();
    for key in keys.find(url, id, alg).await? {
        if let Ok(data) = decode::<Map<String, Value>>(token, &key, &validation) {
            let kind = header.get("typ").and_then(Value::as_str).map(str::to_ascii_lowercase);
            return Ok(Verified { algorithm: alg, kind, claims: data.claims });
        }
    }
    Err(TokenFault::Signature.into())
}

fn header(token: &str) -> Result<Map<String, Value>, TokenFault> {
    if token.len() > LONGEST || !looks_signed(token) {
        return Err(TokenFault::Malformed);
    }
    let first = token.split('.').next().unwrap_or_default();
    let json = URL_SAFE_NO_PAD.decode(first).map_err(|_| TokenFault::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenFault::Malformed)
}
