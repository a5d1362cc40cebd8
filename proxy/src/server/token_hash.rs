//! A token by what JupyterHub's database keeps of it: its first characters and `sha512:ROUNDS:SALT:HEX`.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

/// Longest token in bytes.
pub(crate) const MAX_TOKEN: usize = 256;
/// Most rounds that are followed: far beyond what any hub uses, and still only a moment.
const MAX_ROUNDS: u32 = 1 << 16;

/// A stored token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenHash {
    /// Its first characters.
    pub prefix: String,
    /// The hash, as it is stored.
    pub hashed: String,
}

impl TokenHash {
    /// Whether this is what is stored of `token`. An unreadable form is no match.
    pub(crate) fn fits(&self, token: &[u8]) -> bool {
        // Most tokens are told apart before any hash is made.
        token.starts_with(self.prefix.as_bytes()) && self.is_hash_of(token).unwrap_or(false)
    }

    fn is_hash_of(&self, token: &[u8]) -> Option<bool> {
        let (rounds, rest) = self.hashed.strip_prefix("sha512:")?.split_once(':')?;
        let (salt, expected) = rest.split_once(':')?;
        let rounds = rounds.parse().ok().filter(|rounds| *rounds <= MAX_ROUNDS)?;
        let mut hasher = Sha512::new();
        hasher.update(salt);
        for _ in 0..rounds {
            hasher.update(token);
        }
        let mut digest = String::with_capacity(128);
        for byte in hasher.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        Some(digest.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}
