//! How tokens and client secrets are stored: JupyterHub's `sha512:ROUNDS:SALT:HEX`.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use crate::secret::random_bytes;

/// Length of the stored `prefix` column by which candidates are found.
pub const PREFIX_LENGTH: usize = 4;
/// Rounds for tokens that the hub generated itself.
pub const GENERATED_ROUNDS: u32 = 1;
/// Rounds for tokens that a person or a configuration file chose, and for OAuth client secrets.
pub const CHOSEN_ROUNDS: u32 = 16_384;
/// Longest token that is looked at.
pub const MAX_LENGTH: usize = 64;
/// Most rounds that are followed when a stored hash asks for them, so that a bad row cannot stall the hub.
const MAX_ROUNDS: u32 = 1 << 20;

/// The first characters of a token, stored in clear to find its row.
pub fn prefix(token: &str) -> String {
    token.chars().take(PREFIX_LENGTH).collect()
}

/// The stored form of a token with a fresh salt: salt text once, then the token `rounds` times, through SHA-512.
pub fn hash(token: &str, rounds: u32) -> String {
    hash_with_salt(token, rounds, &hex::encode(random_bytes::<8>()))
}

fn hash_with_salt(token: &str, rounds: u32, salt: &str) -> String {
    format!("sha512:{rounds}:{salt}:{}", digest(token, rounds, salt))
}

fn digest(token: &str, rounds: u32, salt: &str) -> String {
    let mut hasher = Sha512::new();
    hasher.update(salt.as_bytes());
    for _ in 0..rounds {
        hasher.update(token.as_bytes());
    }
    hex::encode(hasher.finalize())
}

/// Whether `token` is the one behind the stored form. Constant time in the digest; an unreadable form is no match.
pub fn verify(token: &str, stored: &str) -> bool {
    let mut parts = stored.splitn(4, ':');
    let (Some("sha512"), Some(rounds), Some(salt), Some(hex)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(rounds) = rounds.parse::<u32>() else { return false };
    if rounds > MAX_ROUNDS || token.len() > MAX_LENGTH {
        return false;
    }
    digest(token, rounds, salt).as_bytes().ct_eq(hex.as_bytes()).into()
}

/// Remembers which tokens belong to which stored forms, where finding out takes many rounds. It holds neither, only
/// digests under a key of its own, and what it knows cannot become wrong: a token that is deleted has no stored form
/// left to be compared with.
#[derive(Debug)]
pub struct Verified {
    key: [u8; 32],
    most: usize,
    seen: Mutex<HashSet<String>>,
}

impl Verified {
    /// Remembers at most that many.
    pub fn new(most: usize) -> Self {
        Self { key: random_bytes::<32>(), most, seen: Mutex::default() }
    }

    fn tag(&self, token: &str, stored: &str) -> String {
        let mut hasher = Sha512::new();
        hasher.update(self.key);
        hasher.update(stored.as_bytes());
        // No stored form and no token that can be sent holds a NUL.
        hasher.update([0]);
        hasher.update(token.as_bytes());
        hex::encode(hasher.finalize())
    }

    /// Whether the token was found to be the one behind the stored form.
    pub fn knows(&self, token: &str, stored: &str) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.tag(token, stored))
    }

    /// Remembers that it is.
    pub fn note(&self, token: &str, stored: &str) {
        let tag = self.tag(token, stored);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= self.most {
            seen.clear();
        }
        seen.insert(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_verified_is_known_for_that_token_and_form_alone() {
        let verified = Verified::new(2);
        let (one, other) = (hash("secret", 1), hash("secret", 1));
        assert!(!verified.knows("secret", &one));
        verified.note("secret", &one);
        assert!(verified.knows("secret", &one));
        assert!(!verified.knows("Secret", &one) && !verified.knows("secret", &other));
        verified.note("secret", &other);
        verified.note("third", &one);
        assert!(!verified.knows("secret", &one), "bounded");
        assert!(verified.knows("third", &one));
    }

    #[test]
    fn the_digest_is_the_one_that_jupyterhub_stores() {
        let one = hash_with_salt("abc", 1, "0123456789abcdef");
        let three = hash_with_salt("abc", 3, "0123456789abcdef");
        assert!(one.starts_with("sha512:1:0123456789abcdef:b05fd6b8bb636133"), "{one}");
        assert!(three.starts_with("sha512:3:0123456789abcdef:1906f0b36ba49ba8"), "{three}");
    }

    #[test]
    fn a_stored_token_is_recognised_and_another_is_not() {
        let stored = hash("secret", GENERATED_ROUNDS);
        assert!(verify("secret", &stored));
        assert!(!verify("Secret", &stored));
        for broken in ["", "sha512", "md5:1:a:b", "sha512:x:a:b", "sha512:4294967295:a:b"] {
            assert!(!verify("secret", broken), "{broken}");
        }
    }
}
