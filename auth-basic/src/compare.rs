//! Comparing secrets.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Whether both are equal, in a time that depends on the length of what was given alone: neither on how much of it
/// is right, nor on how long the secret is.
pub(crate) fn same(given: &str, secret: &SecretString) -> Choice {
    same_text(given, secret.expose_secret())
}

/// The same for names, so that a wrong name takes as long as a wrong password.
pub(crate) fn same_text(given: &str, known: &str) -> Choice {
    Sha256::digest(given).as_slice().ct_eq(Sha256::digest(known).as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        let secret = SecretString::from("correct horse");
        for (given, equal) in
            [("correct horse", true), ("correct horsf", false), ("correct", false), ("", false)]
        {
            assert_eq!(bool::from(same(given, &secret)), equal, "{given}");
        }
    }
}
