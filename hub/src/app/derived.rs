//! Secrets that follow from the cookie secret: the same at every hub that has it, and stored nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The secret for a purpose: 43 characters of URL-safe base64.
pub(crate) fn secret(cookie_secret: &[u8], purpose: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(cookie_secret).expect("HMAC takes keys of any length");
    mac.update(purpose.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}
