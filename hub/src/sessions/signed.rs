//! Signed cookie values in tornado's format, so that a browser logged in to stock JupyterHub stays logged in.
//!
//! Version 2: `2|{len}:{number}|{len}:{unix time}|{len}:{name}|{len}:{base64(value)}|{hex(hmac-sha256)}`, where the
//! signature covers everything up to and including the last `|`. Version 1 (`{base64}|{time}|{hmac-sha1}`) is not
//! accepted: stock has not written it since JupyterHub 0.7.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How far ahead of our clock a signature may be dated, in seconds: clocks of replicas differ.
const FUTURE_TOLERANCE: i64 = 31 * 86_400;
/// Longest value that is looked at, in bytes.
const MAX_LENGTH: usize = 8_192;

/// A verified value and when it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The value.
    pub value: Vec<u8>,
    /// Unix time of signing, seconds.
    pub at: i64,
    /// What stands in the place of the version of the key.
    pub number: u64,
}

fn mac(secret: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

/// Signs `value` for the cookie `name`. `number` stands in the place of the version of the key: tornado reads it only
/// where there are several keys, which JupyterHub never has, so that it can tell equal values apart.
pub fn sign(secret: &[u8], name: &str, value: &[u8], now: i64, number: u64) -> String {
    let (number, time) = (number.to_string(), now.to_string());
    let value = STANDARD.encode(value);
    let text = format!(
        "2|{}:{number}|{}:{time}|{}:{name}|{}:{value}|",
        number.len(),
        time.len(),
        name.len(),
        value.len()
    );
    let signature = hex::encode(mac(secret, &text).finalize().into_bytes());
    text + &signature
}

/// The value of a cookie `name`, if the signature holds and it is at most `max_age` seconds old.
pub fn verify(secret: &[u8], name: &str, signed: &str, max_age: i64, now: i64) -> Option<Signed> {
    if signed.len() > MAX_LENGTH || !signed.is_ascii() {
        return None;
    }
    let rest = signed.strip_prefix("2|")?;
    let (number, rest) = field(rest)?;
    let (time, rest) = field(rest)?;
    let (signed_name, rest) = field(rest)?;
    let (value, signature) = field(rest)?;
    let text = signed.get(..signed.len() - signature.len())?;
    let signature = hex::decode(signature).ok()?;
    mac(secret, text).verify_slice(&signature).ok()?;
    let at: i64 = time.parse().ok()?;
    if signed_name != name || at < now - max_age || at > now + FUTURE_TOLERANCE {
        return None;
    }
    Some(Signed { value: STANDARD.decode(value).ok()?, at, number: number.parse().ok()? })
}

/// Takes `{len}:{text}|` off the front.
fn field(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    let length: usize = length.parse().ok()?;
    let value = rest.get(..length)?;
    let rest = rest.get(length..)?.strip_prefix('|')?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [0; 32];
    const KNOWN: &str = "2|1:0|10:1700000000|20:jupyterhub-hub-login|4:YWJj|37c43daa4f965d1328e5d224794ef801505e694e566e5aa31de9e06a7d891773";

    #[test]
    fn the_signature_is_the_one_that_tornado_makes() {
        assert_eq!(sign(&SECRET, "jupyterhub-hub-login", b"abc", 1_700_000_000, 0), KNOWN);
    }

    /// Read back with tornado 6.5 by `decode_signed_value`, which gives `abc`.
    const NUMBERED: &str = "2|19:1234567890123456789|10:1700000000|20:jupyterhub-hub-login|4:YWJj|118bef71ab9e7ad479cd14d32b60d9b195c21362d4b6c90a85acc874e114cefc";

    #[test]
    fn a_number_is_part_of_what_is_signed() {
        let name = "jupyterhub-hub-login";
        assert_eq!(sign(&SECRET, name, b"abc", 1_700_000_000, 1_234_567_890_123_456_789), NUMBERED);
        let read = verify(&SECRET, name, NUMBERED, 100, 1_700_000_000).unwrap();
        assert_eq!((read.value.as_slice(), read.number), (b"abc".as_slice(), 1_234_567_890_123_456_789));
        let stripped = NUMBERED.replacen("19:1234567890123456789", "1:0", 1);
        assert_eq!(verify(&SECRET, name, &stripped, 100, 1_700_000_000), None);
    }

    #[test]
    fn a_value_is_read_back_only_under_its_name_secret_and_age() {
        let name = "jupyterhub-hub-login";
        let ok = verify(&SECRET, name, KNOWN, 100, 1_700_000_050).unwrap();
        assert_eq!((ok.value.as_slice(), ok.at, ok.number), (b"abc".as_slice(), 1_700_000_000, 0));
        assert_eq!(verify(&SECRET, "other", KNOWN, 100, 1_700_000_050), None);
        assert_eq!(verify(&[1; 32], name, KNOWN, 100, 1_700_000_050), None);
        assert_eq!(verify(&SECRET, name, KNOWN, 100, 1_700_000_101), None);
    }

    #[test]
    fn mutilated_values_are_refused_without_a_panic() {
        for end in 0..KNOWN.len() {
            assert_eq!(verify(&SECRET, "jupyterhub-hub-login", &KNOWN[..end], 100, 1_700_000_000), None);
        }
        for text in [
            "",
            "2|",
            "2|1:0|",
            "2|99:0|1:1",
            "2|-1:",
            "2|1:é|",
            "1|2|3",
            "2|1:0|10:1700000000|20:jupyterhub-hub-login|4:YWJj|zz",
        ] {
            assert_eq!(verify(&SECRET, "jupyterhub-hub-login", text, 100, 1_700_000_000), None, "{text}");
        }
    }
}
