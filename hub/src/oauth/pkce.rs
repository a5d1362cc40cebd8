//! Proof Key for Code Exchange, RFC 7636.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How a challenge is made of a verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeMethod {
    /// It is the verifier itself.
    Plain,
    /// URL-safe base64 of its SHA-256.
    S256,
}

impl ChallengeMethod {
    /// The method of a parameter; missing means plain.
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("plain") => Some(Self::Plain),
            Some("S256") => Some(Self::S256),
            Some(_) => None,
        }
    }

    /// The name of the parameter and of the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::S256 => "S256",
        }
    }

    /// Whether the verifier is the one behind the challenge. Constant time.
    pub fn verify(self, challenge: &str, verifier: &str) -> bool {
        let computed = match self {
            Self::Plain => verifier.to_owned(),
            Self::S256 => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())),
        };
        computed.as_bytes().ct_eq(challenge.as_bytes()).into()
    }
}

/// Whether a challenge or verifier has the shape of the RFC: 43 to 128 unreserved characters.
pub fn is_well_formed(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_holds() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(is_well_formed(verifier));
        assert!(ChallengeMethod::S256.verify(challenge, verifier));
        assert!(!ChallengeMethod::S256.verify(challenge, "x"));
        assert!(ChallengeMethod::Plain.verify("a", "a"));
        assert_eq!(ChallengeMethod::parse(Some("S512")), None);
    }
}
