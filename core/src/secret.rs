//! Secrets and where randomness comes from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;

pub use secrecy::{ExposeSecret, SecretSlice, SecretString};

const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `N` random bytes of the process's cryptographic generator.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// 32 lower-case hexadecimal digits, the shape of Python's `uuid4().hex` that stock uses for ids and tokens.
pub fn random_hex32() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// `length` random letters and digits: the shape of OAuth codes and access tokens (30 in stock).
pub fn random_alphanumeric(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length).map(|_| char::from(ALPHANUMERIC[rng.random_range(0..ALPHANUMERIC.len())])).collect()
}

/// URL-safe base64 of 32 random bytes: 43 characters, the shape of share codes and one-time links.
pub fn random_urlsafe() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}
