//! Secrets that follow from the cookie secret: the same at every hub that has it, and stored nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hub_core::secret::random_urlsafe;
use sha2::Sha256;

/// From a shorter cookie secret follows nothing that others cannot guess.
const SHORTEST: usize = 16;

/// The secret for a purpose. One made up where the cookie secret is too short: then it is another at every hub.
pub(crate) fn safe_secret(cookie_secret: &[u8], purpose: &str) -> String {
    if cookie_secret.len() < SHORTEST { random_urlsafe() } else { secret(cookie_secret, purpose) }
}

/// The secret for a purpose: 43 characters of URL-safe base64.
pub(crate) fn secret(cookie_secret: &[u8], purpose: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(cookie_secret).expect("HMAC takes keys of any length");
    mac.update(purpose.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_must_be_safe_follows_from_a_short_cookie_secret() {
        let of = |length: usize| safe_secret(&vec![7; length], "tests");
        assert_eq!(of(16), secret(&[7; 16], "tests"));
        assert_ne!(of(15), of(15));
        assert!([0, 15, 16, 32].into_iter().all(|length| of(length).len() == 43));
    }
}
