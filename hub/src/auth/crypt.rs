//! Encryption of what authenticators keep about people (`users.encrypted_auth_state`): Fernet, as stock.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use fernet::{Fernet, MultiFernet};
use serde_json::Value;
use thiserror::Error;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Neither base64, nor hexadecimal, nor 32 bytes.
    #[error(
        "crypt key {0} is no key: give 32 bytes as 64 hexadecimal digits or 44 characters of URL-safe base64"
    )]
    Shape(usize),
}

/// The keys in use: the first encrypts, all decrypt.
pub struct Crypt {
    fernets: Option<MultiFernet>,
    count: usize,
}

impl std::fmt::Debug for Crypt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crypt").field("keys", &self.count).finish_non_exhaustive()
    }
}

/// A decrypted state, and whether it should be written again because an old key was used.
#[derive(Debug, Clone, PartialEq)]
pub struct Decrypted {
    /// The state.
    pub state: Value,
    /// Whether more than one key is in use, so that the state is to be written again with the first.
    pub renew: bool,
}

impl Crypt {
    /// Keys in any of the three forms that stock takes; none disables encryption.
    pub fn new<'a>(keys: impl Iterator<Item = &'a str>) -> Result<Self, KeyError> {
        let fernets = keys
            .enumerate()
            .map(|(i, key)| parse_key(key).and_then(|k| Fernet::new(&k)).ok_or(KeyError::Shape(i + 1)))
            .collect::<Result<Vec<_>, _>>()?;
        let count = fernets.len();
        Ok(Self { fernets: (count > 0).then(|| MultiFernet::new(fernets)), count })
    }

    /// Whether there is a key.
    pub fn is_enabled(&self) -> bool {
        self.count > 0
    }

    /// The stored form; none when there is no key.
    pub fn encrypt(&self, state: &Value) -> Option<Vec<u8>> {
        self.fernets.as_ref().map(|fernets| fernets.encrypt(state.to_string().as_bytes()).into_bytes())
    }

    /// Reads a stored form; none when no key fits or the content is no JSON.
    pub fn decrypt(&self, stored: &[u8]) -> Option<Decrypted> {
        let text = std::str::from_utf8(stored).ok()?;
        let plain = self.fernets.as_ref()?.decrypt(text).ok()?;
        Some(Decrypted { state: serde_json::from_slice(&plain).ok()?, renew: self.count > 1 })
    }
}

/// The padded URL-safe form that Fernet wants.
fn parse_key(key: &str) -> Option<String> {
    let bytes = if key.len() == 64 {
        hex::decode(key).ok()
    } else {
        URL_SAFE_NO_PAD.decode(key.trim_end_matches('=')).ok()
    };
    let bytes = match bytes {
        Some(bytes) if bytes.len() == 32 => bytes,
        _ if key.len() == 32 => key.as_bytes().to_vec(),
        _ => return None,
    };
    Some(URL_SAFE.encode(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const A: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    const B: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[test]
    fn old_keys_read_and_the_first_writes() {
        let old = Crypt::new([A].into_iter()).unwrap();
        let both = Crypt::new([B, A].into_iter()).unwrap();
        let stored = old.encrypt(&json!({"token": "x"})).unwrap();
        assert_eq!(both.decrypt(&stored), Some(Decrypted { state: json!({"token": "x"}), renew: true }));
        let renewed = both.encrypt(&json!(1)).unwrap();
        assert_eq!(old.decrypt(&renewed), None);
        assert_eq!(Crypt::new([].into_iter()).unwrap().encrypt(&json!(1)), None);
    }

    #[test]
    fn a_state_written_by_pythons_cryptography_is_read() {
        // Key, token and plain text from the Fernet specification's own test vector.
        let key = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
        let crypt = Crypt::new([key].into_iter()).unwrap();
        let token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
        let plain = crypt.fernets.as_ref().unwrap().decrypt(token).unwrap();
        assert_eq!(plain, b"hello");
    }

    #[test]
    fn what_is_no_key_is_named_by_its_place() {
        assert_eq!(Crypt::new([A, "short"].into_iter()).unwrap_err(), KeyError::Shape(2));
    }
}
