//! Why a provider's answer is not accepted.

use hub_core::AuthError;
use thiserror::Error;

/// What went wrong between hub and provider. The texts go to the log and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// No answer, or one that says "later". People who are in stay in for a while.
    #[error("{0}")]
    Unreachable(String),
    /// The provider says no: a used code, an ended session.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// The provider does not take the hub for its client. No person can do anything about it.
    #[error("the provider does not accept this hub: {0}")]
    Misconfigured(String),
    /// A token that must not be believed; the text names the check that failed.
    #[error("{0}")]
    Token(#[from] TokenFault),
    /// An answer that makes no sense.
    #[error("the provider's answer cannot be used: {0}")]
    Nonsense(String),
}

/// The check that a token failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenFault {
    /// Not three parts of base64, or too long.
    #[error("the token is malformed")]
    Malformed,
    /// `none`, a shared-key algorithm, or one that the configuration leaves out.
    #[error("the algorithm {0:?} of the token is not accepted")]
    Algorithm(String),
    /// The header asks for something that must be understood and is not.
    #[error("the token has critical extensions")]
    Critical,
    /// The token is meant for another use.
    #[error("the token is of another type: {0:?}")]
    Type(String),
    /// The provider publishes no such key.
    #[error("the token is signed by a key that the provider does not publish")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the signature of the token is wrong")]
    Signature,
    /// A claim is missing.
    #[error("the token has no {0}")]
    Missing(&'static str),
    /// From another provider.
    #[error("the token is of another issuer")]
    Issuer,
    /// For another client.
    #[error("the token is for another audience")]
    Audience,
    /// For several clients and another one of them.
    #[error("the token was issued to another party (azp)")]
    AuthorizedParty,
    /// Not the answer to this login.
    #[error("the nonce of the token is not that of this login")]
    Nonce,
    /// Too old.
    #[error("the token has expired")]
    Expired,
    /// From the future.
    #[error("the token is not valid yet")]
    TooEarly,
    /// The access token beside it is another one.
    #[error("the access token does not belong to the id_token (at_hash)")]
    AccessTokenHash,
    /// About another person than before.
    #[error("the token is about another subject")]
    Subject,
    /// No logout token.
    #[error("the token is no logout token: {0}")]
    Logout(&'static str),
    /// Seen before.
    #[error("the token was used before")]
    Replay,
}

impl Fault {
    /// A stable code for the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "provider_away",
            Self::Refused(_) => "provider_refused",
            Self::Misconfigured(_) => "provider_rejects_hub",
            Self::Token(fault) => fault.reason(),
            Self::Nonsense(_) => "provider_nonsense",
        }
    }
}

impl TokenFault {
    /// A stable code for the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm(_) => "token_algorithm",
            Self::Critical => "token_critical",
            Self::Type(_) => "token_type",
            Self::UnknownKey => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Missing(_) => "token_incomplete",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::AuthorizedParty => "token_authorized_party",
            Self::Nonce => "token_nonce",
            Self::Expired => "token_expired",
            Self::TooEarly => "token_too_early",
            Self::AccessTokenHash => "token_access_token_hash",
            Self::Subject => "token_subject",
            Self::Logout(_) => "token_no_logout_token",
            Self::Replay => "token_replayed",
        }
    }
}

impl From<Fault> for AuthError {
    fn from(fault: Fault) -> Self {
        let text = fault.to_string();
        match fault {
            Fault::Unreachable(_) | Fault::Misconfigured(_) | Fault::Nonsense(_) => Self::Unavailable(text),
            Fault::Refused(_) | Fault::Token(_) => Self::Invalid(text),
        }
    }
}

/// A text of somebody else, short and in one line, for a log.
pub(crate) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
